"""Where fronts and engine meet: a Unix socket in the data directory.

INVARIANTS: only the owner of the directory can connect; the engine listens while it holds the directory's lock, so there
is one listener at most; no directory is too deep for a Unix address.

Called by `engine.loop` (listens), `server.engine_client` and benchmarks (connect).
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "engine.sock"
SOCKET_BUFFER_BYTES: Final = 1 << 20


def listen(data_dir: Path) -> socket.socket:
    """Opens the engine's socket, readable and writable by its owner only. The caller holds the directory's lock.

    Args:
        data_dir: The data directory; a socket that a dead engine left there is replaced.
    """
    (data_dir / SOCKET_NAME).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)
    try:
        _at(data_dir, listener.bind)
    finally:
        os.umask(umask)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def connect(data_dir: Path) -> socket.socket:
    """Connects to the engine of a data directory; the connection does not block.

    Raises:
        OSError: No engine listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        connection.setblocking(False)
        _at(data_dir, connection.connect)
    except OSError:
        connection.close()
        raise
    return connection


def _at(data_dir: Path, action: Callable[[str], object]) -> None:
    """Calls `bind` or `connect` by way of a descriptor: a Unix address has 107 bytes at most, a path may have more."""
    directory = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        action(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
    finally:
        os.close(directory)
