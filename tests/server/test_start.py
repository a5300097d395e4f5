"""What must not start, and says why."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from riskengine.errors import BundleError, ConfigError, StartRefused
from riskengine.server.addresses import check_plaintext, reserve
from riskengine.server.supervisor import CrashLoop, Supervisor
from riskengine.settings import FrontSettings
from tests.server.running import SETTINGS, Server, score_request, write_config

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]


def test_second_server_on_a_data_directory_is_refused(server: Server, tmp_path: Path) -> None:
    """Goal: one engine, one state. Method: another configuration that names the same directory; the first goes on."""
    data_dir = server.config_dir / "data"
    config_dir = write_config(tmp_path, f"{SETTINGS}data_dir: {data_dir}\n")

    with pytest.raises(StartRefused, match=f"{data_dir} is in use by the engine with process id"):
        Supervisor(config_dir).start()
    assert server.calls.ScoreTransaction(score_request(), timeout=5).decision.recorded


def test_second_server_on_a_port_is_refused(server: Server, tmp_path: Path) -> None:
    """Goal: two servers never share traffic. Method: the same address, another directory."""
    with pytest.raises(StartRefused, match=f"{server.supervisor.address} is in use"):
        Supervisor(write_config(tmp_path), listen=server.supervisor.address).start()


def test_front_itself_refuses_a_taken_port(server: Server, tmp_path: Path) -> None:
    """Goal: SO_REUSEPORT is off. Method: a front without a supervisor on the same port."""
    command = [sys.executable, "-m", "riskengine.server.app", str(write_config(tmp_path))]
    ended = subprocess.run(
        [*command, "--listen", server.supervisor.address],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    told = json.loads(ended.stdout.splitlines()[-1])

    assert 3 == ended.returncode
    assert ("refused", "StartRefused") == (told["stage"], told["error"])
    assert server.supervisor.address in told["message"]


def test_missing_key_is_refused(tmp_path: Path) -> None:
    """Goal: no key, no start, and the file is named. Method: remove it."""
    config_dir = write_config(tmp_path)
    (config_dir / "tag.key").unlink()

    with pytest.raises(StartRefused, match=r"tag\.key"):
        Supervisor(config_dir).start()


def test_bad_policy_is_told_with_its_place(tmp_path: Path) -> None:
    """Goal: the analyst sees file, line and column although another process read it. Method: an unknown key."""
    config_dir = write_config(tmp_path)
    with (config_dir / "policy.yaml").open("a") as file:
        file.write("\nno_such_key: 1\n")

    with pytest.raises(ConfigError) as refused:
        Supervisor(config_dir).start()
    (problem,) = refused.value.problems

    assert problem.file.endswith("policy.yaml")
    assert problem.line > 1


def test_crash_loop_ends_with_its_reason(tmp_path: Path) -> None:
    """Goal: no endless restarts. Method: a front that always fails."""
    supervisor = Supervisor(write_config(tmp_path), front_module="riskengine.server.no_such_module")

    with pytest.raises(CrashLoop, match="front ended 5 times"):
        supervisor.start()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:1", "example.com:1"])
def test_plaintext_beyond_loopback_needs_a_word(address: str) -> None:
    """Goal: payments are not offered to a network by mistake. Method: addresses that are not loopback."""
    with pytest.raises(StartRefused, match="not a loopback address"):
        check_plaintext(address, allowed=False)
    check_plaintext(address, allowed=True)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0", "127.9.9.9:1"])
def test_loopback_needs_none(address: str) -> None:
    """Goal: trying it out is easy. Method: loopback addresses."""
    check_plaintext(address, allowed=False)


def test_shared_port_is_held_and_strangers_are_noticed() -> None:
    """Goal: several fronts share a port, nobody else does. Method: reserve, bind as a front, reserve as a stranger."""
    address, holder = reserve("127.0.0.1:0", shared=True)
    assert holder is not None
    port = int(address.rpartition(":")[2])
    with holder, socket.socket() as front:
        front.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        front.bind(("127.0.0.1", port))

        with pytest.raises(StartRefused, match=f"{port} is in use"):
            reserve(address, shared=True)


def test_settings_of_a_front_survive_the_command_line() -> None:
    """Goal: a front gets what its supervisor has. Method: there and back, strictly."""
    front = FrontSettings(pace_ms=0, in_flight_max=3, plaintext_anywhere=True)

    assert front == FrontSettings.model_validate_json(front.model_dump_json())


def test_damaged_model_is_told_as_what_it_is(tmp_path: Path) -> None:
    """Goal: a program tells refusals apart by their reason. Method: an empty model, read by the engine process."""
    config_dir = write_config(tmp_path)
    (config_dir / "models" / "empty").mkdir(parents=True)
    (config_dir / "models" / "active").write_text("empty\n")

    with pytest.raises(StartRefused, match="model bundle empty") as error:
        Supervisor(config_dir).start()
    assert BundleError.reason == error.value.reason
