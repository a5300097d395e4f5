"""`simulate`: a labelled history of people who do not exist."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from riskengine.cli.console import hint, megabytes, out, plural, step, table
from riskengine.cli.failures import UsageProblem

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table


def simulate(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, .parquet or .csv.")],
    people: Annotated[int, typer.Option(min=50, max=200_000, help="People with an account.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, max=730, help="Length of the history, days.")] = 35,
    seed: Annotated[int, typer.Option(min=0, help="Another seed simulates another world.")] = 1,
    fraud_share: Annotated[
        float, typer.Option(min=0.0, max=0.2, help="Share of events that are fraud, about.")
    ] = 0.008,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Simulates a labelled history: habits of people, and episodes of four kinds of fraud among them."""
    if target.suffix not in (".parquet", ".csv"):
        raise UsageProblem(f'{target}: histories end in ".parquet" or ".csv"')
    if not target.parent.is_dir():
        raise UsageProblem(f"{target.parent}: no such folder; make it, or name a file elsewhere")
    if target.exists() and not force:
        raise UsageProblem(f"{target} exists; name another file, or say --force to replace it")
    made = simulate_to(target, people=people, days=days, seed=seed, fraud_share=fraud_share)
    out().print(_summary(made))
    out().print(
        f"{target}: {plural(made.num_rows, 'event')}, {megabytes(target.stat().st_size)}.", markup=False, soft_wrap=True
    )
    out().print(
        hint(f"Next: riskengine train {target} --config starter --name simulated"), markup=False, soft_wrap=True
    )


def simulate_to(target: Path, *, people: int, days: int, seed: int, fraud_share: float = 0.008) -> "pa.Table":
    """Simulates a history and writes it.

    Args:
        target: The file.
        people, days, seed, fraud_share: As in `SimulationConfig`.
    """
    import pyarrow.compute as pc

    from riskengine.lab.history import write_history
    from riskengine.lab.simulate import SimulationConfig
    from riskengine.lab.simulate import simulate as run

    config = SimulationConfig(people=people, days=days, seed=seed, fraud_share=fraud_share)
    with step(f"Simulating {days} days of {people:,} people") as shown:
        made = run(config, progress=lambda share, what: shown.update(share, 1.0, what))
        write_history(made, target)
        frauds = pc.sum(made.column("fraud")).as_py() or 0
        shown.say(f"{plural(made.num_rows, 'event')}, {frauds:,} of them fraud")
    return made


def _summary(history: "pa.Table") -> "Table":
    """Counts events and frauds by type."""
    counted = history.group_by(["type", "fraud"]).aggregate([("transaction_id", "count")]).to_pylist()
    by_type: dict[str, list[int]] = {}
    for row in counted:
        entry = by_type.setdefault(row["type"], [0, 0])
        entry[0] += row["transaction_id_count"]
        entry[1] += row["transaction_id_count"] if row["fraud"] else 0
    shown = table("type", "events", "fraud", right=2)
    for name, (events, frauds) in sorted(by_type.items(), key=lambda item: -item[1][0]):
        shown.add_row(name.lower().replace("_", " "), f"{events:,}", f"{frauds:,}")
    return shown
