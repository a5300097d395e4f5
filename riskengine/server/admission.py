"""How much may wait, and how long: admission, deadlines, and the stages that a short deadline skips.

INVARIANT: what is refused here was not sent to the engine. Called by `server.servicers`.
"""

from dataclasses import dataclass
from typing import Final

from riskengine.enums import Stage
from riskengine.errors import Overloaded
from riskengine.settings import DeadlineSettings, FrontSettings

from .waiting import DeadlineExceeded

RETRY_AFTER_S: Final = 0.05


class Admission:
    """Counts what waits for the engine against a bound; at the bound, refuses.

    Args:
        bound: Largest number that may wait.
        what: For the message, e.g. ``calls``.
    """

    def __init__(self, bound: int, what: str) -> None:
        self._bound = bound
        self._what = what
        self.waiting = 0

    def enter(self, count: int = 1) -> None:
        """Counts `count` more; the caller owes a `leave`.

        Raises:
            Overloaded: The bound would be passed; nothing is counted.
        """
        if self.waiting + count > self._bound:
            raise Overloaded(f"{self._bound} {self._what} wait already", retry_after_s=RETRY_AFTER_S)
        self.waiting += count

    def leave(self, count: int = 1) -> None:
        """Counts `count` less."""
        self.waiting -= count
        assert self.waiting >= 0, "who leaves has entered"


@dataclass(frozen=True, slots=True)
class Budget:
    """The time that a call has.

    Attributes:
        deadline_s: When to give up, on the event loop's clock.
        skip_stages: Stage bits that do not fit.
    """

    deadline_s: float
    skip_stages: int


class Deadlines:
    """Turns the deadline of a call into a budget.

    Args:
        settings: For calls without a deadline, and the cap.
        front: When which stage is skipped.
    """

    def __init__(self, settings: DeadlineSettings, front: FrontSettings) -> None:
        self._default_s = settings.default_ms / 1000
        self._max_s = settings.max_ms / 1000
        self._linkage_s = front.skip_linkage_below_ms / 1000
        self._model_s = front.skip_model_below_ms / 1000

    def budget(self, remaining_s: float | None, now_s: float) -> Budget:
        """Decides for one call.

        Args:
            remaining_s: Seconds until the caller's deadline; None: it named none.
            now_s: The event loop's clock.

        Raises:
            DeadlineExceeded: The deadline has passed.
        """
        if remaining_s is None:
            return Budget(now_s + self._default_s, 0)
        if remaining_s <= 0:
            raise DeadlineExceeded
        skip = 0
        if remaining_s < self._linkage_s:
            skip = int(Stage.LINKAGE)
            if remaining_s < self._model_s:
                skip |= int(Stage.MODEL)
        return Budget(now_s + min(remaining_s, self._max_s), skip)

    def item_budget(self, now_s: float) -> Budget:
        """Returns the budget of one item of a stream, whose own deadline speaks of all items."""
        return Budget(now_s + self._default_s, 0)
