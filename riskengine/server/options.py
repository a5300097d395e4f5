"""How a front works, beside what server.yaml says of the whole server.

INVARIANT: nothing here changes a decision but by the stages it skips, which the decision tells. Called by `server.app`
and `server.supervisor`.
"""

import json
from dataclasses import asdict, dataclass

from riskengine.settings import ServerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontOptions:
    """Bounds and paces of one front."""

    pace_ms: int = 1
    """While calls overlap, a frame to the engine waits up to this long for more, milliseconds; 0: never (ADR 1)."""
    group_rows_max: int = 32
    """A frame of this many rows is sent at once."""
    in_flight_max: int = 256
    """Single calls and stream items that wait for the engine; beyond it RESOURCE_EXHAUSTED."""
    batch_rows_in_flight_max: int = 4_000
    """Rows of batches that wait for the engine; beyond it RESOURCE_EXHAUSTED."""
    stream_window: int = 32
    """Items of one stream that wait for the engine; beyond it the stream is not read."""
    skip_linkage_below_ms: int = 4
    """With less time left than this, linkage is skipped, milliseconds."""
    skip_model_below_ms: int = 2
    """With less time left than this, the model is skipped, too, milliseconds."""
    drain_notice_ms: int = 500
    """How long health says NOT_SERVING before calls are refused, when the server stops, milliseconds."""
    drain_max_ms: int = 5_000
    """How long calls under way may take when the server stops, milliseconds."""
    plaintext_anywhere: bool = False
    """Whether to listen beyond loopback without TLS. Whoever can reach the port can then read and send payments."""

    def to_json(self) -> str:
        """Returns the options as one argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "FrontOptions":
        """Reads what `to_json` wrote."""
        return cls(**json.loads(text))

    @classmethod
    def of(cls, settings: ServerSettings) -> "FrontOptions":
        """Returns what server.yaml says in its section `front`; defaults where it has none."""
        section = getattr(settings, "front", None)
        return cls(**section.model_dump()) if section is not None else cls()
