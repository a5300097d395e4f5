"""Where to listen: HOST:PORT read, judged and, among several fronts, held.

INVARIANT: two servers never share a port unnoticed: only fronts of one supervisor use SO_REUSEPORT, and before they
start somebody binds the port without it. Called by `server.supervisor` and `server.app`.
"""

import errno
import socket
from ipaddress import ip_address

from riskengine.errors import StartRefused
from riskengine.settings import listen_address


def split_address(address: str) -> tuple[str, int]:
    """Splits ``HOST:PORT``, IPv6 in brackets.

    Raises:
        StartRefused: It is none; server.yaml is checked before, an address of the command line here.
    """
    try:
        listen_address(address)
    except ValueError as error:
        raise StartRefused(f"the address to listen on {error}", metadata={"address": address}) from None
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_plaintext(address: str, *, allowed: bool) -> None:
    """Refuses to offer plaintext to a network unless the operator said so.

    Args:
        address: ``HOST:PORT``.
        allowed: `FrontSettings.plaintext_anywhere`.

    Raises:
        StartRefused: The address is not loopback, or no address.
    """
    host, _ = split_address(address)
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback and not allowed:
        raise StartRefused(
            f"{address} is not a loopback address and there is no TLS: listen on 127.0.0.1, or say "
            "front.plaintext_anywhere: true in server.yaml if something in front of the port encrypts",
            metadata={"address": address},
        )


def reserve(address: str, *, shared: bool) -> tuple[str, socket.socket | None]:
    """Finds out whether a port is free and, where several fronts will listen on it, holds it for them.

    Args:
        address: ``HOST:PORT``; port 0 takes a free one.
        shared: Whether there will be several fronts.

    Returns:
        The address, with the port taken if it is shared, and the socket that holds it, bound and not listening.

    Raises:
        StartRefused: Somebody listens on it, or the address is not of this machine.
    """
    host, port = split_address(address)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Connections that ended do not count.
            probe.bind(target)
            port = probe.getsockname()[1]
    except UnicodeError:
        raise StartRefused(f"the address {address} names no host", metadata={"address": address}) from None
    except OSError as error:
        raise refused_address(address, error) from None
    if not shared:
        return address, None
    holder = socket.socket(family, kind, protocol)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind((target[0], port))
    return f"{address.rpartition(':')[0]}:{port}", holder


def refused_address(address: str, error: OSError) -> StartRefused:
    """Says why an address cannot be listened on."""
    if error.errno == errno.EADDRINUSE:
        message = f"the port of {address} is in use by another process; stop it, or listen on another port"
    else:
        message = f"the address {address} cannot be listened on: {error.strerror}"
    return StartRefused(message, metadata={"address": address})
