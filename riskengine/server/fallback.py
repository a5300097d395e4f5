"""What the front says while the engine is away: the operator's static answer by amount, or the error.

INVARIANT: a fallback is never recorded and says so, names every stage as skipped, and no policy or model as its maker.
Called by `server.servicers`.
"""

from struct import Struct
from typing import Final

from riskengine.enums import Stage, Verdict
from riskengine.errors import Unavailable
from riskengine.settings import FallbackSettings
from riskengine.types import EVENT_WORD, MISSING
from riskengine.v1.decision_pb2 import Decision
from riskengine.wire.reply import decision_name

_AMOUNT: Final = Struct("<q")
_KEYS: Final = Struct("<2Q")
_AMOUNT_AT: Final = 8 * EVENT_WORD["amount_base_minor"]
_RECEIVED_AT: Final = 8 * EVENT_WORD["received_time_us"]
_KEYS_AT: Final = 8 * EVENT_WORD["request_key"]
assert EVENT_WORD["request_check"] == EVENT_WORD["request_key"] + 1
_ALL_STAGES: Final = [stage.bit_length() for stage in Stage]


def fallback_decision(row: bytes, settings: FallbackSettings, away: Unavailable) -> bytes:
    """Answers for the engine.

    Args:
        row: The EVENT row of a request to score.
        settings: The operator's bands.
        away: Why the engine does not answer.

    Returns:
        A serialised Decision, not recorded.

    Raises:
        Unavailable: The operator wants an error for this amount; it is `away`.
    """
    (amount,) = _AMOUNT.unpack_from(row, _AMOUNT_AT)
    verdict = settings.verdict_of(None if amount == MISSING else amount)
    if verdict == "error":
        raise away
    request_key, request_check = _KEYS.unpack_from(row, _KEYS_AT)
    (received_time_us,) = _AMOUNT.unpack_from(row, _RECEIVED_AT)
    decision = Decision(
        name=decision_name(request_key=request_key, request_check=request_check),
        verdict=int(Verdict[verdict.upper()]),  # type: ignore[arg-type]
        degraded_stages=_ALL_STAGES,  # type: ignore[arg-type]
        recorded=False,
    )
    decision.receive_time.FromMicroseconds(received_time_us)
    return decision.SerializeToString(deterministic=True)
