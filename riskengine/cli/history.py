"""`history import` and `history load`: past payments of the user's own, into a file and into a running engine."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from riskengine.cli.console import err, hint, out, plural, safe, step, table
from riskengine.cli.failures import UsageProblem
from riskengine.cli.workspace import check_address, in_folder
from riskengine.errors import ConfigError, HistoryError, RiskEngineError

if TYPE_CHECKING:
    from riskengine.cli.loading import LoadReport
    from riskengine.lab.importer import ImportReport

REASONS_SHOWN = 8


def history_import(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A file of past payments, .csv or .parquet.")],
    mapping: Annotated[
        str, typer.Option("--mapping", metavar="M.yaml", help="Which of its columns mean what; or handbook, aws_...")
    ],
    target: Annotated[Path, typer.Option("--out", metavar="H.parquet", help="The history to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the history if it exists.")] = False,
    rows_max: Annotated[
        int | None, typer.Option("--rows", min=1, help="Stop after so many rows, to try a mapping.")
    ] = None,
) -> None:
    """Turns any CSV or Parquet file into a history. Rows that cannot be read are written aside, with the reason."""
    from riskengine.lab.importer import import_history, mapping_path

    if target.exists() and not force:
        raise UsageProblem(f"{target} exists; name another file, or say --force to replace it")
    try:
        file = mapping_path(mapping)
    except HistoryError as error:
        raise UsageProblem(error.message) from None
    try:
        with step(f"Importing {source}") as shown:
            report = import_history(source, file, target, rows_max=rows_max, progress=shown.update)
            shown.say(plural(report.rows_written, "event"))
    except ConfigError as error:
        raise ConfigError(in_folder(error.problems, file.parent)) from None
    show_import(report)


def show_import(report: "ImportReport") -> None:
    """Shows what an import did."""
    shown = table("column of the history", "from")
    for column in report.columns:
        if column.status != "not mapped":
            shown.add_row(column.name, column.source if column.status == "mapped" else f'always "{column.source}"')
    out().print(shown)
    absent = [column.name for column in report.columns if column.status == "not mapped"]
    if absent:
        out().print(f"[dim]not mapped, so missing:[/dim] {', '.join(absent)}")
    if report.unused_columns:
        out().print(f"[dim]not used, of the source:[/dim] {safe(', '.join(report.unused_columns))}")
    if report.reordered:
        out().print("The source was not in order of time; the history is.")
    out().print(
        f"{plural(report.rows_read, 'row')} read, {report.rows_written:,} written to {report.target}.",
        markup=False,
        soft_wrap=True,
    )
    if report.rows_rejected:
        out().print(
            f"[yellow]{plural(report.rows_rejected, 'row')} could not be an event[/yellow] and went to "
            f"{safe(str(report.rejected_path))}:",
            soft_wrap=True,
        )
        _show_reasons(report.reasons)
    if report.left_out:
        count = sum(report.left_out.values())
        told = f"{plural(count, 'value')} could not be used, and the mapping lets {'it' if count == 1 else 'them'} be missing"
        out().print(f"[yellow]{told}[/yellow]:", soft_wrap=True)
        _show_reasons(report.left_out)
    out().print(
        hint(f"Next: riskengine train {report.target} --config starter --name mine"), markup=False, soft_wrap=True
    )


def _show_reasons(reasons: dict[str, int]) -> None:
    """Shows the most frequent reasons with their counts."""
    for reason, count in list(reasons.items())[:REASONS_SHOWN]:
        out().print(f"  {count:>9,}  {reason}", markup=False, soft_wrap=True)
    if len(reasons) > REASONS_SHOWN:
        out().print(f"  ... and {len(reasons) - REASONS_SHOWN} more reasons")


def history_load(
    history: Annotated[Path, typer.Argument(metavar="HISTORY", help="A history, .parquet or .csv.")],
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the server listens.")] = "127.0.0.1:50051",
    concurrency: Annotated[int, typer.Option(min=1, max=200, help="Calls under way at once.")] = 32,
) -> None:
    """Folds a history into a running engine (warm start), labels at the time they became known. Repeating it is harmless."""
    import asyncio

    from riskengine.cli.loading import load_history, write_refused
    from riskengine.lab.history import open_history
    from riskengine.server.client import RiskClient

    check_address(address)
    reader = open_history(history)
    total = reader.row_count
    with RiskClient(address) as client:
        client.wait_serving(3.0)
    with step(f"Loading {history} into {address}") as shown:
        report = asyncio.run(
            load_history(
                reader,
                address,
                concurrency=concurrency,
                now_us=time.time_ns() // 1000,
                on_progress=lambda done: shown.update(done, total),
            )
        )
        shown.say(plural(report.recorded, "event"))
    aside = history.with_name(f"{history.stem}.refused.csv")
    if report.refused:
        write_refused(report, aside)
    show_load(report, aside)


def show_load(report: "LoadReport", aside: Path) -> None:
    """Shows what a load did.

    Args:
        report: Of the load.
        aside: Where refused rows were written.

    Raises:
        RiskEngineError: Some rows were refused.
    """
    out().print(f"{plural(report.recorded, 'event')} and {plural(report.outcomes, 'fraud label')} are in the journal.")
    if report.outcomes_ahead:
        out().print(f"{plural(report.outcomes_ahead, 'label')} lie in the future and were not reported.")
    if report.too_late:
        err().print(
            f"[yellow]{plural(report.too_late, 'event')} entered no window[/yellow]: the engine has already seen newer ones. "
            "Load histories before live traffic, oldest first."
        )
    if report.refused:
        for reason, count in report.reasons.most_common(REASONS_SHOWN):
            err().print(f"  {count:>9,}  {reason}", markup=False)
        refused = plural(sum(report.reasons.values()), "row")
        raise RiskEngineError(f"{refused} refused, listed in {aside}; correct them and load the history again")
