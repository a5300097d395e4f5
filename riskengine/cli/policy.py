"""`policy check` and `policy test`: what an analyst runs before a change goes live."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from riskengine.cli.console import err, out, plural, safe
from riskengine.cli.failures import UsageProblem
from riskengine.cli.workspace import Workspace, find_directory, in_folder, load_workspace
from riskengine.errors import ConfigError, Problem, RiskEngineError

if TYPE_CHECKING:
    from riskengine.policy.cases import CaseResult

Directory = Annotated[
    Path | None, typer.Argument(metavar="DIR", help="The configuration folder. (default: starter or .)")
]


def policy_check(directory: Directory = None) -> None:
    """Checks server.yaml, features.yaml, policy.yaml and reason_codes.yaml; tells every mistake with its place."""
    workspace = load_workspace(find_directory(directory), with_model=True)
    compiled = workspace.configuration.policy.compiled
    for warning in compiled.warnings:
        err().print(f"[yellow]warning:[/yellow] {safe(warning)}", soft_wrap=True)
    modes = [rule.mode for rule in compiled.file.rules]
    out().print(
        f"[green]ok[/green] policy [bold]{safe(compiled.name)}[/bold] {compiled.revision[:12]}: "
        f"{plural(modes.count('enforce'), 'rule')} enforced, {modes.count('shadow')} in shadow, {modes.count('off')} off; "
        f"{plural(len(compiled.file.lists), 'list')}; "
        f"{plural(len(compiled.file.thresholds.segments) + 1, 'segment')} of thresholds; model {compiled.model_mode}."
    )


def policy_test(directory: Directory = None) -> None:
    """Runs the cases of policy_cases/ through the policy, as it would decide."""
    folder = find_directory(directory)
    files = sorted((folder / "policy_cases").glob("*.yaml"))
    if not files:
        raise UsageProblem(
            f"no cases in {folder / 'policy_cases'}; write some, or copy those that riskengine init makes"
        )
    workspace = load_workspace(folder, with_model=False)
    failed, count = _run(workspace, files)
    for result in failed:
        out().print(f"[red]failed[/red] {safe(result.name)}")
        for difference in result.differences:
            out().print(f"  {difference}", markup=False, soft_wrap=True)
    if failed:
        raise RiskEngineError(f"{len(failed)} of {plural(count, 'case')} failed; mend the policy or the cases")
    out().print(f"[green]ok[/green] {plural(count, 'case')} in {plural(len(files), 'file')} hold.")


def _run(workspace: Workspace, files: list[Path]) -> "tuple[list[CaseResult], int]":
    """Runs all files; the mistakes of all of them are told at once.

    Returns:
        The results that do not hold, and how many cases there were.
    """
    from riskengine.policy.cases import run_cases
    from riskengine.yamlfile import load_file

    configuration = workspace.configuration
    problems: list[Problem] = []
    results: list[CaseResult] = []
    for file in files:
        try:
            results += run_cases(configuration.policy.compiled, load_file(file), configuration.variables)
        except ConfigError as error:
            problems += in_folder(error.problems, file.parent)
    if problems:
        raise ConfigError(problems)
    return [result for result in results if result.differences], len(results)
