"""One error table: codes, details and what is hidden."""

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

import riskengine
from riskengine import errors
from riskengine.cli.failures import UsageProblem
from riskengine.engine.candidate import ActivationAborted
from riskengine.engine.link import LinkFault
from riskengine.engine.snapshot.format import SnapshotDamaged
from riskengine.errors import InvalidRequest, Problem, RiskEngineError, Violation
from riskengine.expr.issues import ExpressionError, Issue
from riskengine.journal.archive import ArchiveRefused
from riskengine.lab.find import DecisionNotJournaled
from riskengine.server.supervisor import CrashLoop
from riskengine.server.waiting import DeadlineExceeded, NotSent
from riskengine.wire.status import DETAILS_KEY, ITEM_STATUS_BYTES_MAX, PUSHBACK_KEY, abort_of, code_of, status_of
from tests.wire.test_checks import admit, worst_request

SAMPLES: list[tuple[RiskEngineError, str, str]] = [
    (InvalidRequest([Violation("a.b", "REQUIRED", "is required")]), "INVALID_ARGUMENT", "REQUIRED"),
    (errors.RequestIdReused(), "ALREADY_EXISTS", "REQUEST_ID_REUSED"),
    (errors.DecisionNotFound(), "NOT_FOUND", "DECISION_NOT_FOUND"),
    (errors.Unavailable("WARMING", "kernels are being compiled"), "UNAVAILABLE", "WARMING"),
    (errors.Overloaded("too many calls", retry_after_s=0.2), "RESOURCE_EXHAUSTED", "OVERLOADED"),
    (errors.JournalFull(), "RESOURCE_EXHAUSTED", "JOURNAL_FULL"),
    (errors.InternalFault("abc123"), "INTERNAL", "INTERNAL"),
    (errors.ConfigError([Problem("policy.yaml", 1, 2, "bad")]), "FAILED_PRECONDITION", "CONFIG_INVALID"),
    (errors.BundleError("bad"), "FAILED_PRECONDITION", "MODEL_INVALID"),
    (errors.HistoryError("bad"), "FAILED_PRECONDITION", "HISTORY_INVALID"),
    (errors.JournalCorrupt("bit rot", file="secret.jnl", offset=1, sequence=2), "DATA_LOSS", "INTERNAL"),
    (errors.JournalFault("disk secret"), "INTERNAL", "INTERNAL"),
    (errors.BackupUnusable("damaged"), "FAILED_PRECONDITION", "BACKUP_UNUSABLE"),
    (errors.StoreFault("secret"), "INTERNAL", "INTERNAL"),
    (errors.StoreFull("secret"), "INTERNAL", "INTERNAL"),
    (errors.QueryRefused("no such column"), "INVALID_ARGUMENT", "QUERY_REFUSED"),
    (errors.StartRefused("port in use"), "FAILED_PRECONDITION", "START_REFUSED"),
    (NotSent("ENGINE_AWAY", "away"), "UNAVAILABLE", "ENGINE_AWAY"),
    (DeadlineExceeded(), "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    (ExpressionError("a +", [Issue(3, "ends too soon")]), "FAILED_PRECONDITION", "EXPRESSION_INVALID"),
    (ActivationAborted("another one is under way"), "ABORTED", "ACTIVATION_ABORTED"),
    (LinkFault("secret"), "INTERNAL", "INTERNAL"),
    (CrashLoop("secret"), "INTERNAL", "INTERNAL"),
    (UsageProblem("secret"), "INTERNAL", "INTERNAL"),
    (ArchiveRefused("secret"), "INTERNAL", "INTERNAL"),
    (SnapshotDamaged("secret"), "INTERNAL", "INTERNAL"),
    (DecisionNotJournaled("nowhere"), "NOT_FOUND", "DECISION_NOT_JOURNALED"),
    (RiskEngineError("secret"), "INTERNAL", "INTERNAL"),
]


def details(status: Status) -> dict[str, Any]:
    """Returns the details of a status by type."""
    kinds: tuple[type[Message], ...] = (ErrorInfo, BadRequest, RetryInfo)
    found: dict[str, Any] = {}
    for packed in status.details:
        (kind,) = (kind for kind in kinds if packed.Is(kind.DESCRIPTOR))
        found[kind.__name__] = kind()
        packed.Unpack(found[kind.__name__])
    return found


@pytest.mark.parametrize(("error", "code", "reason"), SAMPLES, ids=lambda value: type(value).__name__)
def test_error_has_its_code_and_one_reason(error: RiskEngineError, code: str, reason: str) -> None:
    """Goal: one table. Method: a sample of every class."""
    status, abort = status_of(error), abort_of(error)
    info = details(status)["ErrorInfo"]

    assert grpc.StatusCode[code] == code_of(error) == abort.code
    assert (grpc.StatusCode[code].value[0], reason, errors.DOMAIN) == (status.code, info.reason, info.domain)
    assert 1 == sum(packed.Is(ErrorInfo.DESCRIPTOR) for packed in status.details)
    assert dict(abort.trailing_metadata)[DETAILS_KEY] == status.SerializeToString(deterministic=True)
    assert status.message == abort.details


def test_every_class_of_the_tree_is_in_the_table() -> None:
    """Goal: a new error cannot be forgotten. Method: all subclasses, with every module imported, against the samples."""
    for module in pkgutil.walk_packages(riskengine.__path__, "riskengine."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    classes = {kind for kind in family(RiskEngineError) if kind.__module__.startswith("riskengine.")}

    assert classes == {type(error) for error, _, _ in SAMPLES}


def family(kind: type[RiskEngineError]) -> Iterator[type[RiskEngineError]]:
    """Yields a class and all its descendants."""
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_tree_in_the_docstring_is_the_tree() -> None:
    """Goal: a reader finds every error. Method: names and parents as drawn, and the names told beside the drawing."""
    doc = errors.__doc__ or ""
    drawn = {name: len(indent) // 4 for indent, name in re.findall(r"^([│ ]*)[├└]── (\w+)", doc, re.MULTILINE)}
    told = set(re.findall(r"`\w+\.\w+\.(\w+)`", doc))
    classes = [type(error) for error, _, _ in SAMPLES if type(error) is not RiskEngineError]
    here = [kind for kind in classes if kind.__module__ == "riskengine.errors"]

    assert drawn == {kind.__name__: len(kind.__mro__) - len(RiskEngineError.__mro__) - 1 for kind in here}
    assert told == {kind.__name__ for kind in classes} - set(drawn)


@pytest.mark.parametrize("error", [error for error, _, _ in SAMPLES], ids=lambda error: type(error).__name__)
def test_only_what_is_worth_a_retry_says_when(error: RiskEngineError) -> None:
    """Goal: clients retry what can succeed and nothing else. Method: RetryInfo and pushback against the code."""
    retry = code_of(error) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)

    assert retry == ("RetryInfo" in details(status_of(error)))
    assert retry == (PUSHBACK_KEY in dict(abort_of(error).trailing_metadata))


def test_retry_times_agree() -> None:
    """Goal: both places say the same. Method: 0.2 s."""
    error = errors.Overloaded("full", retry_after_s=0.2)

    assert 200 == details(status_of(error))["RetryInfo"].retry_delay.ToMilliseconds()
    assert "200" == dict(abort_of(error).trailing_metadata)[PUSHBACK_KEY]


def test_faults_of_ours_leave_without_their_text() -> None:
    """Goal: no paths, no tracebacks. Method: errors with a secret; the incident id alone is told."""
    for error in (errors.JournalFault("secret"), RiskEngineError("secret", metadata={"a": "secret"})):
        assert "secret" not in repr(abort_of(error)) + str(status_of(error))
    corrupt = errors.JournalCorrupt("bit rot", file="secret.jnl", offset=1, sequence=2)
    assert "secret" not in repr(abort_of(corrupt)) + str(status_of(corrupt))
    assert "abc123" in abort_of(errors.InternalFault("abc123")).details
    assert {"incident_id": "abc123"} == dict(details(status_of(errors.InternalFault("abc123")))["ErrorInfo"].metadata)


def test_violations_are_listed_in_order() -> None:
    """Goal: all at once. Method: three, with their reasons."""
    violations = [Violation(f"f{index}", "REQUIRED", f"says {index}") for index in range(3)]
    bad = details(status_of(InvalidRequest(violations)))["BadRequest"]

    assert [(item.field, item.reason, item.description) for item in violations] == [
        (item.field, item.reason, item.description) for item in bad.field_violations
    ]


def test_worst_request_fits_into_trailing_metadata() -> None:
    """Goal: clients accept 8 KiB of metadata. Method: everything wrong at once; and far more than can be."""
    with pytest.raises(InvalidRequest) as caught:
        admit(worst_request())
    worst = status_of(caught.value)
    absurd = status_of(InvalidRequest([Violation("x" * 100, "REQUIRED", "y" * 100)] * 1000))

    assert len(caught.value.violations) == len(details(worst)["BadRequest"].field_violations)
    assert 6000 > worst.ByteSize()
    assert 6000 > absurd.ByteSize()
    assert details(absurd)["BadRequest"].field_violations
    assert 600 > len(abort_of(RequestWithLongMessage()).details)


def test_a_thousand_of_the_worst_items_fit_into_a_reply() -> None:
    """Goal: a legal batch never fails whole because of what is told of its items. Method: everything wrong, and more."""
    with pytest.raises(InvalidRequest) as caught:
        admit(worst_request())
    absurd = InvalidRequest([Violation("x" * 100, "REQUIRED", "y" * 100)] * 1000)
    for error in (caught.value, absurd, RequestWithLongMessage()):
        status = status_of(error, bytes_max=ITEM_STATUS_BYTES_MAX)
        assert ITEM_STATUS_BYTES_MAX >= status.ByteSize()
        assert error is not caught.value or len(details(status)["BadRequest"].field_violations) > 5

    assert 3 << 20 > 1000 * (ITEM_STATUS_BYTES_MAX + 16)


class RequestWithLongMessage(errors.StartRefused):
    """An error whose text is far too long."""

    def __init__(self) -> None:
        super().__init__("x" * 10_000)
