"""A network between two processes that loses, repeats, delays and reorders packets, by their numbers alone."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LOST = frozenset({0, 3, 4, 11})  # counted from the first RTP packet of a direction
REPEATED = frozenset({6, 9})
DELAYED = {7: 8, 14: 20}  # sent on after another: the first in time, the second too late


@dataclass
class Direction:
    """What one side has sent: its RTP packets, and how many RTCP packets."""

    packets: list[bytes] = field(default_factory=list)
    controls: list[bytes] = field(default_factory=list)
    waiting: dict[int, bytes] = field(default_factory=dict)

    def passed(self, data: bytes) -> Iterator[bytes]:
        """What is sent on when a datagram has come."""
        if 192 <= data[1] < 224:
            self.controls.append(data)
            if len(self.controls) > 1:
                yield data
            return
        self.packets.append(data)
        index = len(self.packets) - 1
        if index in DELAYED:
            self.waiting[DELAYED[index]] = data
        elif index not in LOST:
            yield from [data] * (2 if index in REPEATED else 1)
        if index in self.waiting:
            yield self.waiting.pop(index)


class Relay:
    """Passes datagrams on between whoever calls and the side that listens at a port."""

    def __init__(self, port: int) -> None:
        self.ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for each in self.ends:
            each.bind(("127.0.0.1", 0))
        self.port = self.ends[0].getsockname()[1]
        self.directions = Direction(), Direction()
        self._peers: list[Any] = [None, ("127.0.0.1", port)]
        self._stopped = threading.Event()

    def run(self) -> None:
        """Works until it is stopped."""
        while not self._stopped.is_set():
            for end in select.select(self.ends, [], [], 0.05)[0]:
                side = self.ends.index(end)
                data, self._peers[side] = end.recvfrom(2048)
                for each in self.directions[side].passed(data):
                    self.ends[1 - side].sendto(each, self._peers[1 - side])

    @contextmanager
    def running(self) -> Iterator[Relay]:
        """Works in the meantime."""
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            thread.join()
            for each in self.ends:
                each.close()
