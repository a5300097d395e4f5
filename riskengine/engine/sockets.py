"""Where processes of one data directory meet: Unix sockets in it, of the engine and of its supervisor.

INVARIANTS: only the owner of the directory can connect; the engine listens while it holds the directory's lock, its
supervisor since it serves, so each socket has one listener at most; no directory is too deep for a Unix address.

Called by `engine.loop` and `server.activations` (listen), `server.engine_client`, `server.control` and benchmarks (connect).
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "engine.sock"
SOCKET_BUFFER_BYTES: Final = 1 << 20


def listen(data_dir: Path, name: str = SOCKET_NAME) -> socket.socket:
    """Opens a socket, readable and writable by its owner only. The caller, or its engine, holds the directory's lock.

    Args:
        data_dir: The data directory; a socket that a dead process left there is replaced.
        name: Of the socket; the engine's by default.
    """
    (data_dir / name).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)
    try:
        _at(data_dir, name, listener.bind)
    finally:
        os.umask(umask)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def connect(data_dir: Path, name: str = SOCKET_NAME) -> socket.socket:
    """Connects to the engine of a data directory, or to who has another socket there; the connection does not block.

    Raises:
        OSError: Nobody listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        connection.setblocking(False)
        _at(data_dir, name, connection.connect)
    except OSError:
        connection.close()
        raise
    return connection


def _at(data_dir: Path, name: str, action: Callable[[str], object]) -> None:
    """Calls `bind` or `connect` by way of a descriptor: a Unix address has 107 bytes at most, a path may have more."""
    directory = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        action(f"/proc/self/fd/{directory}/{name}")
    finally:
        os.close(directory)
