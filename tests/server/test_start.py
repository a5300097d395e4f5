"""What must not start, and says why."""

import json
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from riskengine.errors import BundleError, ConfigError, StartRefused
from riskengine.server.addresses import check_plaintext, reserve
from riskengine.server.supervisor import CrashLoop, Supervisor
from riskengine.settings import FrontSettings, load_settings
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


def test_second_server_starts_nothing_that_could_reach_the_first_engine(server: Server, tmp_path: Path) -> None:
    """Goal: no front of a server that must not start answers for a moment. Method: what it tells until it is refused."""
    data_dir = server.config_dir / "data"
    told: list[str] = []
    config_dir = write_config(tmp_path, f"{SETTINGS}data_dir: {data_dir}\n")

    with pytest.raises(StartRefused, match="is in use by the engine"):
        Supervisor(config_dir, on_stage=lambda name, stage: told.append(f"{name} {stage['stage']}")).start()
    assert [] == told


def wrong_socket(config_dir: Path) -> None:
    """Puts a folder where the socket goes."""
    (config_dir / "data" / "engine.sock").mkdir(parents=True)


def wrong_data_dir(config_dir: Path) -> None:
    """Puts a file where the data directory goes."""
    (config_dir / "data").write_text("")


def wrong_journal(config_dir: Path) -> None:
    """Puts a file where the journal's folder goes."""
    (config_dir / "data").mkdir()
    (config_dir / "data" / "journal").write_text("")


@pytest.mark.parametrize(
    ("spoil", "told"), [(wrong_socket, r"engine\.sock"), (wrong_data_dir, "data"), (wrong_journal, "journal")]
)
def test_file_of_a_wrong_kind_is_named(tmp_path: Path, spoil: Callable[[Path], None], told: str) -> None:
    """Goal: no traceback, no crash loop. Method: something else where a file or folder of ours goes."""
    config_dir = write_config(tmp_path)
    spoil(config_dir)

    with pytest.raises(StartRefused, match=told):
        Supervisor(config_dir).start()


def test_memory_that_is_not_there_is_told_by_its_setting(tmp_path: Path) -> None:
    """Goal: the operator learns what to lower. Method: more than any machine has."""
    config_dir = write_config(tmp_path, SETTINGS.replace("arena_mib: 32", f"arena_mib: {1 << 20}"))
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, before[1]))
    try:
        with pytest.raises(StartRefused, match=r"lower limits\.arena_mib \(now 1048576\)"):
            Supervisor(config_dir).start()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_process_takes_the_descriptors_it_may_have() -> None:
    """Goal: connections from outside do not use up what the link needs. Method: a small soft limit, a small hard one."""
    program = (
        "import resource, sys; from riskengine.engine.process import raise_descriptor_limit\n"
        "from riskengine.server.app import connections_max\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1])))\n"
        "print(raise_descriptor_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], connections_max())"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", program, hard], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for hard in ("4096", "512")
    ]

    assert ["4096 4096 1024\n", "512 512 384\n"] == told


def test_second_server_on_a_port_is_refused(server: Server, tmp_path: Path) -> None:
    """Goal: two servers never share traffic. Method: the same address, another directory."""
    with pytest.raises(StartRefused, match=f"{server.supervisor.address} is in use"):
        Supervisor(write_config(tmp_path), listen=server.supervisor.address).start()


def test_front_itself_refuses_a_taken_port(server: Server, tmp_path: Path) -> None:
    """Goal: SO_REUSEPORT is off. Method: a front without a supervisor on the same port."""
    config_dir = write_config(tmp_path)
    settings = load_settings(config_dir / "server.yaml").model_copy(update={"listen": server.supervisor.address})
    ended = subprocess.run(
        [sys.executable, "-m", "riskengine.server.app", str(config_dir), "--settings", settings.model_dump_json()],
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


@pytest.mark.parametrize(
    "address", ["localhost", "127.0.0.1:99999", ":50051", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:http", ""]
)
def test_what_is_no_address_is_refused_as_in_settings(address: str, tmp_path: Path) -> None:
    """Goal: `--listen` never serves elsewhere than it was told. Method: what server.yaml would not take, either."""
    with pytest.raises(StartRefused, match="must be HOST:PORT"):
        Supervisor(write_config(tmp_path), listen=address).start()
    with pytest.raises(StartRefused, match="must be HOST:PORT"):
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
