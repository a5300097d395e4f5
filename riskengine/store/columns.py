"""The table of all commands: one row for each event of the journal with what was decided on it.

Names and values are those of the API and of histories (`lab.history`): enums without their prefix, codes as text. Null is
absent or does not apply; a list without members is empty, never null. Tags are keyed 64-bit pseudonyms; raw identifiers
never get here. `docs/decisions.md` holds this table, and a test holds the two together.

INVARIANTS: a column is never renamed or given another meaning; new ones are appended to `COLUMNS`.

Called by `rows` (which fills them), `query` (which makes views of them), and everything that reads the files.
"""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from riskengine.enums import Kind
from riskengine.types import TAG_COLUMNS

TABLE_FORMAT: Final = "1"
FORMAT_KEY: Final = "riskengine.decisions"
"""Key of the files' metadata that says `TABLE_FORMAT`."""
TIME: Final = pa.timestamp("us", tz="UTC")
TEXTS: Final = pa.list_(pa.string())
REASON: Final = pa.struct(
    [
        ("code", pa.string()),
        ("feature", pa.string()),
        ("observed", pa.float64()),
        ("norm", pa.float64()),
        ("contribution", pa.float64()),
    ]
)
KIND_NAMES: Final = {Kind.SCORE: "score", Kind.RECORD: "record", Kind.OUTCOME: "outcome", Kind.ERASE: "erasure"}
VIEWS: Final = {"decisions": Kind.SCORE, "records": Kind.RECORD, "outcomes": Kind.OUTCOME}
"""Views by the one kind of row that each holds; `commands` holds all."""
ALL_VIEW: Final = "commands"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: As in the files.
        type: As in the files.
        meaning: One or more sentences.
        unit: Of its numbers; "" where it holds none.
        kinds: Rows for which it can hold anything but null.
    """

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    kinds: tuple[Kind, ...] = (Kind.SCORE, Kind.RECORD, Kind.OUTCOME)


_SCORED: Final = (Kind.SCORE,)
_TRANSACTION: Final = (Kind.SCORE, Kind.RECORD)
_RECORDED: Final = (Kind.RECORD,)
_REPORTED: Final = (Kind.OUTCOME,)
_MINOR: Final = "minor units"


def _text(name: str, meaning: str, kinds: tuple[Kind, ...] = _TRANSACTION) -> Column:
    return Column(name, pa.string(), meaning, "", kinds)


def _verified(method: str, what: str) -> Column:
    return _text(
        f"verified_{method}", f"Result of {what}: PASSED, FAILED, PARTIAL, UNAVAILABLE, ABANDONED. Null: not tried."
    )


def _region(name: str, what: str) -> Column:
    return _text(f"{name}_region_code", f"{what}, CLDR region code.")


def _tag(name: str) -> Column:
    entity = name.removesuffix("_tag")
    derived = {"bin": "card BIN", "ip_network": "/24 or /48 of the IP address", "email_domain": "e-mail domain"}
    what = derived.get(entity, {"ip": "IP address", "email": "e-mail address"}.get(entity, entity))
    return Column(name, pa.uint64(), f"Keyed tag of the {what}.")


def _rules(name: str, meaning: str) -> Column:
    return Column(name, TEXTS, meaning, "", _SCORED)


COLUMNS: Final = (
    Column("sequence", pa.int64(), "Place in the journal: 1, 2, 3 ... without a gap, each once.", "number"),
    _text("kind", "What was asked: score, record, outcome or erasure.", tuple(KIND_NAMES)),
    Column(
        "decision",
        pa.string(),
        "Name as the API gives it: decisions/ and 32 hex digits, made of the request_id. Records and outcomes have one too.",
    ),
    Column("received_time", TIME, "When the server received it. Never falls from row to row."),
    Column("event_time", TIME, "When it happened at its origin."),
    Column("utc_offset_minutes", pa.int32(), "The payer's offset from UTC, -840 to 840.", "minutes", _TRANSACTION),
    _text("type", "Name of riskengine.v1.TransactionType without its prefix, e.g. CARD_PAYMENT."),
    Column(
        "amount_minor",
        pa.int64(),
        "Amount in the transaction's currency; null for logins.",
        _MINOR,
        _TRANSACTION,
    ),
    _text("currency_code", "ISO 4217 code of amount_minor."),
    Column(
        "amount_base_minor", pa.int64(), "The same in the base currency, at the rate of the day.", _MINOR, _TRANSACTION
    ),
    _text("base_currency_code", "ISO 4217 code of amount_base_minor: base_currency of server.yaml at the time."),
    _text("channel", "Name of Channel, e.g. WEB."),
    _text("entry_mode", "Name of EntryMode, e.g. CHIP."),
    _text("initiation", "Name of Initiation, e.g. PAYER."),
    _verified("address", "the billing address check"),
    _verified("card_code", "the card code"),
    _verified("three_d_secure", "3-D Secure"),
    _verified("one_time_code", "the one-time code"),
    _verified("biometric", "a biometric check"),
    _verified("passcode", "PIN or password"),
    _text("issuer_outcome", "Name of IssuerOutcome, e.g. DECLINED."),
    _text("issuer_code", "ISO 8583 field 39."),
    _text("merchant_category_code", "ISO 18245, four digits."),
    _region("card", "The card issuer's country"),
    _region("ip", "The country of the IP address"),
    _region("merchant", "The merchant's country"),
    _region("payee", "The payee's country"),
    _region("billing", "The billing address's country"),
    _region("shipping", "The shipping address's country"),
    _text("card_bin", "Issuer identification number, 6 to 8 digits.", (Kind.SCORE, Kind.RECORD, Kind.OUTCOME)),
    Column("latitude_degrees", pa.float64(), "Where the payer or terminal is, -90 to 90.", "degrees", _TRANSACTION),
    Column("longitude_degrees", pa.float64(), "Where the payer or terminal is, -180 to 180.", "degrees", _TRANSACTION),
    Column("account_open_time", TIME, "When the account was opened.", "", _TRANSACTION),
    Column("transaction_tag", pa.uint64(), "Keyed tag of transaction_id: what joins outcomes to decisions."),
    Column(
        "original_transaction_tag",
        pa.uint64(),
        "Of a refund or reversal: keyed tag of the transaction it belongs to.",
        "",
        _TRANSACTION,
    ),
    *(_tag(name) for name in TAG_COLUMNS),
    Column(
        "numbers",
        pa.map_(pa.string(), pa.float64()),
        "The caller's own declared numbers by key.",
        "the caller's",
        _TRANSACTION,
    ),
    Column(
        "labels",
        pa.map_(pa.string(), pa.string()),
        "The caller's own declared labels; one of more than 8 ASCII characters reads # and 16 hex digits.",
        "",
        _TRANSACTION,
    ),
    _text("verdict", "APPROVE, REVIEW or DECLINE.", _SCORED),
    Column(
        "probability",
        pa.float64(),
        "Calibrated probability of fraud, 0.0 to 1.0. Null: no model.",
        "probability",
        _SCORED,
    ),
    Column("margin", pa.float32(), "The model's score before calibration. Null: no model.", "log-odds", _SCORED),
    _text(
        "model_mode", "LIVE or SHADOW: whether the probability was compared with thresholds. Null: no model.", _SCORED
    ),
    _text("segment", "The threshold segment of policy.yaml that applied.", _SCORED),
    Column(
        "folded", pa.bool_(), "Whether the event entered the windows; false when it came too late.", "", _TRANSACTION
    ),
    Column("approximate", pa.bool_(), "Whether a feature used is an estimate.", "", _SCORED),
    Column("matched", pa.bool_(), "Whether an outcome's entities were known.", "", _REPORTED),
    _rules("degraded_stages", "Stages that were skipped: LISTS, VELOCITY, LINKAGE, MODEL, POLICY."),
    _rules("obligations", "What the caller had to do besides, ids of policy.yaml."),
    _rules("fired_rules", "Enforced rules that fired, ids of policy.yaml."),
    _rules("shadow_rules", "Shadow rules that fired; they decided nothing."),
    _rules("unevaluated_rules", "Rules that could not be evaluated because an input is missing."),
    _rules("list_hits", "Lists that named an entity, ids of policy.yaml."),
    Column(
        "reasons",
        pa.list_(REASON),
        "Why, the heaviest first, at most 6: code of reason_codes.yaml; feature, null for none; observed, its value, null when "
        "missing; norm, the entity's own, null when unknown; contribution in log-odds, positive towards fraud, 0 from a rule.",
        "observed and norm: the feature's",
        _SCORED,
    ),
    _text("recorded_verdict", "What was decided elsewhere, as told by RecordTransaction.", _RECORDED),
    _text("outcome_type", "Name of OutcomeType, e.g. CHARGEBACK_FRAUD.", _REPORTED),
    Column("policy", pa.string(), "Resource name of the policy in force."),
    Column("policy_revision", pa.string(), "First 12 hex digits of its SHA-256."),
    Column("model", pa.string(), "Resource name of the model in force; null without one."),
    Column("model_revision", pa.string(), "First 12 hex digits of its SHA-256."),
    Column("revision", pa.int32(), "Ordinal of the activation: configuration and program that decided.", "number"),
)
SCHEMA: Final = pa.schema(
    [pa.field(column.name, column.type) for column in COLUMNS], metadata={FORMAT_KEY: TABLE_FORMAT}
)


def view_columns(view: str) -> tuple[str, ...]:
    """Returns the names of the columns of a view.

    Args:
        view: `ALL_VIEW` or one of `VIEWS`.
    """
    if view == ALL_VIEW:
        return tuple(SCHEMA.names)
    return tuple(column.name for column in COLUMNS if VIEWS[view] in column.kinds and column.name != "kind")
