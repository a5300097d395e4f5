"""One connection to the engine within the event loop: bytes out, whole frames in.

INVARIANT: whatever goes wrong with it is told once, and nothing is raised into the event loop. Made by
`server.engine_client`.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from riskengine.engine.link import FRONT_FRAME_BYTES_MAX, TO_FRONT, FrameReader, LinkFault, Outbox
from riskengine.errors import InternalFault

from .calls import incident

OUTBOX_BYTES_MAX: Final = 64 << 20
"""Rows that the engine may leave unread."""
OnIncident = Callable[[InternalFault], None]


class Connection:
    """One connection within the event loop.

    Args:
        connection: Non-blocking.
        loop: The event loop.
        on_frames: Takes whole frames from a reader; may raise LinkFault.
        on_lost: Told why the connection cannot go on.
        on_incident: Given the fault, already logged, when frames could not be dealt with.
    """

    def __init__(
        self,
        connection: Any,
        loop: asyncio.AbstractEventLoop,
        on_frames: Callable[[FrameReader], None],
        on_lost: Callable[[str], None],
        on_incident: OnIncident,
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._on_frames = on_frames
        self._on_lost = on_lost
        self._on_incident = on_incident
        self._reader = FrameReader(kinds=TO_FRONT, frame_bytes_max=FRONT_FRAME_BYTES_MAX)
        self._outbox = Outbox(connection, bytes_max=OUTBOX_BYTES_MAX)
        loop.add_reader(connection.fileno(), self._readable)

    def send(self, frame: bytearray | memoryview) -> None:
        """Sends a frame, or keeps what the socket does not take; raises LinkFault."""
        self._outbox.send(frame)
        if self._outbox:
            self._loop.add_writer(self._connection.fileno(), self._writable)

    def close(self) -> None:
        """Ends the connection."""
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_writer(self._connection.fileno())
        self._connection.close()

    def _readable(self) -> None:
        try:
            if self._reader.receive(self._connection):
                self._on_frames(self._reader)
        except LinkFault as fault:
            self._on_lost(fault.message)
        except Exception as error:  # noqa: BLE001 an event loop would swallow it and the link would hang
            internal = incident(error, where="the link")
            self._on_lost(internal.message)
            self._on_incident(internal)

    def _writable(self) -> None:
        try:
            if self._outbox.flush():
                self._loop.remove_writer(self._connection.fileno())
        except LinkFault as fault:
            self._on_lost(fault.message)
