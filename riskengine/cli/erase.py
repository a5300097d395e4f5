"""`erase`: a person's identifiers out of the engine's memory."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from riskengine.cli.console import out
from riskengine.cli.failures import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable


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

    What was counted stays counted, for nobody. Where a list of policy.yaml names the person, the entry names the tombstone
    then, and features activate lets it decide. The command is journaled; that line of the journal is the proof. The
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
    for name, entity in entomb(workspace.directory / "policy.yaml", pseudonyms.tag, tags, done.tombstone):
        out().print(
            f"List {name} of policy.yaml named this {entity}, and names the tombstone now: run riskengine features activate."
        )


def entomb(path: Path, tag: "Callable[[str, str], int]", tags: dict[str, int], tombstone: int) -> list[tuple[str, str]]:
    """Puts the tombstone in the place of each entry of a list that names one of the tags; nothing else of the file changes.

    Args:
        path: policy.yaml; it was read without mistakes.
        tag: Returns the tag of (entity type, raw value).
        tags: By entity type.
        tombstone: Whom the entries name from now on.

    Returns:
        (list id, entity type) of each list that named somebody.
    """
    from ruamel.yaml import YAML

    from riskengine.durable import replace_file

    text = path.read_text(encoding="utf-8")
    found: list[tuple[str, str]] = []
    edits: list[tuple[int, int]] = []
    for listed in _items(YAML().compose(text), "lists"):
        (_, entity), (_, name) = _pair(listed, "entity"), _pair(listed, "id")
        for entry in _items(listed, "entries"):
            key, value = _pair(entry, "tag") if _has(entry, "tag") else _pair(entry, "value")
            named = int(value.value, 16) if key.value == "tag" else tag(entity.value, value.value)
            if named == tags.get(entity.value):
                edits.append((key.start_mark.index, value.end_mark.index))
                found.append((name.value, entity.value))
    for start, end in reversed(edits):
        text = f'{text[:start]}tag: "{tombstone:016x}"{text[end:]}'
    if edits:
        replace_file(path, text.encode(), mode=path.stat().st_mode & 0o777)
    return list(dict.fromkeys(found))


def _pair(mapping: Any, key: str) -> tuple[Any, Any]:
    """Returns the nodes of a key that is there and of its value."""
    return next((at, value) for at, value in mapping.value if at.value == key)


def _has(mapping: Any, key: str) -> bool:
    return any(at.value == key for at, _ in mapping.value)


def _items(mapping: Any, key: str) -> list[Any]:
    """Returns the nodes of a list; none where it is empty or absent."""
    value = _pair(mapping, key)[1].value if _has(mapping, key) else []
    return value if isinstance(value, list) else []
