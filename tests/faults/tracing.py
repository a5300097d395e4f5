"""Faults injected from outside: strace stops the engine at its n-th system call of a kind.

It proves what `engine` does within the process once more, against the unchanged system calls. Used by tests.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ATTACHED = "attached"


class CannotTrace(Exception):
    """This machine does not let us trace; says why."""


@contextmanager
def injected(pid: int, calls: str, fault: str, *, log: Path) -> Iterator[None]:
    """Traces a running process, with a fault.

    Args:
        pid: Of the process.
        calls: System calls as strace names them, e.g. ``fdatasync`` or ``/^rename``.
        fault: As strace takes it, e.g. ``error=EIO:when=1``.
        log: Gets what strace tells.

    Raises:
        CannotTrace: There is no strace, or it may not attach.
    """
    if shutil.which("strace") is None:
        raise CannotTrace("strace not found")
    command = ["strace", "-f", "-p", str(pid), "-o", str(log), "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        first = tracer.stderr.readline()
        if ATTACHED not in first:
            tracer.kill()
            raise CannotTrace(first.strip() or "strace ended")
        try:
            yield
        finally:
            tracer.terminate()
