"""A child process of ours: started, listened to, stopped.

A child tells its stages as `engine.process` says and logs to the supervisor's stderr. Its stdin is a pipe from the
supervisor: when that ends, however it ends, the child stops.

INVARIANTS: a child has a session of its own, so that Ctrl-C reaches the supervisor alone; it is started by exec, never
by a fork of a process that has used gRPC; a line longer than LINE_BYTES_MAX or not JSON is dropped.

Called by `server.supervisor`.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger(__name__)

LINE_BYTES_MAX: Final = 1 << 20
_ROOT: Final = str(Path(__file__).resolve().parents[2])
"""Where the package lies: a child finds this very one, and nothing in the folder that it is started from."""


class Child:
    """One process.

    Args:
        name: For people, e.g. ``engine``.
        module: What ``python -m`` runs.
        arguments: Its arguments.
    """

    def __init__(self, name: str, module: str, arguments: list[str]) -> None:
        self.name = name
        self.stage: dict[str, Any] = {"stage": "starting"}
        self._unread = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments, "--supervised"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))},
        )
        assert self._process.stdout is not None, "stdout is a pipe"
        self.descriptor = self._process.stdout.fileno()
        os.set_blocking(self.descriptor, False)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def read_stages(self) -> list[dict[str, Any]]:
        """Returns the stages it told since the last call; `stage` is the last one."""
        try:
            while data := os.read(self.descriptor, 1 << 16):
                self._unread += data
        except BlockingIOError:
            pass
        *lines, self._unread = self._unread.split(b"\n")
        if len(self._unread) > LINE_BYTES_MAX:
            self._unread = b""
        stages = [stage for stage in map(_stage, lines) if stage is not None]
        if stages:
            self.stage = stages[-1]
        return stages

    def send(self, line: bytes) -> None:
        """Writes to its stdin; one that has ended is left to whoever asks for its status."""
        assert self._process.stdin is not None, "stdin is a pipe"
        with suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def ask_to_stop(self) -> None:
        """Sends SIGTERM."""
        if self.status is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> int:
        """Waits for its end, and kills it when it takes too long.

        Args:
            timeout_s: Seconds.

        Returns:
            Its exit status.
        """
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            logger.warning("the %s (process %d) did not stop in %.0f s and is killed", self.name, self.pid, timeout_s)
            self._process.kill()
            status = self._process.wait()
        return status

    def close(self) -> None:
        """Closes the pipes of an ended process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _stage(line: bytes) -> dict[str, Any] | None:
    try:
        stage = json.loads(line)
    except ValueError:
        return None
    return stage if isinstance(stage, dict) and isinstance(stage.get("stage"), str) else None
