"""A plain version of the last-seen tables: a dict, a reach for each level, and what may be said of a window.

INVARIANT: what matters no more is forgotten at once; the kernels overwrite it when they need the place, and nobody may notice.
Called by `tests/tables`.
"""

from dataclasses import dataclass, field
from typing import Final

LEVELS: Final = 24
NEVER: Final = -(10**18)


def member_level(member: int) -> int:
    """Returns the number of zero bits at the end of the mixed tag, one of many functions that would do."""
    low = 2**32 - 1
    mixed = ((member >> 32 & low) * 0x2C1B3C6D + (member & low)) & low
    mixed = (mixed ^ mixed >> 15) * 0x2C1B3C6D & low
    mixed = (mixed ^ mixed >> 12) * 0x297A2D39 & low
    mixed ^= mixed >> 15
    zeros = len(f"{mixed:032b}") - len(f"{mixed:032b}".rstrip("0"))
    return min(zeros, LEVELS - 1)


@dataclass
class Members:
    """The members of one entity.

    Attributes:
        cap: Members kept.
        retention: How long one matters.
        known: How long a pair counts as known.
        newest: Newest time so far.
        last: Time each one was last seen.
        reach: After which time every member of a level was kept.
    """

    cap: int
    retention: int
    known: int
    newest: int = NEVER
    last: dict[int, int] = field(default_factory=dict)
    reach: list[int] = field(default_factory=lambda: [NEVER] * LEVELS)

    def touch(self, member: int, time: int) -> int:
        """Returns 1 if the pair is new, 0 if it is known, -1 if nobody can tell."""
        self.newest = max(self.newest, time)
        self._forget()
        level = member_level(member)
        if member in self.last:
            known = self.last[member] > time - self.known
            self.last[member] = max(self.last[member], time)
            return 0 if known else 1
        told = 1 if self.reach[level] <= time - self.known else -1
        if time > self.reach[level]:
            self.last[member] = time
            if len(self.last) > self.cap:
                self._give_up(member)
        return told

    def count(self, since: int) -> tuple[int, int]:
        """Returns how many members were seen after a time, and by which level that is told."""
        level = next((level for level in range(LEVELS) if self.reach[level] <= since), LEVELS - 1)
        seen = [member for member, last in self.last.items() if last > since and member_level(member) >= level]
        return len(seen) * 2**level, level

    def exceeds(self, since: int, members_max: int) -> bool:
        """Tells whether there were more than so many: by those that are kept, and by the estimate."""
        self._forget()
        certain = sum(last > since for last in self.last.values())
        return max(certain, self.count(since)[0]) > members_max

    def _forget(self) -> None:
        floor = self.newest - self.retention
        self.last = {
            member: last for member, last in self.last.items() if last > max(floor, self.reach[member_level(member)])
        }

    def _give_up(self, newcomer: int) -> None:
        def inside(level: int) -> int:
            return sum(last > self.reach[level] and member_level(m) >= level for m, last in self.last.items())

        levels = {member_level(member) for member in self.last if member != newcomer}
        crowded = max(levels, key=lambda level: (inside(level), -level))
        time, member = min((last, m) for m, last in self.last.items() if member_level(m) == crowded)
        del self.last[member]
        self.reach[: crowded + 1] = [max(reach, time) for reach in self.reach[: crowded + 1]]
