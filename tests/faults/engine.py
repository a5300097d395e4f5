"""The engine process of these tests: the real one, with the system's disk calls wrapped so that one of them can fail.

A plan is a JSON file in the folder RISKENGINE_FAULTS: a list of faults. The engine takes it (and deletes it, so the next
engine is sound) at its next call that touches a file of the journal, and from there on counts:

    {"call": "fdatasync", "when": 3, "action": "EIO"}   the third fdatasync fails
    action   the name of an errno      the call is not made and fails
             "short"                   a write stops half way
             "kill"                    the process dies instead of making the call
             "power"                   the file system of the journal loses power instead, and the process dies
             "nothing"                 the call claims success and is not made
    stuck    true: every later one of these calls as well
    file     counts calls on the file of this name alone; ``journal`` is the folder

What the engine does from then on is written to ``calls``, one line each. The faults are below the code that they test:
in ``os``, not in `journal.disk`. Segments are short, so that new ones are begun all the time. When a file
``digest.wanted`` is there, the next GetDecision also writes the digest of the live state to ``digest``.

Started by `serve` in place of ``riskengine.engine.loop``.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from riskengine.engine import loop
from riskengine.engine.process import report_line
from tests.faults.power import shut_down

FOLDER_VARIABLE = "RISKENGINE_FAULTS"
CALLS = ("pwrite", "fdatasync", "fsync", "rename", "posix_fallocate", "unlink")
JOURNAL = "journal"
SEGMENT_BYTES = 128 << 10
"""Some 800 events: a minute of a test goes through many."""


class Faults:
    """The wrapped calls.

    Args:
        folder: Where plans appear.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._faults: list[dict[str, Any]] | None = None
        self._log = -1
        self._real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in CALLS}
        for name in CALLS:
            setattr(os, name, self._wrapped(name))

    def _wrapped(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(target: Any, *arguments: Any, **options: Any) -> Any:
            path = _path_of(target)
            action = self._meet(name, path.name) if JOURNAL in path.parts else None
            return self._fail(action, real, target, *arguments) if action else real(target, *arguments, **options)

        return call

    def _meet(self, name: str, file: str) -> str | None:
        """Counts a call of the journal; returns what is to happen instead, if anything."""
        if self._faults is None:
            self._faults = self._take_plan()
            if self._faults is None:
                return None
        os.write(self._log, f"{name} {file}\n".encode())
        for fault in self._faults:
            if fault["call"] != name or fault.get("file") not in (None, file):
                continue
            fault["when"] -= 1
            if fault["when"] == 0 or (fault["when"] < 0 and fault.get("stuck")):
                return str(fault["action"])
        return None

    def _take_plan(self) -> list[dict[str, Any]] | None:
        try:
            text = (self._folder / "plan").read_text()
        except FileNotFoundError:
            return None
        self._real["unlink"](self._folder / "plan")
        self._log = os.open(self._folder / "calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        faults: list[dict[str, Any]] = json.loads(text)
        return faults

    def _fail(self, action: str, real: Callable[..., Any], target: Any, *arguments: Any) -> Any:
        os.write(self._log, f"fault {action}\n".encode())
        if action == "nothing":
            return None
        if action == "short":
            data, offset = arguments
            return real(target, data[: len(data) // 2], offset)
        if action == "power":
            shut_down(_path_of(target).parent)
        if action in ("kill", "power"):
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, action)
        raise OSError(number, os.strerror(number))


def _path_of(target: Any) -> Path:
    """Returns the path of a descriptor or a path."""
    return Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else Path(target)


def telling(kind: Any, wanted: Path) -> Any:
    """Returns the engine's class, with short segments, which tells the digest of its state when a file asks for it."""

    class TellingEngine(kind):  # type: ignore[misc]
        @classmethod
        def open(cls, *arguments: Any, **options: Any) -> Any:
            return super().open(*arguments, **options | {"segment_bytes": SEGMENT_BYTES})

        def get_decisions(self, keys: npt.NDArray[np.uint64]) -> Any:
            if wanted.exists():
                wanted.unlink()
                partial = wanted.with_name("digest.partial")
                partial.write_text(f"{self.sequence} {self.state.digest()}")
                partial.rename(wanted.with_name("digest"))
            return super().get_decisions(keys)

    return TellingEngine


def main() -> int:
    """Runs the engine process."""
    folder = Path(os.environ[FOLDER_VARIABLE])
    loop.load_kernels(report_line)
    from riskengine.engine import engine

    engine.Engine = telling(engine.Engine, folder / "digest.wanted")  # type: ignore[misc]
    Faults(folder)
    return loop.main()


if __name__ == "__main__":
    sys.exit(main())
