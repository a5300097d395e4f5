"""`riskengine serve`: starts the engine process and the fronts, watches them, stops them in order.

    start   engine and fronts at once; fronts answer "warming" until the engine serves
    watch   a process that ends is started again; CRASHES_MAX ends within CRASHES_WINDOW_S are a crash loop: everything
            stops, with the reason; the follower starts when calls are answered, and its ends stop nothing (`following`)
    change  an engine that stands by takes over from the one that serves, when a command asks (`activations`)
    stop    fronts first (health NOT_SERVING, calls under way finish), then the engine

Memory: engine and follower each hold a state of the size that the limits of server.yaml allow; without the follower it is
one, restarts fold the whole journal, and nothing of it is ever given up.

INVARIANTS: one thread, no gRPC; the configuration is read at the start and when a change is asked for, and whoever is
started again goes on under what decided before, whatever an editor has saved meanwhile; a child that says it must not start
(`refused`) is not started again, and its reason is raised here (`engine.process.refused`): a ConfigError with its problems,
anything else as a StartRefused with the message and the reason it had there; nothing is left running when `stop` returns.

Called by `cli.serve`, which `demo` runs as a process; by benchmarks and tests.
"""

import logging
import select
import signal
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from riskengine.clock import SystemClock
from riskengine.durable import make_folder
from riskengine.engine.process import refused
from riskengine.errors import RiskEngineError, StartRefused
from riskengine.journal.directory import check_free
from riskengine.settings import FrontSettings, load_settings

from .activations import ENGINE, Activations
from .addresses import check_plaintext, reserve
from .following import FOLLOWER, Following
from .processes import Child

logger = logging.getLogger(__name__)

CRASHES_MAX: Final = 5
CRASHES_WINDOW_S: Final = 60
RESTART_PAUSE_S: Final = 0.2
TICK_MS: Final = 100
ENGINE_STOP_S: Final = 10.0
FRONT_STOP_SLACK_S: Final = 3.0

OnStage = Callable[[str, dict[str, Any]], None]
"""Told (process name, stage) whenever a child tells something new; see `engine.loop` and `server.app` for the
stages."""


class CrashLoop(RiskEngineError):
    """A process of ours ends again and again; the log has its reasons."""

    reason = "CRASH_LOOP"


