"""How a front works: the section `front` of server.yaml, as it travels to a front process.

INVARIANT: nothing here changes a decision but by the stages it skips, which the decision tells. Called by `server.app`
and `server.supervisor`.
"""

from riskengine.settings import FrontSettings, ServerSettings


class FrontOptions(FrontSettings):
    """Bounds and paces of one front; the fields, their ranges and defaults are those of `FrontSettings`."""

    def to_json(self) -> str:
        """Returns the options as one argument of a command."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> "FrontOptions":
        """Reads what `to_json` wrote."""
        return cls.model_validate_json(text)

    @classmethod
    def of(cls, settings: ServerSettings) -> "FrontOptions":
        """Returns what server.yaml says in its section `front`."""
        return cls(**settings.front.model_dump())
