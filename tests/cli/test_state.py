"""`state size` and `state estimate`: tables for people, JSON for programs, and the truth of both."""

import json
from pathlib import Path

import numpy as np
import pytest

from riskengine.cli.workspace import load_workspace
from riskengine.engine.engine import Engine
from riskengine.engine.sizes import measure_state
from riskengine.lab.features import in_order
from riskengine.lab.simulate import SimulationConfig, simulate
from tests.cli.running import Run
from tests.lab.journals import bytes_of

TRAFFIC = ("--events-per-day", "1e4", "--entities", "card=3e3:0.7,account=2000")


@pytest.fixture
def measured(rules_only: Path) -> tuple[Path, int]:
    """A folder whose engine has decided, and the bytes of its state as the engine itself has it."""
    workspace = load_workspace(rules_only, with_model=False)
    configuration = workspace.configuration
    engine = Engine.open(workspace.settings.data_dir, configuration, limits=configuration.limits)
    history = simulate(SimulationConfig(seed=3, people=100, days=7))
    events = np.concatenate([part for part, _, _, _ in in_order(history.to_batches(), workspace.packer())])
    for first in range(0, len(events), 100):
        engine.commit(events[first : first + 100].copy())
    total_bytes = measure_state(engine.state, configuration.features).total_bytes
    engine.close()
    return rules_only, total_bytes


def test_size_is_that_of_the_engine(command: Run, measured: tuple[Path, int]) -> None:
    """Goal: the figures are the engine's. Method: the state of an engine that just ended; nothing is written."""
    folder, total_bytes = measured
    before = bytes_of(folder)

    told = json.loads(command("state", "size", folder, "--json").out)
    ran = command("state", "size", folder)

    assert total_bytes == told["total_bytes"]
    assert before == bytes_of(folder)
    assert ran.code == 0, ran.err
    card = next(each for each in told["types"] if each["entity"] == "card")
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert [
        "card",
        f"{card['live']:,}",
        *(str(card[f"{name}_bytes"]) for name in ("head", "slot", "curve", "register", "table", "total")),
    ] in (lines)
    assert ["card", f"{card['curve_rows']:,}", f"{card['members']:,}", "0", "0", "0", "0"] in lines
    assert (
        0
        < told["arena_used_bytes"]
        == sum(each[f"{part}_bytes"] for each in told["types"] for part in ("curve", "register", "table"))
    )
    assert "0 events came too late" in ran.out
    assert "Making the state" in ran.err


def test_size_of_a_folder_without_a_journal_says_what_to_do(command: Run, rules_only: Path) -> None:
    """Goal: no traceback for a newcomer. Method: a folder that never served."""
    ran = command("state", "size", rules_only)

    assert (2, True) == (ran.code, "riskengine serve" in ran.err)


def test_estimate_warns_of_the_limits_that_it_exceeds(command: Run, rules_only: Path) -> None:
    """Goal: an operator is warned before the first payment. Method: traffic that fits, then a hundred times as much."""
    small = command("state", "estimate", rules_only, *TRAFFIC)
    large = command("state", "estimate", rules_only, "--events-per-day", "1e6", "--entities", "card=300000", "--json")

    assert (0, 0) == (small.code, large.code), small.err + large.err
    assert "entities_max" not in small.err
    assert "arena_mib" not in small.err
    assert "not in it, as --entities does not name them: device, " in small.err
    told = json.loads(large.out)
    assert [300_000] == [each["count"] for each in told["types"]]
    assert "set it to 300000 in server.yaml" in told["warnings"][0]
    assert "limits.arena_mib is 1,024" in told["warnings"][1]
    assert told["arena_bytes"] > 1 << 30


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--events-per-day and --entities; this configuration keeps account, card"),
        (("--events-per-day", "5"), "--events-per-day and --entities"),
        (("--events-per-day", "5", "--entities", "crad=5"), 'did you mean "card"?'),
        (("--events-per-day", "5", "--entities", "card"), "card=1e6:0.7"),
        (("--events-per-day", "5", "--entities", "card=0"), "a count from 1"),
        (("--events-per-day", "5", "--entities", "card=nan"), "a count from 1"),
        (("--events-per-day", "5", "--entities", "card=inf"), "a count from 1"),
        (("--events-per-day", "5", "--entities", "card=5:1.5"), "a share above 0 to 1"),
        (("--events-per-day", "5", "--entities", "card=5:nan"), "a share above 0 to 1"),
        (("--events-per-day", "5", "--entities", "card=5,card=6"), "told once"),
        (("--events-per-day", "0", "--entities", "card=5"), "--events-per-day"),
    ],
)
def test_estimate_refuses_what_is_no_traffic(
    command: Run, rules_only: Path, arguments: tuple[str, ...], told: str
) -> None:
    """Goal: exit code 2 and the way on. Method: calls that cannot work."""
    ran = command("state", "estimate", rules_only, *arguments)

    assert (2, True) == (ran.code, told in ran.err), ran.err
