"""The real server, as a process of its own: what `riskengine serve` starts, on a free port of this machine.

INVARIANTS: it never outlives the `with` block, however that ends; its log is a file of the demo's folder.

Called by `command`.
"""

import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from riskengine.errors import StartRefused

LOG_NAME: Final = "server.log"
START_MAX_S: Final = 120.0
STOP_MAX_S: Final = 15.0
_READY: Final = re.compile(r"ready at (\S+)")


@contextmanager
def running_server(directory: Path, *, on_line: Callable[[str], None]) -> Iterator[str]:
    """Starts a server and stops it at the end.

    Args:
        directory: A configuration folder.
        on_line: Told what the server says of its start.

    Yields:
        Its address.

    Raises:
        StartRefused: It ends instead of serving, or takes too long; the message has its last words.
    """
    command = [sys.executable, "-m", "riskengine.cli.main", "serve", str(directory)]
    log = directory / LOG_NAME
    with log.open("wb") as file:
        # A session of its own, so that Ctrl-C reaches this process alone, which then stops the server in order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, start_new_session=True
        )
    try:
        yield _address_of(process, log, on_line)
    finally:
        _stop(process)


def _address_of(process: "subprocess.Popen[bytes]", log: Path, on_line: Callable[[str], None]) -> str:
    assert process.stdout is not None, "stdout is a pipe"
    deadline_s = time.monotonic() + START_MAX_S
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline_s:
            if selector.select(0.1):
                data = process.stdout.read1(4096)  # type: ignore[attr-defined]
                said += data
                if not data:
                    break
            on_line(_last_line(log))
            match = _READY.search(said.decode(errors="replace"))
            if match and b"\n" in said:
                return match[1]
    raise StartRefused(f"the server did not start; its last words: {_last_line(log) or 'none'} (all of them: {log})")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_MAX_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
