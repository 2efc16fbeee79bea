"""The UDP socket of a call."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any, Final

from nsc.call.protection import Protection
from nsc.call.rtp import is_control
from nsc.errors import UserError, brief

MOST_BYTES: Final = 2048  # of a datagram; longer ones are none of ours
MOST_AT_ONCE: Final = 64  # datagrams that are read before something else is done
LOOPBACK: Final = "127.0.0.1"

Address = Any  # of a socket's family


class Link:
    """Datagrams to and from one other side, the first to be chosen as `peer`; all others are strangers.

    gone: the other side's machine has said that nobody listens there any more.
    """

    def __init__(self, opened: socket.socket, protection: Protection, peer: Address | None = None) -> None:
        """Takes over a socket that is open."""
        opened.setblocking(False)
        self._socket, self._protection, self.peer = opened, protection, peer
        self.gone = False

    @property
    def port(self) -> int:
        """Its own."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Ends it."""
        self._socket.close()

    def choose(self, peer: Address) -> None:
        """Hears one other side from now on; the system keeps strangers' datagrams away."""
        self._socket.connect(peer)
        self.peer = peer

    def send(self, data: bytes, to: Address | None = None) -> None:
        """Sends a datagram to the other side, or to a stranger; the network may lose it, and so may a full buffer."""
        sealed = self._protection.seal(data, control=is_control(data))
        if sealed is None:  # longer than RTP allows
            return
        try:
            if self.peer is not None:
                self._socket.send(sealed)
            elif to is not None:
                self._socket.sendto(sealed, to)
        except ConnectionError:
            self.gone = self.peer is not None
        except OSError:
            return

    def received(self, seconds: float) -> Iterator[tuple[bytes, Address]]:
        """Datagrams that are there within so many seconds, opened, with their senders; empty where they cannot be."""
        select.select([self._socket], [], [], max(seconds, 0))
        for _ in range(MOST_AT_ONCE):
            try:
                data, address = self._socket.recvfrom(MOST_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:  # of what was sent; a last word from there may wait. On Windows, of a stranger too
                self.gone = self.peer is not None
                continue
            except OSError:  # on Windows, a datagram that is too long
                continue
            if self.peer in (None, address):
                yield self._protection.opened(data, control=is_control(data)) or b"", address


def listening(bind: str, port: int, protection: Protection) -> Link:
    """A link that waits for another side at an address of this machine.

    Raises:
        UserError: there is no such address, or the port is taken.
    """
    family, address = _resolved(bind, port, "--bind")
    return Link(_bound(family, address), protection)


def calling(host: str, port: int, bind: str | None, protection: Protection) -> Link:
    """A link to another side, from an address of this machine where one is given.

    Raises:
        UserError: one of them cannot be reached.
    """
    family, address = _resolved(host, port, "a host")
    source = _resolved(bind, 0, "--bind", family)[1] if bind else None
    opened = _bound(family, source)
    try:
        opened.connect(address)  # so that no stranger's datagram comes in
    except OSError as error:
        opened.close()
        raise UserError(f"{host} cannot be reached ({error.strerror}); check the address and --bind") from None
    return Link(opened, protection, opened.getpeername())


def _resolved(host: str, port: int, what: str, family: int = socket.AF_UNSPEC) -> tuple[int, Address]:
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise UserError(f"expected {what} that this machine knows, found {brief(host)}; check the name") from None
    # IPv4 where there is both: localhost is then where the other side listens by default
    chosen, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return chosen, address


def _bound(family: int, address: Address | None) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if address is not None:
            opened.bind(address)
    except OSError as error:
        opened.close()
        raise UserError(f"{address} cannot be used ({error.strerror}); choose another port or --bind") from None
    return opened
