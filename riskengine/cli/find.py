"""`decisions find`: what was decided about a card, a device, an account ..., the newest first."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from riskengine.cli.console import out, plural
from riskengine.cli.failures import UsageProblem
from riskengine.cli.stored import ConfigOption, DataOption, readable_pipe, stored, write_json
from riskengine.cli.workspace import find_directory

if TYPE_CHECKING:
    from riskengine.wire.pseudonyms import TagKey

STYLES: Final = {"APPROVE": "green", "REVIEW": "yellow", "DECLINE": "red"}


def _raw(entity: str) -> Any:
    return typer.Option(f"--{entity}", metavar="RAW", help=f"The {entity} as the gateway sends it.", show_default=False)


def decisions_find(
    account: Annotated[str, _raw("account")] = "",
    card: Annotated[str, _raw("card")] = "",
    device: Annotated[str, _raw("device")] = "",
    ip: Annotated[str, _raw("ip")] = "",
    email: Annotated[str, _raw("email")] = "",
    phone: Annotated[str, _raw("phone")] = "",
    merchant: Annotated[str, _raw("merchant")] = "",
    payee: Annotated[str, _raw("payee")] = "",
    transaction: Annotated[str, _raw("transaction")] = "",
    request: Annotated[
        str, typer.Option("--request", metavar="ID", help="The request_id, or the name decisions/....")
    ] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Received at this time or later, UTC: 2026-03-01.")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Received before it: 2026-03-01T14:30.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Rows shown at most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Every column, a JSON object a line.")] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Finds decisions, records and outcomes by whom they were about, the newest first. The server may be running.

    Identifiers are turned into tags here, by the key of the configuration folder; what is stored knows them by tag only.
    Several together must all be met.
    """
    raw = {
        "account": account,
        "card": card,
        "device": device,
        "ip": ip,
        "email": email,
        "phone": phone,
        "merchant": merchant,
        "payee": payee,
        "transaction": transaction,
    }
    given = {entity: value for entity, value in raw.items() if value}
    if not given and not request:
        raise UsageProblem("name somebody, such as --card TOKEN, --email ADDRESS or --request ID")
    from riskengine.settings import load_settings
    from riskengine.store.columns import SCHEMA
    from riskengine.store.find import EVER_US, Wanted, find
    from riskengine.wire.pseudonyms import TagKey

    key = TagKey.load(load_settings(find_directory(config) / "server.yaml").tag_key_file)
    wanted = Wanted(
        tags=_tags(given, key),
        decision=_decision_name(request, key) if request else None,
        since_us=_time_us(since, "--since") if since else 0,
        until_us=_time_us(until, "--until") if until else EVER_US,
        count_max=limit,
    )
    with stored(config, data_dir) as parts:
        found = find(parts, wanted)
    if as_json:
        with readable_pipe():
            write_json(SCHEMA, found)
        return
    for row in found:
        _show(row)
    if not found:
        out().print("Nothing is stored about it. The newest decisions get there within a minute or so.")
    elif len(found) == limit:
        out().print(f"The newest {plural(limit, 'row')}; --limit or --until shows older ones.")


def _tags(given: dict[str, str], key: "TagKey") -> dict[str, int]:
    """Returns the tags of raw identifiers by column."""
    from riskengine.wire.pseudonyms import Pseudonyms

    pseudonyms = Pseudonyms(key)
    tags = {f"{entity}_tag": pseudonyms.tag(entity, value) for entity, value in given.items()}
    for column, tag in tags.items():
        if not tag:
            raise UsageProblem(f"--{column.removesuffix('_tag')} does not read as one; give it as the gateway sends it")
    return tags


def _decision_name(request: str, key: "TagKey") -> str:
    """Returns the name of the decision on a request."""
    from riskengine.wire.pseudonyms import request_keys
    from riskengine.wire.reply import decision_name

    if request.startswith("decisions/"):
        return request
    request_key, request_check = request_keys(key, request)
    return decision_name(request_key=request_key, request_check=request_check)


def _time_us(text: str, option: str) -> int:
    """Reads a day or a time; UTC where no offset is given."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise UsageProblem(f"{option} takes a day or a time, such as 2026-03-01 or 2026-03-01T14:30") from None
    moment = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0, int(moment.timestamp() * 1_000_000))


def _show(row: dict[str, Any]) -> None:
    """Prints a row in a few lines."""
    from rich.text import Text

    kind = row["kind"]
    told = {"score": row["verdict"], "record": row["recorded_verdict"], "outcome": row["outcome_type"]}[kind]
    head = Text.assemble(
        (row["received_time"].strftime("%Y-%m-%d %H:%M:%S"), "bold"),
        "  ",
        (told or "recorded", f"bold {STYLES.get(told or '', '')}"),
        {"score": "", "record": " (decided elsewhere)", "outcome": " (reported)"}[kind],
    )
    if row["probability"] is not None:
        mode = ", in shadow" if row["model_mode"] == "SHADOW" else ""
        head.append(f"  probability of fraud {row['probability']:.1%}{mode}")
    if row["type"]:
        head.append(f"  {row['type'].replace('_', ' ').lower()}{_amount(row)}")
    out().print(head, soft_wrap=True)
    for reason in row["reasons"]:
        _line("because", _reason(reason))
    for label, column in (
        ("do", "obligations"),
        ("rule", "fired_rules"),
        ("shadow rule", "shadow_rules"),
        ("list", "list_hits"),
        ("not evaluated", "unevaluated_rules"),
        ("skipped", "degraded_stages"),
    ):
        if row[column]:
            _line(label, ", ".join(row[column]))
    _line("kept as", row["decision"])


def _amount(row: dict[str, Any]) -> str:
    from riskengine.wire.names import money_text

    if row["amount_minor"] is None:
        return ""
    return f" of {money_text(row['currency_code'])(row['amount_minor'])}"


def _reason(reason: dict[str, Any]) -> str:
    """Says a reason: its code, and the feature's value beside its norm."""
    from riskengine.wire.names import number_text

    if reason["feature"] is None:
        return str(reason["code"])
    observed = "unknown" if reason["observed"] is None else number_text(reason["observed"])
    norm = "" if reason["norm"] is None else f", usually {number_text(reason['norm'])}"
    return f"{reason['code']} ({reason['feature']} = {observed}{norm})"


def _line(label: str, what: str) -> None:
    from rich.text import Text

    out().print(Text.assemble((f"  {label:<14}", "dim"), what), soft_wrap=True)
