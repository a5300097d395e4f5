"""What a child process says of itself: every refusal arrives as what it was, every end has its status."""

import logging
from collections.abc import Callable
from typing import NoReturn

import pytest

from riskengine.engine.process import (
    EXIT_CONFIG,
    EXIT_DONE,
    EXIT_FAULT,
    EXIT_REFUSED,
    configure_logging,
    refusal,
    refused,
    report_line,
    run_child,
)
from riskengine.errors import (
    BundleError,
    ConfigError,
    InternalFault,
    JournalCorrupt,
    JournalFault,
    Problem,
    RiskEngineError,
    StartRefused,
)

CONFIG = ConfigError([Problem("b.yaml", 2, 3, "no"), Problem("a.yaml", 0, 0, "gone")])
CORRUPT = JournalCorrupt("a bad checksum", file="1.log", offset=8, sequence=2)
ENDS: list[tuple[RiskEngineError, int]] = [
    (JournalFault("sync failed"), EXIT_FAULT),
    (InternalFault("0123456789abcdef"), EXIT_FAULT),
    (CONFIG, EXIT_CONFIG),
    (StartRefused("in use"), EXIT_REFUSED),
    (BundleError("damaged"), EXIT_REFUSED),
    (CORRUPT, EXIT_REFUSED),
]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the log of the tests as it is."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


def raising(error: Exception) -> Callable[[], NoReturn]:
    """Returns a body that ends with an error."""

    def body() -> NoReturn:
        raise error

    return body


@pytest.mark.parametrize(("error", "status"), ENDS, ids=[type(error).__name__ for error, _ in ENDS])
def test_end_has_its_status(error: RiskEngineError, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: the supervisor knows what to do. Method: one body for each kind of end; a fault is no refusal."""
    assert status == run_child("front", raising(error))
    assert (status != EXIT_FAULT) == ('"stage": "refused"' in capsys.readouterr().out)


def test_body_that_returns_is_done() -> None:
    """Goal: asked to stop is no failure. Method: a body that returns."""
    assert EXIT_DONE == run_child("front", lambda: None)


def test_unexpected_exception_is_not_hidden() -> None:
    """Goal: a mistake of ours ends the process with a traceback in its log. Method: raise one."""
    with pytest.raises(ZeroDivisionError):
        run_child("front", raising(ZeroDivisionError()))


@pytest.mark.parametrize("error", [StartRefused("in use"), BundleError("damaged"), CORRUPT], ids=lambda e: e.reason)
def test_refusal_keeps_message_and_reason(error: RiskEngineError) -> None:
    """Goal: who starts the server tells refusals apart. Method: errors of several classes, there and back."""
    told = refused({"stage": "refused", **refusal(error)})

    assert isinstance(told, StartRefused)
    assert (error.message, error.reason) == (told.message, told.reason)
    assert "START_REFUSED" == StartRefused("another").reason


def test_refused_configuration_keeps_its_problems() -> None:
    """Goal: file, line and column survive the pipe. Method: there and back."""
    told = refused({"stage": "refused", **refusal(CONFIG)})

    assert isinstance(told, ConfigError)
    assert CONFIG.problems == told.problems


def test_child_that_nobody_listens_to_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the end of a supervisor is not the end of an answer under way. Method: a broken stdout."""

    class Broken:
        def write(self, _text: str) -> NoReturn:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Broken())

    report_line("serving")


def test_lines_of_a_log_name_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: two processes share a terminal. Method: the format that is configured."""
    formats: list[str] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: formats.append(options["format"]))
    configure_logging("engine")

    record = logging.LogRecord("riskengine.x", logging.INFO, "x.py", 1, "synced", (), None)
    assert logging.Formatter(formats[0]).format(record).endswith(" engine INFO riskengine.x: synced")