class Supervisor:
    """The processes of one server.

    Args:
        config_dir: The folder of server.yaml.
        front: Bounds and paces of the fronts in place of those of server.yaml.
        listen: HOST:PORT in place of that of server.yaml.
        on_stage: Told what the children do.
        front_module: What runs as a front; benchmarks bring their own.
        follower: Whether a follower runs beside the engine.
        shorter_history: As `Engine.open`.
    """

    def __init__(
        self,
        config_dir: Path,
        *,
        front: FrontSettings | None = None,
        listen: str | None = None,
        on_stage: OnStage | None = None,
        front_module: str = "riskengine.server.app",
        follower: bool = True,
        shorter_history: bool = False,
    ) -> None:
        self._config_dir = config_dir
        settings = load_settings(config_dir / "server.yaml")
        self._settings = settings.model_copy(
            update={"front": front or settings.front, "listen": settings.listen if listen is None else listen}
        )
        self.address = self._settings.listen
        self._on_stage = on_stage or (lambda _name, _stage: None)
        self._front_module = front_module
        self._clock = SystemClock()
        self._following = Following(self._arguments(), clock=self._clock, on_stage=self._on_stage) if follower else None
        self._shorter_history = shorter_history
        self._has_served = False
        self._children: dict[str, Child] = {}
        self._activations = Activations(
            self._children, start=self._start_next_engine, clock=self._clock, on_stage=self._on_stage
        )
        self._crashes_us: dict[str, deque[int]] = {}
        self._reserved: socket.socket | None = None
        self._started_us = 0
        self.ready_after_s = 0.0

    @property
    def ready(self) -> bool:
        """Whether the engine serves and every front knows it."""
        children = self._children.values()
        return bool(children) and all(child.stage["stage"] == "serving" for child in children)

    def pid_of(self, name: str) -> int:
        """Returns the process id of ``engine``, ``front`` or ``front 2`` ..., ``follower`` (0 while it does not run)."""
        if name == FOLLOWER:
            return self._following.pid if self._following else 0
        return self._children[name].pid

    def start(self, *, stop_requested: Callable[[], bool] = lambda: False) -> bool:
        """Starts everything and waits until calls can be answered.

        Args:
            stop_requested: Asked all the while.

        Returns:
            Whether it is ready; False when asked to stop before.

        Raises:
            StartRefused: A port or directory is in use, a file is missing, or anything else that a child says, such as a
                journal or a model that is damaged; `reason` tells them apart. Nothing is left running.
            ConfigError, CrashLoop: Likewise.
        """
        check_plaintext(self.address, allowed=self._settings.front.plaintext_anywhere)
        self._started_us = self._clock.monotonic_us()
        self.address, self._reserved = reserve(self.address, shared=self._settings.fronts > 1)
        try:
            _check_data_dir(self._settings.data_dir)
            for name in self._names():
                self._launch(name)
            while not self.ready:
                if stop_requested():
                    return False
                self.tick()
        except BaseException:
            self.stop()
            raise
        self.ready_after_s = (self._clock.monotonic_us() - self._started_us) / 1e6
        return True

    def tick(self) -> None:
        """Waits up to TICK_MS for news of the children; restarts what ended.

        Raises:
            RiskEngineError: A child must not start, or ends again and again.
        """
        poll = select.poll()
        for child in self._children.values():
            poll.register(child.descriptor, select.POLLIN)
        if self._following and self._following.descriptor is not None:
            poll.register(self._following.descriptor, select.POLLIN)
        for descriptor in self._activations.descriptors:
            poll.register(descriptor, select.POLLIN)
        poll.poll(TICK_MS)
        if self._following:
            self._following.tick(ready=self.ready)
        for name, child in list(self._children.items()):
            self._listen_to(child)
            if child.status is not None:
                self._listen_to(child)
                self._activations.failed(child, f"status {child.status}")
                self._bury(name, child)
                self._launch(name)
        self._activations.tick()

    def run(self, stop_requested: Callable[[], bool]) -> None:
        """Watches until asked to stop; raises as `tick`. The caller calls `stop`."""
        while not stop_requested():
            self.tick()

    def stop(self) -> None:
        """Stops follower and fronts, then the engine; kills what does not stop in time."""
        if self._following:
            self._following.ask_to_stop()
        self._activations.stop()
        fronts = [name for name in self._children if name != ENGINE]
        front = self._settings.front
        limit_s = (front.drain_notice_ms + front.drain_max_ms) / 1000 + FRONT_STOP_SLACK_S
        for names, timeout_s in ((fronts, limit_s), ([ENGINE], ENGINE_STOP_S)):
            children = [self._children.pop(name) for name in names if name in self._children]
            for child in children:
                child.ask_to_stop()
            for child in children:
                child.wait(timeout_s)
                child.close()
        if self._following:
            self._following.stop()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _names(self) -> list[str]:
        fronts = ["front", *(f"front {number}" for number in range(2, self._settings.fronts + 1))]
        return [ENGINE, *fronts]

    def _launch(self, name: str) -> None:
        if name == ENGINE:
            shorter = ["--shorter-history"] if self._shorter_history else []
            resume = ["--resume"] if self._has_served else []
            child = Child(name, "riskengine.engine.loop", [*self._arguments(), *shorter, *resume])
        else:
            shared = ["--shared-port"] if self._settings.fronts > 1 else []
            child = Child(name, self._front_module, [*self._arguments(), *shared])
        self._children[name] = child

    def _start_next_engine(self, name: str) -> Child:
        return Child(name, "riskengine.engine.loop", [*self._arguments(), "--stand-by"])

    def _arguments(self) -> list[str]:
        """Returns what every child is given; each is told the settings of this start, whenever it starts."""
        settings = self._settings.model_copy(update={"listen": self.address})
        return [str(self._config_dir), "--settings", settings.model_dump_json()]

    def _listen_to(self, child: Child) -> None:
        for stage in child.read_stages():
            if stage["stage"] == "refused":
                if self._activations.failed(child, stage["message"]):
                    continue
                raise refused(stage)
            if "address" in stage:
                self.address = stage["address"]  # With the port that was free, for the next start of a front.
            if child.name == ENGINE and stage["stage"] == "serving":
                self._has_served = True
                settings = self._settings.model_dump_json()
                greeting = {"stage": "serving", "config_dir": str(self._config_dir.resolve()), "settings": settings}
                self._activations.open(self._settings.data_dir, greeting)
            self._on_stage(child.name, stage)

    def _bury(self, name: str, child: Child) -> None:
        """Notes the end of a child that should not have ended; raises CrashLoop when it ends too often."""
        logger.error("the %s (process %d) ended with status %d and is started again", name, child.pid, child.status)
        child.close()
        now_us = self._clock.monotonic_us()
        crashes = self._crashes_us.setdefault(name, deque(maxlen=CRASHES_MAX))
        crashes.append(now_us)
        self._on_stage(name, {"stage": "restarting", "status": child.status})
        if len(crashes) == CRASHES_MAX and now_us - crashes[0] < CRASHES_WINDOW_S * 1_000_000:
            del self._children[name]
            raise CrashLoop(
                f"the {name} ended {CRASHES_MAX} times within {CRASHES_WINDOW_S} s, last with status {child.status}; "
                "its log above says why"
            )
        if len(crashes) > 1:  # The first restart is at once.
            select.select([], [], [], RESTART_PAUSE_S)


def _check_data_dir(data_dir: Path) -> None:
    """Makes the folder if need be, and refuses it while another engine holds it: fronts would reach that one."""
    try:
        make_folder(data_dir)
    except OSError as error:
        raise StartRefused(f"data directory {data_dir} cannot be made: {error.strerror}") from None
    check_free(data_dir)


def serve(
    config_dir: Path,
    *,
    listen: str | None = None,
    on_stage: OnStage | None = None,
    on_ready: Callable[[str, float], None] | None = None,
    follower: bool = True,
    shorter_history: bool = False,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Args:
        config_dir: The folder of server.yaml.
        listen: HOST:PORT in place of that of server.yaml.
        on_stage: Told what the processes do, for the console.
        on_ready: Told the address and the seconds it took, once calls can be answered.
        follower: Whether a follower runs beside the engine.
        shorter_history: As `Engine.open`.

    Raises:
        RiskEngineError: It cannot start, or cannot go on; says why. Nothing is left running.
    """
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    supervisor = Supervisor(
        config_dir, listen=listen, on_stage=on_stage, follower=follower, shorter_history=shorter_history
    )
    try:
        if supervisor.start(stop_requested=lambda: stopping):
            if on_ready is not None:
                on_ready(supervisor.address, supervisor.ready_after_s)
            supervisor.run(lambda: stopping)
    finally:
        supervisor.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
