"""`init`: a folder to serve from, with a starter model in shadow.

INVARIANTS: nothing that exists is overwritten; the key is written before anything that depends on it; a folder whose training
failed still serves, by rules alone.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from riskengine.cli.console import hint, out, plural, safe, step
from riskengine.cli.workspace import check_new, load_workspace

DEFAULTS: Final = Path(__file__).resolve().parent.parent / "defaults"
STARTER_MODEL: Final = "starter"
KEY_NAME: Final = "tag.key"
EXAMPLE_NAME: Final = "example_payment.json"
ROUNDS: Final = 150
LABEL_DELAY_DAYS: Final = 7

EXAMPLE: Final = {
    "transactionId": "example-0001",
    "type": "TRANSACTION_TYPE_CARD_PAYMENT",
    "utcOffsetMinutes": 60,
    "amountMinor": "4990",
    "currencyCode": "EUR",
    "channel": "CHANNEL_WEB",
    "entryMode": "ENTRY_MODE_ONLINE",
    "initiation": "INITIATION_PAYER",
    "verifications": [
        {"method": "VERIFICATION_METHOD_CARD_CODE", "result": "VERIFICATION_RESULT_PASSED"},
    ],
    "entities": {
        "accountId": "account-17",
        "cardId": "card-token-4f0c2a",
        "cardBin": "45717360",
        "deviceId": "device-9b1e",
        "ipAddress": "192.0.2.44",
        "emailAddress": "payer@mail.example",
        "merchantId": "merchant-204",
    },
    "merchantCategoryCode": "5732",
    "regions": {"cardRegionCode": "DE", "ipRegionCode": "DE", "merchantRegionCode": "DE"},
}


EXAMPLE_MAPPING_NAME: Final = "example_mapping.yaml"
EXAMPLE_MAPPING: Final = """\
# What each column of your file means: riskengine history import payments.csv --mapping example_mapping.yaml --out h.parquet
# Left the history's column, right that of your file. Give every identifier you have: windows are kept for each of them.
columns:
  transaction_id: {from: id, prefix: "t-"}
  type: {from: kind, values: {sale: CARD_PAYMENT, back: REFUND}}
  event_time: {from: created_at, zone: Europe/Berlin}       # ISO 8601; or format: epoch_ms, or as strptime
  amount_minor: {from: amount, minor_units: true}           # 12.34 becomes 1234
  currency_code: {from: currency, default: EUR}
  card_id: {from: card_token, clean: true}                  # never a card number
  account_id: customer
  merchant_id: {constant: my-shop}
  phone_number: {from: phone, unreadable: missing}          # left out where it is none; else its row is set aside
  shipping_address: {join: [street, zip, city]}             # several columns in one; separator: ", "
  fraud: {from: is_fraud, values: {"yes": true, "no": false}}
label_delay: 14d                                            # so long after the event a fraud was known
"""
IGNORED: Final = "tag.key\ndata/\n"
"""Of git: the secret, and the journal."""


def _folder_named(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("name the folder to make, for example starter")
    return Path(text)


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.", parser=_folder_named)],
    people: Annotated[
        int, typer.Option(min=50, max=200_000, help="People in the simulated history of the starter model.")
    ] = 2_000,
    days: Annotated[int, typer.Option(min=14, max=730, help="Days of that history.")] = 35,
    seed: Annotated[int, typer.Option(min=0, help="Another seed simulates another world.")] = 1,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Whether to train the starter model. Rules work without it.")
    ] = True,
) -> None:
    """Makes a folder to serve from: configuration, key, and a starter model in shadow."""
    known = directory.exists()
    write_folder(directory)
    try:
        workspace = load_workspace(directory, with_model=False)
        if train:
            _train_starter(directory, people=people, days=days, seed=seed)
    except KeyboardInterrupt:
        _take_back(directory, known=known)
        raise
    _tell(directory, len(workspace.configuration.features.features), trained=train)


def write_folder(directory: Path) -> None:
    """Writes the starter configuration and a new key.

    Args:
        directory: Made if it is not there.

    Raises:
        RiskEngineError: Something of it exists already.
    """
    from riskengine.wire.pseudonyms import TagKey

    sources = sorted(path for path in DEFAULTS.iterdir() if path.name != "__pycache__")
    check_new(directory, _names())
    directory.mkdir(parents=True, exist_ok=True)
    TagKey.create(directory / KEY_NAME)
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, directory / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, directory / source.name)
    (directory / EXAMPLE_NAME).write_text(json.dumps(EXAMPLE, indent=2) + "\n", encoding="ascii")
    (directory / EXAMPLE_MAPPING_NAME).write_text(EXAMPLE_MAPPING, encoding="ascii")
    (directory / ".gitignore").write_text(IGNORED, encoding="ascii")


def _names() -> list[str]:
    """Returns all that `init` writes."""
    shipped = sorted(path.name for path in DEFAULTS.iterdir() if path.name != "__pycache__")
    return [*shipped, KEY_NAME, EXAMPLE_NAME, EXAMPLE_MAPPING_NAME, ".gitignore", "models", "data"]


def _take_back(directory: Path, *, known: bool) -> None:
    """Removes what an interrupted run wrote, so that it can be run again: nothing was there, and the key has tagged nothing."""
    for name in _names():
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if not known:
        directory.rmdir()


def _train_starter(directory: Path, *, people: int, days: int, seed: int) -> None:
    """Simulates a history beside the folder's files, learns from it, and throws it away."""
    from riskengine.cli.simulate import simulate_to
    from riskengine.cli.train import train_visibly

    history = directory / ".starter_history.parquet"
    try:
        simulate_to(history, people=people, days=days, seed=seed)
        train_visibly(
            history,
            load_workspace(directory, with_model=False),
            name=STARTER_MODEL,
            rounds=ROUNDS,
            label_delay_days=min(LABEL_DELAY_DAYS, days // 5),
            created_time_us=time.time_ns() // 1000,
            activate=True,
        )
    finally:
        history.unlink(missing_ok=True)
    with step("Binding the model to the features") as binding:
        model = load_workspace(directory, with_model=True).configuration.model
        binding.say(f"{model.bundle.name}" if model else "none")


def _tell(directory: Path, feature_count: int, *, trained: bool) -> None:
    name = safe(directory)
    out().print(f"\n[bold]{name}[/bold] is ready. {plural(feature_count, 'feature')}; rules decide", end="")
    out().print(", the starter model watches (shadow)." if trained else ".")
    rows = [
        (f"riskengine serve {name}", "start the server"),
        (f"riskengine score {name}/{EXAMPLE_NAME}", "in another terminal: a first decision"),
        (f"riskengine policy test {name}", "what the rules are meant to do"),
    ]
    if not trained:
        rows.insert(0, (f"riskengine train HISTORY.parquet --config {name} --name mine --activate", "teach it a model"))
    out().print("Next:")
    for command, what in rows:
        out().print(f"  [bold]{hint(command)}[/bold]\n      {what}", soft_wrap=True)
    out().print(f"Keep a copy of {name}/{KEY_NAME} in a safe place: without it, known cards become strangers.")
