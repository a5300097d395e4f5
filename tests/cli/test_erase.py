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


def test_listed_person_becomes_the_tombstone_in_the_lists(rules_only: Path) -> None:
    """Goal: a list forgets, too, and nothing else of the file changes. Method: a card by its id and by its tag among others."""
    from riskengine.cli.erase import entomb
    from riskengine.cli.workspace import load_workspace
    from riskengine.wire.pseudonyms import Pseudonyms

    policy = rules_only / "policy.yaml"
    tag = Pseudonyms(load_workspace(rules_only, with_model=False).key).tag
    head, _, rest = policy.read_text().partition("\nlists:\n")
    person = tag("card", "card-77")
    policy.write_text(
        f"{head}\nlists:\n  - id: erasable\n    action: block\n    entity: card\n    reason: ON_BLOCK_LIST\n"
        f'    entries: # reported\n      - value: card-77\n      - value: "card-78" # stays\n'
        f'  - id: by_tag\n    action: watch\n    entity: card\n    entries: [{{tag: "{person:016x}"}}]\n'
        f"  - id: others\n    action: watch\n    entity: device\n    entries: [{{value: card-77}}]\n{rest}"
    )
    before = policy.read_text()

    found = entomb(policy, tag, {"card": person, "account": tag("account", "card-77")}, 0xABC)

    assert [("erasable", "card"), ("by_tag", "card")] == found
    after = policy.read_text()
    assert f'      - tag: "{0xABC:016x}"\n      - value: "card-78" # stays\n' in after
    assert f"{person:016x}" not in after
    assert 1 == after.count("value: card-77"), "a device of that name is another"
    kept = [line for line in before.splitlines() if "card-77" not in line and f"{person:016x}" not in line]
    assert [] == [line for line in kept if line not in after]
    load_workspace(rules_only, with_model=False)
    assert [] == entomb(policy, tag, {"card": person}, 0xDEF)


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
