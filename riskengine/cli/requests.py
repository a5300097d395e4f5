"""Rows of a history as the requests that a gateway would have sent.

INVARIANTS: the same row gives the same request, ids included, so sending a history twice does no harm; labels never enter a
transaction. A request that a row gives packs, at the door, to what `lab.events` packs the row to (a test compares them).

Called by `loading` and the demo.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from riskengine.v1.risk_service_pb2 import (
    OUTCOME_TYPE_CHARGEBACK_FRAUD,
    RecordTransactionRequest,
    ReportOutcomeRequest,
    ScoreTransactionRequest,
)
from riskengine.v1.transaction_pb2 import (
    Channel,
    EntryMode,
    Initiation,
    IssuerOutcome,
    Transaction,
    TransactionType,
    VerificationMethod,
    VerificationResult,
)

if TYPE_CHECKING:
    import pyarrow as pa

REQUEST_ID_CHARS_MIN: Final = 8
_ENTITIES: Final = (
    "account_id",
    "card_id",
    "card_bin",
    "device_id",
    "ip_address",
    "email_address",
    "phone_number",
    "merchant_id",
    "payee_id",
    "shipping_address",
)
_REGIONS: Final = ("card", "ip", "merchant", "payee", "billing", "shipping")
_METHODS: Final = ("address", "card_code", "three_d_secure", "one_time_code", "biometric", "passcode")
_TIMES: Final = ("event_time", "account_open_time", "fraud_label_time")

Row = dict[str, Any]


def rows_of(batch: "pa.RecordBatch") -> Iterator[Row]:
    """Yields rows of a history as dictionaries; times are microseconds since the epoch."""
    import pyarrow as pa

    columns = [
        column.cast(pa.int64()) if name in _TIMES else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    yield from pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()


def transaction_of(row: Row) -> Transaction:
    """Builds the transaction of a row.

    Raises:
        ValueError: A name of a closed set is unknown; says which column.
    """
    message = Transaction(
        transaction_id=row["transaction_id"], type=_enum(TransactionType, "TRANSACTION_TYPE", row, "type")
    )
    message.event_time.FromMicroseconds(row["event_time"])
    for name in (
        "utc_offset_minutes",
        "amount_minor",
        "currency_code",
        "merchant_category_code",
        "original_transaction_id",
    ):
        if row.get(name) is not None:
            setattr(message, name, row[name])
    message.channel = _enum(Channel, "CHANNEL", row, "channel")
    message.entry_mode = _enum(EntryMode, "ENTRY_MODE", row, "entry_mode")
    message.initiation = _enum(Initiation, "INITIATION", row, "initiation")
    for method in _METHODS:
        if row.get(f"verified_{method}") is not None:
            message.verifications.add(
                method=VerificationMethod.Value(f"VERIFICATION_METHOD_{method.upper()}"),
                result=_enum(VerificationResult, "VERIFICATION_RESULT", row, f"verified_{method}"),
            )
    if row.get("issuer_outcome") is not None or row.get("issuer_code") is not None:
        message.issuer_response.outcome = _enum(IssuerOutcome, "ISSUER_OUTCOME", row, "issuer_outcome")
        message.issuer_response.response_code = row.get("issuer_code") or ""
    _fill_entities(message.entities, row)
    for region in _REGIONS:
        if row.get(f"{region}_region_code"):
            setattr(message.regions, f"{region}_region_code", row[f"{region}_region_code"])
    if row.get("latitude_degrees") is not None and row.get("longitude_degrees") is not None:
        message.position.latitude_degrees = row["latitude_degrees"]
        message.position.longitude_degrees = row["longitude_degrees"]
    if row.get("account_open_time") is not None:
        message.account_open_time.FromMicroseconds(row["account_open_time"])
    for name, value in row.items():
        if value is not None and name.startswith("number_"):
            message.numbers[name.removeprefix("number_")] = value
        elif value is not None and name.startswith("label_"):
            message.labels[name.removeprefix("label_")] = value
    return message


def score_request(row: Row) -> ScoreTransactionRequest:
    """Builds the request to score a row."""
    return ScoreTransactionRequest(request_id=request_id(row), transaction=transaction_of(row))


def record_request(row: Row) -> RecordTransactionRequest:
    """Builds the request to record a row."""
    return RecordTransactionRequest(request_id=request_id(row), transaction=transaction_of(row))


def outcome_request(row: Row) -> ReportOutcomeRequest:
    """Builds the report that a row turned out to be fraud, at the time at which that became known."""
    request = ReportOutcomeRequest(
        request_id=f"outcome-{blake2b(row['transaction_id'].encode(), digest_size=12).hexdigest()}",
        transaction_id=row["transaction_id"],
        type=OUTCOME_TYPE_CHARGEBACK_FRAUD,
    )
    request.event_time.FromMicroseconds(row["fraud_label_time"])
    _fill_entities(request.entities, row)
    return request


def has_outcome(row: Row) -> bool:
    """Tells whether a row was fraud, and since when that is known."""
    return bool(row.get("fraud")) and row.get("fraud_label_time") is not None


def request_id(row: Row) -> str:
    """Returns the id of a row's request: the transaction's own where it is long enough."""
    own: str = row["transaction_id"]
    return own if len(own) >= REQUEST_ID_CHARS_MIN else f"history-{own}"


def _fill_entities(entities: Any, row: Row) -> None:
    for name in _ENTITIES:
        if row.get(name):
            setattr(entities, name, row[name])


def _enum(kind: Any, prefix: str, row: Row, name: str) -> Any:
    """Returns the number of an enum's name, 0 where there is none."""
    text = row.get(name)
    if text is None:
        return 0
    try:
        return kind.Value(f"{prefix}_{text}")
    except ValueError:
        raise ValueError(f"{name} has a name that riskengine.v1 does not know") from None
