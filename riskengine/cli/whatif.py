"""`journal replay --policy`/`--model`: what would have been decided otherwise, in counts, by rules, and with examples.

INVARIANTS: nothing is written but the file that `--out` names, and that never into the data folder.

Called by `journal replay`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from riskengine.cli.console import Step, out, plural, step, table
from riskengine.cli.failures import UsageProblem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from riskengine.engine.configuration import Replacement
    from riskengine.lab.comparison import Comparison
    from riskengine.lab.whatif import WhatIfReport

FromSequence = Annotated[
    int | None, typer.Option("--from-sequence", min=1, help="With --policy or --model: begin at this event.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.parquet", help="With --policy or --model: write all differences there."),
]
RULES_SHOWN: Final = 10
_NAMES: Final = ("approve", "review", "decline")


def whatif(data_dir: Path, instead: "Replacement", *, from_sequence: int | None, target: Path | None) -> "WhatIfReport":
    """Replays under another policy or model, and shows what differs.

    Args:
        data_dir: The data directory.
        instead: The other side.
        from_sequence: The first command taken again; None: all.
        target: A file for all differences, or None.

    Raises:
        UsageProblem: The file cannot be written there.
    """
    if target is not None:
        _check_target(target, data_dir)
    from riskengine.lab.whatif import WhatIf

    with step(f"Replaying {data_dir} by the other side") as shown, _writer(target) as writer:
        replay = WhatIf(data_dir, instead, from_sequence=from_sequence, sink=writer.take if writer else None)
        found = replay.run(on_progress=lambda done, total, what: _progress(shown, done, total, what))
        shown.say(plural(found.event_count, "event"))
    show_whatif(found)
    if writer is not None:
        out().print(f"{target}: {plural(writer.row_count, 'difference')}.", markup=False, soft_wrap=True)
    return found


def _progress(shown: Step, done: int, total: int, what: str) -> None:
    shown.update(done, total, what)


def _check_target(target: Path, data_dir: Path) -> None:
    if target.suffix != ".parquet":
        raise UsageProblem(f'{target}: differences are written as ".parquet"')
    if target.exists():
        raise UsageProblem(f"{target} exists; name another file")
    if data_dir.resolve() in target.resolve().parents:
        raise UsageProblem(f"{target} is in the data folder, which a replay leaves alone; name a file elsewhere")


@contextmanager
def _writer(target: Path | None) -> Iterator[Any]:
    """Opens the file of differences, if one is wanted."""
    if target is None:
        with nullcontext() as nothing:
            yield nothing
        return
    from riskengine.lab.differences import DifferenceWriter

    with DifferenceWriter(target) as writer:
        yield writer


def show_whatif(found: "WhatIfReport") -> None:
    """Shows what a what-if replay found."""
    counted = found.comparison
    if not counted.decision_count:
        out().print("There is no decision to take again.")
        return
    share = counted.changed_count / counted.decision_count
    out().print(
        f"[bold]{counted.changed_count:,} of {plural(counted.decision_count, 'verdict')} change[/bold] ({share:.2%}); "
        f"{plural(counted.different_count, 'answer')} would ask the caller for something else."
    )
    out().print(_verdict_table(counted.verdicts))
    if found.fraud_count:
        _show_frauds(counted)
    else:
        out().print("The journal has no report of fraud, so nobody knows which side is right.")
    _show_rules(counted)
    _show_examples(counted)
    if found.foreign_count:
        out().print(
            f"{plural(found.foreign_count, 'decision')} came from another version of the program or another CPU, "
            "which may explain some differences."
        )
    if found.has_model and found.model_mode != "live":
        out().print(
            f"The model's mode on the new side is {found.model_mode}: it decides nothing. To see what it would decide, "
            "name a policy with model.mode live."
        )


def _verdict_table(verdicts: "npt.NDArray[np.int64]") -> Any:
    """Returns a table of old against new verdicts."""
    shown = table("old verdict", *(f"new: {name}" for name in _NAMES), "all", right=4)
    for name, row in zip(_NAMES, verdicts.tolist(), strict=True):
        shown.add_row(name, *(f"{count:,}" for count in row), f"{sum(row):,}")
    shown.add_row("all", *(f"{count:,}" for count in verdicts.sum(axis=0).tolist()), f"{int(verdicts.sum()):,}")
    return shown


def _show_frauds(counted: "Comparison") -> None:
    """Shows what each side stopped, by what is known today."""
    frauds = counted.fraud_verdicts
    others = counted.verdicts - frauds
    shown = table("side", "frauds stopped", "frauds missed", "false alarms", "precision", right=4)
    for name, axis in (("old", 1), ("new", 0)):
        fraud, other = frauds.sum(axis=axis), others.sum(axis=axis)
        caught, missed, alarms = int(fraud[1:].sum()), int(fraud[0]), int(other[1:].sum())
        precision = f"{caught / (caught + alarms):.1%}" if caught + alarms else "-"
        shown.add_row(name, f"{caught:,}", f"{missed:,}", f"{alarms:,}", precision)
    out().print(shown)
    out().print(
        f"Of {plural(int(frauds.sum()), 'decision')} about payments that were reported as fraud. Stopped: review or decline; "
        "false alarm: stopped, and not reported so far."
    )


def _show_rules(counted: "Comparison") -> None:
    top = counted.top_rules(RULES_SHOWN)
    if top:
        shown = table("rule", "fired", "would fire", "gained", "lost", right=4)
        for name, rule in top:
            shown.add_row(
                name, f"{rule.old_count:,}", f"{rule.new_count:,}", f"{rule.gained_count:,}", f"{rule.lost_count:,}"
            )
        out().print(shown)
        out().print("Gained and lost: changed verdicts in which the rule fires on one side only.")
    if counted.unruled_count:
        out().print(
            f"In {plural(counted.unruled_count, 'changed verdict')} the same rules fire: thresholds, the model or a list "
            "make the difference."
        )


def _show_examples(counted: "Comparison") -> None:
    for (old, new), examples in sorted(counted.examples.items()):
        out().print(f"{old.name.lower()} becomes {new.name.lower()}:")
        for example in examples:
            rules = [f"+{name}" for name in example.gained] + [f"-{name}" for name in example.lost]
            out().print(f"  {example.name}  {' '.join(rules)}".rstrip(), markup=False, soft_wrap=True)
    if counted.examples:
        out().print("riskengine decision explain NAME tells more about one, with the same --policy or --model.")
