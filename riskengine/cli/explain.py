"""`decision explain`: why one decision was what it was, and what another policy or model would have said.

INVARIANTS: nothing is changed; the server may be running. A decision that does not come out again bit for bit under the program
that took it ends in exit code 1, after everything was shown.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from riskengine.cli.console import out, step
from riskengine.cli.failures import UsageProblem
from riskengine.cli.instead import ModelFolder, Policy, ReasonCodes, replacement_of, tag_key_of
from riskengine.cli.journal import FOLDER_HELP, data_directory
from riskengine.errors import RiskEngineError

if TYPE_CHECKING:
    from riskengine.lab.answer import Answer
    from riskengine.lab.explain import Explanation
    from riskengine.lab.find import Found


def decision_explain(
    name: Annotated[
        str | None, typer.Argument(metavar="ID", help="The decision: decisions/<32 hex digits>, or the digits alone.")
    ] = None,
    directory: Annotated[Path | None, typer.Argument(metavar="DIR", help=FOLDER_HELP)] = None,
    request_id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Instead of ID: the request_id that was sent.")
    ] = None,
    sequence: Annotated[int | None, typer.Option(min=1, help="Instead of ID: its number in the journal.")] = None,
    policy: Policy = None,
    reason_codes: ReasonCodes = None,
    model: ModelFolder = None,
    top: Annotated[int, typer.Option(min=0, help="Features to show; --json tells all.")] = 12,
    raw: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Takes one decision again, on the state just before it, and tells what it was made of. Changes nothing."""
    if name is not None and directory is None and (request_id is not None or sequence is not None):
        directory, name = Path(name), None
    if sum(chosen is not None for chosen in (name, request_id, sequence)) != 1:
        raise UsageProblem(
            "name one decision: its name (decisions/...), or --request-id, or --sequence; `riskengine score` prints names"
        )
    data_dir = data_directory(directory)
    from riskengine.cli.workspace import warm_visibly

    warm_visibly()
    from riskengine.lab.explain import explain

    instead = replacement_of(directory, policy=policy, reason_codes=reason_codes, model=model)
    found = _find(data_dir, directory, name=name, request_id=request_id, sequence=sequence)
    with step(f"Making the state before sequence {found.sequence:,}") as shown:
        explanation = explain(data_dir, found, instead=instead, on_progress=shown.update)
        shown.say("came out the same" if not explanation.different else "came out otherwise")
    if raw:
        sys.stdout.write(json.dumps(explanation_json(explanation), indent=2, allow_nan=False) + "\n")
    else:
        from riskengine.cli.explain_screen import show_explanation

        show_explanation(explanation, out(), top=top)
    if explanation.different and explanation.native:
        raise RiskEngineError(
            f"this decision came out otherwise ({', '.join(explanation.different)}). "
            "Keep a copy of the data folder and report it: this must not happen"
        )


def _find(
    data_dir: Path, directory: Path | None, *, name: str | None, request_id: str | None, sequence: int | None
) -> "Found":
    """Finds the decision that is named in one of three ways."""
    from riskengine.errors import InvalidRequest
    from riskengine.lab.find import decision_keys, find_by_keys, find_by_sequence, request_keys

    keys = (0, 0)
    if name is not None:
        try:
            keys = decision_keys(name)
        except InvalidRequest:
            raise UsageProblem(
                'a decision is named by "decisions/" and 32 hex digits, or the digits alone; '
                "for the id of a request say --request-id"
            ) from None
    if request_id is not None:
        key = tag_key_of(directory)
        if key is None:
            raise UsageProblem(
                "only the tag key can tell which decision a request_id has; name the folder with server.yaml"
            )
        keys = request_keys(key, request_id)
    with step("Looking for the decision") as shown:
        if sequence is not None:
            found = find_by_sequence(data_dir, sequence, on_progress=shown.update)
        else:
            found = find_by_keys(data_dir, keys, on_progress=shown.update)
        shown.say(f"sequence {found.sequence:,}")
    return found


def explanation_json(explanation: "Explanation") -> dict[str, Any]:
    """Returns an explanation as plain JSON; decisions in protobuf's form of it."""
    from google.protobuf import json_format

    return {
        "name": explanation.name,
        "sequence": explanation.sequence,
        "earlier_sequences": list(explanation.earlier),
        "revision": explanation.revision,
        "base_currency": explanation.base_currency,
        "reproduced": not explanation.different,
        "different_columns": list(explanation.different),
        "same_program": explanation.native,
        "event": explanation.event,
        "decision": json_format.MessageToDict(explanation.given),
        "answer": _answer_json(explanation.answer),
        "instead": _answer_json(explanation.instead) if explanation.instead else None,
    }


def _answer_json(answer: "Answer") -> dict[str, Any]:
    from google.protobuf import json_format

    return {
        "decision": json_format.MessageToDict(answer.told),
        "margin": answer.margin,
        "probability": answer.probability,
        "bias": answer.bias,
        "thresholds": asdict(answer.thresholds),
        "features": [asdict(each) for each in answer.features],
        "rules": [asdict(each) for each in answer.rules],
        "lists": [asdict(each) for each in answer.lists],
    }
