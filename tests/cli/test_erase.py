"""`erase`: a person out of a running engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from riskengine.cli.init import EXAMPLE
from tests.cli.running import Run

pytestmark = pytest.mark.server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A server of this test alone: what it scores would stand in the way of others."""
    from riskengine.cli.demo.prepare import make_folder
    from riskengine.cli.demo.running import running_server

    make_folder(tmp_path / "folder")
    with running_server(tmp_path / "folder", on_line=lambda line: None) as address:
        yield tmp_path / "folder", address


def test_erased_card_is_unknown_to_the_engine(command: Run, own_server: tuple[Path, str], tmp_path: Path) -> None:
    """Goal: erasure works on a running engine and replays. Method: erase a card before and after a payment, and once more."""
    folder, address = own_server
    payment = json.loads(json.dumps({**EXAMPLE, "transactionId": "erase-1", "eventTime": "2026-01-05T10:00:00Z"}))
    payment["entities"]["cardId"] = "card-of-somebody"
    file = tmp_path / "one.json"
    file.write_text(json.dumps(payment))

    before = command("erase", folder, "--card", "card-of-somebody")
    scored = command("score", file, "--address", address)
    first = command("erase", folder, "--card", "card-of-somebody", "--email", "nobody@example.com")
    second = command("erase", folder, "--card", "card-of-somebody")
    replayed = command("journal", "replay", folder)

    assert (before.code, scored.code, first.code, second.code, replayed.code) == (0, 0, 0, 0, 0), first.err
    assert "None of them was known" in before.out
    assert "Erased card, email by command" in first.out
    assert "None of them was known" not in first.out
    assert "None of them was known" in second.out
    assert "card-of-somebody" not in first.out


def test_who_is_still_listed_is_told(rules_only: Path) -> None:
    """Goal: a list is the analysts' file, so they are told to edit it. Method: a policy that blocks a card by its id."""
    from riskengine.cli.erase import listed
    from riskengine.cli.workspace import load_workspace
    from riskengine.wire.pseudonyms import Pseudonyms

    policy = rules_only / "policy.yaml"
    text = policy.read_text()
    head, _, rest = text.partition("\nlists:\n")
    policy.write_text(
        f"{head}\nlists:\n  - id: erasable\n    action: block\n    entity: card\n    reason: ON_BLOCK_LIST\n"
        f"    entries: [{{value: card-77}}]\n{rest}"
    )
    workspace = load_workspace(rules_only, with_model=False)
    tag = Pseudonyms(workspace.key).tag

    found = listed(workspace, {"card": tag("card", "card-77"), "account": tag("account", "card-77")})

    assert [("erasable", "card")] == found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name somebody"),
        (("--ip", "not an address"), "--ip is not a value"),
        (("--card", "c-1"), "no engine runs on"),
    ],
)
def test_mistakes_are_told(command: Run, rules_only: Path, arguments: tuple[str, ...], said: str) -> None:
    """Goal: nothing is erased by mistake. Method: nobody named, a value that is none, no engine."""
    ran = command("erase", rules_only, *arguments)

    assert ran.code != 0
    assert said in ran.err
