"""Commands that talk to a server: score, history load; and the journal that they leave."""

import json
from pathlib import Path

import pytest

from riskengine.cli.init import EXAMPLE
from tests.cli.running import Run

pytestmark = pytest.mark.server
Server = tuple[Path, str]


@pytest.fixture(scope="module")
def small_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of a few hundred events."""
    from riskengine.cli.simulate import simulate_to

    file = tmp_path_factory.mktemp("load") / "small.parquet"
    simulate_to(file, people=60, days=6, seed=2)
    return file


def test_history_loads_once_however_often_it_is_sent(command: Run, server: Server, small_history: Path) -> None:
    """Goal: a warm start that can be repeated. Method: load twice; the journal has each event once, all folded."""
    folder, address = server

    first = command("history", "load", small_history, "--address", address)
    verified = command("journal", "verify", folder)
    second = command("history", "load", small_history, "--address", address)
    again = command("journal", "verify", folder)

    assert first.code == 0, first.err
    assert "entered no window" not in first.err
    assert second.code == 0, second.err
    assert first.out == second.out
    assert verified.out == again.out


def test_score_prints_a_decision(command: Run, server: Server) -> None:
    """Goal: a first decision from a file. Method: the example that init writes."""
    folder, address = server

    ran = command("score", folder / "example_payment.json", "--address", address)

    assert ran.code == 0, ran.err
    assert ran.out.startswith("APPROVE")
    assert "policies/starter" in ran.out


def test_history_after_the_first_payment_is_refused(command: Run, server: Server, tmp_path: Path) -> None:
    """Goal: nobody believes in a warm start that was none. Method: score now, then load another history of the past."""
    from riskengine.cli.simulate import simulate_to

    folder, address = server
    simulate_to(tmp_path / "other.parquet", people=60, days=6, seed=5)
    scored = command("score", folder / "example_payment.json", "--address", address)
    loaded = command("history", "load", tmp_path / "other.parquet", "--address", address)

    assert (0, 1) == (scored.code, loaded.code)
    assert "before the first payment" in loaded.err


def test_misspelled_enum_is_told_with_the_nearest(command: Run, tmp_path: Path) -> None:
    """Goal: a typing mistake is mended at once. Method: one letter of a type left out."""
    file = tmp_path / "bad.json"
    file.write_text(json.dumps({**EXAMPLE, "type": "TRANSACTION_TYPE_CARD_PAYMNT"}))

    ran = command("score", file)

    assert ran.code == 2
    assert 'did you mean "TRANSACTION_TYPE_CARD_PAYMENT"?' in ran.err


@pytest.mark.parametrize("address", ["foo", ":1", "host:", "host:x", "host:70000"])
def test_address_that_is_none_is_a_usage_error(command: Run, starter: Path, address: str) -> None:
    """Goal: no waiting for a server that cannot be. Method: five that are no HOST:PORT."""
    ran = command("score", starter / "example_payment.json", "--address", address)

    assert (2, True) == (ran.code, "must be HOST:PORT" in ran.err)


def test_score_of_the_same_file_returns_the_stored_decision(command: Run, server: Server, tmp_path: Path) -> None:
    """Goal: a repeat is harmless. Method: a transaction with its time, twice, as JSON."""
    file = tmp_path / "one.json"
    file.write_text(json.dumps({**EXAMPLE, "transactionId": "same-1", "eventTime": "2026-01-05T10:00:00Z"}))

    first, second = (command("score", file, "--address", server[1], "--json") for _ in range(2))

    assert first.code == 0, first.err
    assert json.loads(first.out)["verdict"] == "VERDICT_APPROVE"
    assert first.out == second.out


def test_score_tells_every_violation(command: Run, server: Server, tmp_path: Path) -> None:
    """Goal: a wrong request is mended in one round. Method: three mistakes."""
    file = tmp_path / "bad.json"
    file.write_text(
        json.dumps({**EXAMPLE, "amountMinor": "-5", "currencyCode": "eur", "entities": {"ipAddress": "999"}})
    )

    ran = command("score", file, "--address", server[1])

    assert ran.code == 1
    for field in ("transaction.amount_minor", "transaction.currency_code", "transaction.entities.ip_address"):
        assert field in ran.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "one JSON object"),
        ('{"transactionIdd": "x"}', "transactionIdd"),
        ('{"amountMinor": "many"}', "amountMinor"),
    ],
)
def test_file_that_is_no_request_is_a_usage_error(command: Run, tmp_path: Path, text: str, told: str) -> None:
    """Goal: exit code 2 and the reason. Method: four files that are wrong in four ways."""
    file = tmp_path / "bad.json"
    file.write_text(text)

    ran = command("score", file)

    assert ran.code == 2
    assert told in ran.err


def test_file_of_another_kind_is_too_large(command: Run, tmp_path: Path) -> None:
    """Goal: no half of a file is judged. Method: a good request behind a mebibyte of blanks."""
    file = tmp_path / "large.json"
    file.write_text(json.dumps(EXAMPLE).rjust((1 << 20) + 1))

    ran = command("score", file)

    assert ran.code == 2
    assert "larger than 1 MiB" in ran.err
    assert "not JSON" not in ran.err


def test_nobody_listening_says_how_to_start_a_server(command: Run, starter: Path, small_history: Path) -> None:
    """Goal: a newcomer is not stuck, and reads the same words everywhere. Method: two commands, a port where nobody is."""
    address = ("--address", "127.0.0.1:9")
    scored = command("score", starter / "example_payment.json", *address)
    loaded = command("history", "load", small_history, *address)

    assert (1, 1) == (scored.code, loaded.code)
    assert "nothing serves at 127.0.0.1:9; start a server there with: riskengine serve" in scored.err
    assert loaded.err.endswith(scored.err)


def test_second_server_on_the_port_or_the_data_is_refused(command: Run, server: Server) -> None:
    """Goal: traffic and journals are never shared unnoticed. Method: serve the same folder twice."""
    folder, address = server

    port = command("serve", folder, "--listen", address)
    data = command("serve", folder)

    assert port.code == 1
    assert address in port.err
    assert data.code == 1
    assert "data directory" in data.err


def test_replay_finds_every_decision_the_same(command: Run, server: Server) -> None:
    """Goal: `journal replay` works beside a running server. Method: after the scores above."""
    ran = command("journal", "replay", server[0])

    assert ran.code == 0, ran.err
    assert "every bit the same" in ran.out
