"""A real server in processes of its own, that can be killed in part or whole, and started again on what it left.

INVARIANT: whatever a test does, `close` leaves no process behind. Used by tests and `scenarios`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from riskengine.server.client import RiskClient
from tests.faults.engine import FOLDER_VARIABLE
from tests.server.running import write_config

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """\
listen: 127.0.0.1:0
limits: {entities_max: 1000, arena_mib: 16, recent_decisions_max: 30000, batch_rows_max: 64}
journal_segment_mib: 1
deadline: {default_ms: 2000, max_ms: 5000}
"""
READY_S = 300.0
"""Kernels may have to be compiled."""
STOP_S = 30.0
FRONT, ENGINE, SUPERVISOR, EVERYTHING = "front", "engine", "supervisor", "everything"


class FaultyServer:
    """One server over one configuration folder, through all its lives.

    Args:
        folder: Gets the configuration, the log and the faults; the data as well, unless `data_dir` is given.
        data_dir: Where the data goes.
        settings: More lines of server.yaml.

    Attributes:
        config_dir: The configuration folder.
        data_dir: The data directory.
        faults_dir: Where `engine` looks for plans.
        stages: All that the present life has told.
    """

    def __init__(self, folder: Path, *, data_dir: Path | None = None, settings: str = "") -> None:
        self.data_dir = data_dir or folder / "config" / "data"
        named = "" if data_dir is None else f"data_dir: {data_dir}\n"
        self.config_dir = write_config(folder / "config", SETTINGS + named + settings)
        self.faults_dir = folder / "faults"
        self.faults_dir.mkdir(exist_ok=True)
        self.stages: list[dict[str, Any]] = []
        self.address = ""
        self._log_path = folder / "log"
        self._told = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._client: RiskClient | None = None

    def __enter__(self) -> "FaultyServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def launch(self) -> None:
        """Starts all processes without waiting for them."""
        assert self._process is None, "one life at a time"
        self._hang_up()
        self.stages = []
        with self._log_path.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.faults.serve", str(self.config_dir)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"PYTHONPATH": str(ROOT), FOLDER_VARIABLE: str(self.faults_dir)},
            )
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()

    def start(self) -> None:
        """Starts all processes and waits until calls are answered."""
        self.launch()
        self.address = self.wait("ready", lambda told: "ready" in told)["ready"]
        self._client = RiskClient(self.address)
        self._client.wait_serving(READY_S)

    @property
    def client(self) -> RiskClient:
        """A connection to the present life."""
        assert self._client is not None, "the server was started"
        return self._client

    @property
    def channel(self) -> Any:
        """The client's channel."""
        return self.client.channel

    def log(self) -> str:
        """Returns what all processes have logged."""
        return self._log_path.read_text()

    def pid_of(self, name: str) -> int:
        """Returns the id of a process of the present life; the latest of that name."""
        with self._told:
            return next(int(told["pid"]) for told in reversed(self.stages) if told.get("child") == name)

    def wait(self, what: str, wanted: Callable[[dict[str, Any]], bool], *, after: int = 0) -> dict[str, Any]:
        """Waits for something to be told.

        Args:
            what: For the message.
            wanted: Recognises it.
            after: Lines of `stages` to pass over.

        Raises:
            AssertionError: The server ended, or it took too long.
        """
        deadline_s = time.monotonic() + READY_S
        with self._told:
            while True:
                found = next((told for told in self.stages[after:] if wanted(told)), None)
                if found is not None:
                    return found
                ended = self.stages and "ended" in self.stages[-1]
                if ended or not self._told.wait(deadline_s - time.monotonic()):
                    raise AssertionError(f"no {what} in {self.stages[-5:]}; the log ends:\n{self.log()[-3000:]}")

    def mark(self) -> int:
        """Returns how much was told so far, for `wait`."""
        with self._told:
            return len(self.stages)

    def wait_restarted(self, name: str, *, after: int) -> dict[str, Any]:
        """Waits until a process has ended by itself or by a signal, was started again, and calls are answered.

        Returns:
            What the supervisor told of the end: its ``status``.
        """
        ended = self.wait(
            f"end of the {name}",
            lambda told: (told.get("name"), told.get("stage")) == (name, "restarting"),
            after=after,
        )
        with self._told:
            position = self.stages.index(ended, after)
        for waited in (name, FRONT):
            self.wait(
                f"{waited} that serves",
                lambda told, waited=waited: (told.get("name"), told.get("stage")) == (waited, "serving"),  # type: ignore[misc]
                after=position,
            )
        self.client.wait_serving(READY_S)
        return ended

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Sends a signal to one process."""
        os.kill(self.pid_of(name), number)

    def kill_all(self, rng: np.random.Generator | None = None) -> None:
        """Kills every process at once, in any order, and waits for their ends."""
        assert self._process is not None, "it runs"
        processes = [psutil.Process(self._process.pid)]
        processes += processes[0].children(recursive=True)
        order = rng.permutation(len(processes)) if rng else range(len(processes))
        for index in order:
            try:
                processes[index].kill()
            except psutil.NoSuchProcess:
                continue
        self._bury(processes)

    def kill_supervisor(self) -> None:
        """Kills the supervisor alone; the others notice and stop by themselves."""
        assert self._process is not None, "it runs"
        processes = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._bury(processes)

    def stop(self) -> int:
        """Stops in order; returns the exit status."""
        assert self._process is not None, "it runs"
        process = self._process
        process.terminate()
        status = process.wait(STOP_S)
        self._bury([])
        return status

    def close(self) -> None:
        """Ends whatever runs."""
        if self._process is not None:
            self.kill_all()
        self._hang_up()

    def plan(self, *faults: dict[str, Any]) -> None:
        """Has disk calls of the running or of the next engine fail; see `engine`."""
        (self.faults_dir / "calls").unlink(missing_ok=True)
        partial = self.faults_dir / "plan.partial"
        partial.write_text(json.dumps(faults))
        partial.rename(self.faults_dir / "plan")

    def unplan(self) -> bool:
        """Withdraws a plan; returns whether its fault has not happened."""
        (self.faults_dir / "plan").unlink(missing_ok=True)
        return not any(line.startswith("fault ") for line in self.planned_calls())

    def planned_calls(self) -> list[str]:
        """Returns the disk calls that the engine with the plan made since it took it."""
        path = self.faults_dir / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def _hang_up(self) -> None:
        """Closes the connection to a life that is over; its callers may have used it until now."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _bury(self, processes: list[psutil.Process]) -> None:
        """Waits for the ends and forgets the life."""
        assert self._process is not None
        self._process.wait(STOP_S)
        deadline_s = time.monotonic() + STOP_S
        while (alive := [one for one in processes if _is_alive(one)]) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        if self._listener is not None:
            self._listener.join(STOP_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        assert not alive, f"{alive} did not end"

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._told:
                self.stages.append(json.loads(line))
                self._told.notify_all()
        with self._told:
            self.stages.append({"ended": process.wait()})
            self._told.notify_all()


def _is_alive(process: psutil.Process) -> bool:
    """Tells whether a process can still do something: a zombie that nobody has reaped cannot."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
