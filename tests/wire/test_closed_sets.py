"""Closed sets: one number means one thing in the protos, in the engine's words, in the quick pass and in the checks."""

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from riskengine import enums, types
from riskengine.errors import InvalidRequest, Violation
from riskengine.v1 import decision_pb2, risk_service_pb2, transaction_pb2
from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire import checks
from riskengine.wire.checks import Suspect
from tests.wire.builders import NOW_US, door, issuer, limits, outcome_request, record_request, transaction, verification

PROTOS = Path(__file__).resolve().parents[2] / "protos" / "riskengine" / "v1"
DOOR = door()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (getattr(enums, name), getattr(module, name))
        for module, names in (
            (transaction_pb2, ("TransactionType", "Channel", "EntryMode", "Initiation", "VerificationMethod")),
            (transaction_pb2, ("VerificationResult", "IssuerOutcome")),
            (risk_service_pb2, ("OutcomeType",)),
            (decision_pb2, ("Verdict", "ListAction")),
        )
        for name in names
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_enum_numbers_equal_the_protos(ours: type[IntEnum], theirs: Any) -> None:
    """Goal: a number means one thing on both sides. Method: names and numbers of every enum."""
    prefix = theirs.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")

    assert {item.name.removeprefix(prefix): item.number for item in theirs.DESCRIPTOR.values if item.number} == {
        item.name: item.value for item in ours
    }


def test_stage_bits_equal_the_protos() -> None:
    """Goal: as above for stages, whose number is the bit's position plus one. Method: all of them."""
    numbers = {item.name.removeprefix("STAGE_"): item.number for item in decision_pb2.Stage.DESCRIPTOR.values}

    assert {item.name: item.value.bit_length() for item in enums.Stage} | {"UNSPECIFIED": 0} == numbers


def of_type(number: int) -> "messages.Transaction":
    """Builds a transaction of a type, with an amount where its type has one."""
    return transaction(type=number, amount_minor=5 if number <= enums.MONETARY_TYPE_LAST else None)


CLOSED_SETS: list[tuple[str, type[IntEnum], Callable[[Any], "messages.Transaction"]]] = [
    ("type", enums.TransactionType, of_type),
    ("channel", enums.Channel, lambda number: transaction(channel=number)),
    ("entry_mode", enums.EntryMode, lambda number: transaction(entry_mode=number)),
    ("initiation", enums.Initiation, lambda number: transaction(initiation=number)),
    ("issuer_response", enums.IssuerOutcome, lambda number: transaction(issuer_response=issuer(number))),
    ("method", enums.VerificationMethod, lambda number: transaction(verifications=[verification(number, 1)])),
    ("result", enums.VerificationResult, lambda number: transaction(verifications=[verification(1, number)])),
]


@pytest.mark.parametrize(("name", "members", "build"), CLOSED_SETS, ids=[row[0] for row in CLOSED_SETS])
def test_quick_pass_knows_every_member_of_a_closed_set(
    name: str, members: type[IntEnum], build: Callable[[Any], "messages.Transaction"]
) -> None:
    """Goal: a new value needs one line. Method: each number up to one past the last; the quick pass against the checks."""
    numbers = range(max(members) + 2)
    judged = {number: not found_in(build(number)) for number in numbers}

    assert {number: quick(build(number)) for number in numbers} == judged
    assert judged[max(members)]
    assert not judged[max(members) + 1]


def found_in(transaction: "messages.Transaction") -> list[Violation]:
    """Returns what the field-by-field checks find."""
    request = service.ScoreTransactionRequest(request_id="req-00000001", transaction=transaction)
    return checks.find_transaction(request, limits=limits(), now_us=NOW_US)


def quick(transaction: "messages.Transaction") -> bool:
    """Says whether the quick pass is sure of a transaction."""
    request = service.ScoreTransactionRequest(request_id="req-00000001", transaction=transaction)
    try:
        DOOR._pack_transaction(request, 1, 0, NOW_US, 0, False)
    except (Suspect, KeyError, OSError, ValueError):
        return False
    return True


def test_verdicts_and_outcomes_are_known_to_the_last() -> None:
    """Goal: as above for the other two calls. Method: the last of each set, and the one behind it."""
    calls: list[tuple[int, Callable[[int], bytes]]] = [
        (max(enums.Verdict), lambda number: DOOR.record_row(record_request(verdict=number), NOW_US)),
        (max(enums.OutcomeType), lambda number: DOOR._pack_outcome(outcome_request(type=number), NOW_US, False)),
    ]
    for last, pack in calls:
        assert pack(last)
        with pytest.raises((InvalidRequest, Suspect)):
            pack(last + 1)


@pytest.mark.parametrize(
    ("file", "field", "words"),
    [
        ("decision", "repeated Obligation obligations", f"at most {types.OBLIGATIONS_MAX}: "),
        ("decision", "repeated Reason reasons", f"at most {types.REASONS_MAX}: "),
        ("risk_service", "repeated ScoreTransactionRequest requests", f"1 to {checks.BATCH_ITEMS_MAX:,} "),
        ("risk_service", "service RiskService", "UNAVAILABLE and RESOURCE_EXHAUSTED also google.rpc.RetryInfo"),
    ],
)
def test_contract_tells_the_bounds_that_hold(file: str, field: str, words: str) -> None:
    """Goal: a caller's code is written against what is true. Method: the comment above a field against our constants."""
    lines = (PROTOS / f"{file}.proto").read_text().splitlines()
    end = next(index for index, line in enumerate(lines) if line.strip().startswith(field))
    first = next(index for index in range(end - 1, 0, -1) if not lines[index].strip().startswith("//")) + 1

    assert words in " ".join(line.strip(" /") for line in lines[first:end])
