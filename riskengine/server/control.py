"""The supervisor's socket in the data directory, and what is said over it: how a command asks a running server to change engines.

Lines of JSON, one object each. The supervisor greets with

    {"stage": "serving", "config_dir": path, "settings": ServerSettings as JSON text}

and the command may answer ``{"ask": "activate"}`` once, for the candidate in the data directory (`engine.candidate`). Then come
the stages of the engine that stands by (`engine.standby`), and at last one of

    {"stage": "activated", "gap_s": seconds without an engine that answers}
    {"stage": "aborted", "message": text}                what decided before goes on deciding
    {"stage": "unknown", "message": text}                the engine that was to take over ended on its way: the journal knows

INVARIANTS: only the owner of the data directory can connect; a line has LINE_BYTES_MAX bytes at most; nothing here blocks the
supervisor; whoever hangs up before the change withdraws what it asked for.

`Desk` is the supervisor's side, used by `activations`; `Line` that of `cli.activate`.
"""

import json
import logging
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from riskengine.engine.sockets import connect, listen
from riskengine.errors import Unavailable

logger = logging.getLogger(__name__)

SOCKET_NAME: Final = "supervisor.sock"
LINE_BYTES_MAX: Final = 1 << 20
CALLERS_MAX: Final = 8
GREETING_S: Final = 10.0


class Caller:
    """Somebody who is connected.

    Args:
        connection: Non-blocking.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.gone = False
        self._unread = b""

    def tell(self, document: dict[str, Any]) -> None:
        """Sends a line; who does not read loses the connection."""
        line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        try:
            self.gone = self.gone or self.connection.send(line) != len(line)
        except OSError:
            self.gone = True

    def asked(self) -> list[dict[str, Any]]:
        """Returns what it asked since the last call; notices when it hangs up, or says what means nothing."""
        try:
            while data := self.connection.recv(1 << 16):
                self._unread += data
                if len(self._unread) > LINE_BYTES_MAX:
                    break
            self.gone = True
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True
        *lines, self._unread = self._unread.split(b"\n")
        asked = []
        for line in lines:
            with suppress(ValueError):
                document = json.loads(line)
                if isinstance(document, dict):
                    asked.append(document)
        return asked


class Desk:
    """Where callers are met.

    Args:
        data_dir: The data directory.
        greeting: What each is told first.
    """

    def __init__(self, data_dir: Path, greeting: dict[str, Any]) -> None:
        self._greeting = greeting
        self._listener = listen(data_dir, SOCKET_NAME)
        self._callers: list[Caller] = []

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when somebody comes, asks or goes."""
        return [self._listener.fileno(), *(caller.connection.fileno() for caller in self._callers)]

    def hear(self) -> list[tuple[Caller, dict[str, Any]]]:
        """Returns what was asked since the last call; whoever is gone is let go."""
        self._accept()
        heard = [(caller, document) for caller in self._callers for document in caller.asked()]
        for caller in self._callers:
            if caller.gone:
                caller.connection.close()
        self._callers = [caller for caller in self._callers if not caller.gone]
        return heard

    def close(self) -> None:
        """Hangs up on everybody."""
        self._listener.close()
        for caller in self._callers:
            caller.connection.close()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                if len(self._callers) >= CALLERS_MAX:
                    connection.close()
                    continue
                caller = Caller(connection)
                caller.tell(self._greeting)
                self._callers.append(caller)


class Line:
    """A command's connection to the supervisor of a data directory. Use as a context manager.

    Args:
        data_dir: Of a running server.

    Raises:
        Unavailable: No server runs on it.
    """

    def __init__(self, data_dir: Path) -> None:
        try:
            self._connection = connect(data_dir, SOCKET_NAME)
        except OSError:
            raise Unavailable(
                "NOT_SERVING",
                f"no server runs on {data_dir}; start it with riskengine serve, which takes every file as it is then",
            ) from None
        self._unread = b""
        self.greeting = next(self.stages(timeout_s=GREETING_S))

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, what: str) -> None:
        """Asks for something.

        Raises:
            Unavailable: The supervisor has gone.
        """
        try:
            self._connection.sendall(json.dumps({"ask": what}).encode() + b"\n")
        except OSError:
            raise self._gone() from None

    def stages(self, *, timeout_s: float) -> Iterator[dict[str, Any]]:
        """Yields what the supervisor says.

        Args:
            timeout_s: How long it may say nothing at all, seconds.

        Raises:
            Unavailable: It has gone, or says nothing for so long.
        """
        silent_s = 0
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                silent_s = 0
                yield json.loads(line)
            elif not select.select([self._connection], [], [], 1.0)[0]:
                silent_s += 1
                if silent_s >= timeout_s:
                    raise self._gone()
            elif not self._receive():
                raise self._gone()

    def _receive(self) -> bool:
        try:
            data = self._connection.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._unread += data
        return bool(data)

    @staticmethod
    def _gone() -> Unavailable:
        return Unavailable(
            "NOT_SERVING",
            "the server went away, or does not answer; see its log, and whether riskengine serve still runs",
        )
