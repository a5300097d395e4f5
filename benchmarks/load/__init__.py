"""The full server against an empty echo.

The bars stand here for `__main__`, which measures, and for `tools.tables`, which writes the figure into the README.
"""

from typing import Final

RATIO_BAR: Final = 0.55
"""What must be left of the echo's calls a second."""
RATIO_BAR_LATER: Final = 0.70
"""What is meant to be left: prototypes of the durable path reached 0.82 without the edge's own work."""


def against_bars(ratio: float) -> str:
    """Says how far a ratio is from both bars."""
    told = [
        f"{bar:.2f} asked for {when} ({f'{bar - ratio:.2f} short' if ratio < bar else 'reached'})"
        for bar, when in ((RATIO_BAR, "now"), (RATIO_BAR_LATER, "later"))
    ]
    return ", ".join(told)
