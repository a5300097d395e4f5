"""Draws the README's pictures from benchmarks/results/memory.jsonl: how speed and memory grow with entities and with histories.

INVARIANTS: nothing is drawn that the results do not hold, and of them the newest line that a commit can answer for; the same line
gives the same bytes. Matplotlib is imported when something is drawn, for nothing else needs it. Called by `make plots`.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tools.tables import RESULTS, ROOT, newest

IMAGES: Final = ROOT / "docs" / "img"
# File, series of the results, its first axis, that axis in words.
PLOTS: Final = (
    ("growth_entities.svg", "by_entities", "entities", "cards in the table"),
    ("growth_history.svg", "by_history", "events_of_entity", "events of a card in 30 days"),
)
_PANELS: Final = (("events_per_s", "events/s on one core"), ("bytes_per_entity", "bytes a card"))
_COLOUR: Final = "#1f5a94"


def draw(points: Sequence[dict[str, float]], first: str, words: str, path: Path) -> None:
    """Draws speed and memory over one series, side by side, into an SVG file.

    Args:
        points: With `first`, `events_per_s` and `bytes_per_entity`.
        first: What grows.
        words: What stands below the axis.
        path: File to write; its folder is made.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    style: Any = {"svg.hashsalt": path.name, "svg.fonttype": "none", "font.family": "sans-serif"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        FigureCanvasSVG(figure)
        for axes, (key, label) in zip(figure.subplots(1, 2), _PANELS, strict=True):
            values = [point[key] for point in points]
            logarithmic = key == "bytes_per_entity" and max(values) > 10 * min(values)
            axes.plot([point[first] for point in points], values, "o-", color=_COLOUR)
            axes.set_xscale("log")
            axes.set_xlabel(words)
            axes.set_ylabel(label)
            if logarithmic:
                axes.set_yscale("log")
            axes.set_ylim(*_limits(values, logarithmic=logarithmic))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
                axis.set_minor_formatter(NullFormatter())
            axes.grid(visible=True, color="#dddddd", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def _limits(values: Sequence[float], *, logarithmic: bool) -> tuple[float, float]:
    """Returns the ends of an axis: from zero, or whole decades around what is shown."""
    if not logarithmic:
        return 0.0, max(values) * 1.1
    low, high = 1.0, 10.0
    while low * 10 <= min(values):
        low *= 10
    while high < 1.1 * max(values):
        high *= 10
    return low, high


def main() -> int:
    """Draws all pictures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.plots", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    options = parser.parse_args()
    line = newest("memory", options.results)
    if line is None:
        sys.stderr.write(
            f"plots: {options.results} has no line of memory that a commit answers for; run the benchmark\n"
        )
        return 1
    if importlib.util.find_spec("matplotlib") is None:
        sys.stderr.write("plots: matplotlib is not installed; it comes with the extra `dev`\n")
        return 1
    for name, series, first, words in PLOTS:
        draw(line["results"][series], first, words, options.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
