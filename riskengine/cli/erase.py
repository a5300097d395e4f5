"""`erase`: a person's identifiers out of the engine's memory."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from riskengine.cli.console import out
from riskengine.cli.failures import UsageProblem

if TYPE_CHECKING:
    from riskengine.cli.workspace import Workspace


def erase(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The configuration folder. (default: starter or .)")
    ] = None,
    account: Annotated[str, typer.Option(metavar="RAW", help="Account id, as payments have it.")] = "",
    card: Annotated[str, typer.Option(metavar="RAW", help="Card id.")] = "",
    device: Annotated[str, typer.Option(metavar="RAW", help="Device id.")] = "",
    ip: Annotated[str, typer.Option(metavar="RAW", help="IP address.")] = "",
    email: Annotated[str, typer.Option(metavar="RAW", help="E-mail address.")] = "",
    phone: Annotated[str, typer.Option(metavar="RAW", help="Telephone number.")] = "",
    payee: Annotated[str, typer.Option(metavar="RAW", help="Payee id.")] = "",
    address: Annotated[str, typer.Option(metavar="RAW", help="Shipping address.")] = "",
) -> None:
    """Erases a person: the tags of the identifiers become a random tombstone, in a running engine, for good.

    What was counted stays counted, for nobody. The command is journaled; that line of the journal is the proof. The
    journal and the snapshots before it still hold the tags, which nobody can turn back without the key, until their
    retention ends.
    """
    given = {
        "account": account,
        "card": card,
        "device": device,
        "ip": ip,
        "email": email,
        "phone": phone,
        "payee": payee,
        "address": address,
    }
    given = {entity: raw for entity, raw in given.items() if raw}
    if not given:
        raise UsageProblem("name somebody, for example: riskengine erase --card card-4711 --email ann@example.com")
    from riskengine.cli.workspace import find_directory, load_workspace
    from riskengine.clock import SystemClock
    from riskengine.server.erasure import erase as erase_tags
    from riskengine.wire.pseudonyms import Pseudonyms

    workspace = load_workspace(find_directory(directory), with_model=False)
    pseudonyms = Pseudonyms(workspace.key)
    tags = {entity: pseudonyms.tag(entity, raw) for entity, raw in given.items()}
    for entity, tag in tags.items():
        if not tag:
            raise UsageProblem(f"--{entity} is not a value that payments could have")
    done = erase_tags(workspace.settings.data_dir, tags, clock=SystemClock())
    known = "" if done.known else " None of them was known to the engine."
    out().print(f"Erased {', '.join(given)} by command {done.sequence:,}; tombstone {done.tombstone:016x}.{known}")
    for name, entity in listed(workspace, tags):
        out().print(
            f"List {name} of policy.yaml still names this {entity}: remove the entry, then run riskengine features activate."
        )


def listed(workspace: "Workspace", tags: dict[str, int]) -> list[tuple[str, str]]:
    """Returns (list id, entity type) of each list that names one of the tags."""
    from riskengine.types import ENTITY_INDEX

    compiled = workspace.configuration.policy.compiled
    wanted = {(ENTITY_INDEX[entity], tag): entity for entity, tag in tags.items()}
    found = [
        (compiled.file.lists[entry.list_index].id, wanted[entry.entity, entry.tag])
        for entry in compiled.entries
        if (entry.entity, entry.tag) in wanted
    ]
    return list(dict.fromkeys(found))
