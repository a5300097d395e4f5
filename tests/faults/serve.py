"""The process that runs the real supervisor for these tests, and tells what it does as lines of JSON.

    {"child": name, "pid": int}                 a process was started
    {"name": name, "stage": stage, ..}          what it told, see `engine.loop`; or "restarting" with its "status"
    {"ready": address}                          calls can be answered
    {"refused": class, "message": text}         the server did not start, or cannot go on

Two things differ from `riskengine serve`: children that end often are no crash loop, and the engine process runs
`tests.faults.engine`, which is the real one with faults to be switched on. Run by `running.FaultyServer`.
"""

import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from riskengine.errors import RiskEngineError
from riskengine.server import supervisor as module
from riskengine.server.processes import Child
from riskengine.settings import FrontSettings

ENGINE_MODULE = "riskengine.engine.loop"
FAULTY_ENGINE_MODULE = "tests.faults.engine"
CRASHES_MAX = 1_000_000


def tell(**told: Any) -> None:
    """Writes one line."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


class ToldChild(Child):
    """A child whose process id is told, and whose engine may fail on request."""

    def __init__(self, name: str, module: str, arguments: list[str]) -> None:
        super().__init__(name, FAULTY_ENGINE_MODULE if module == ENGINE_MODULE else module, arguments)
        tell(child=name, pid=self.pid)


def main() -> int:
    """Serves until SIGTERM; returns 0, or 3 when the server did not start or could not go on."""
    config_dir, address = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    logging.basicConfig(level=logging.INFO, format="%(asctime)s supervisor %(levelname)s %(name)s: %(message)s")
    module.CRASHES_MAX = CRASHES_MAX  # type: ignore[misc]
    module.Child = ToldChild  # type: ignore[attr-defined]
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    supervisor = module.Supervisor(
        config_dir,
        listen=address,
        front=FrontSettings(drain_notice_ms=0),
        follower=False,
        on_stage=lambda name, stage: tell(name=name, **stage),
    )
    try:
        if supervisor.start(stop_requested=lambda: stopping):
            tell(ready=supervisor.address)
            supervisor.run(lambda: stopping)
    except RiskEngineError as error:
        tell(refused=type(error).__name__, message=error.message)
        return 3
    finally:
        supervisor.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
