"""A call between two sides: what is sent when, what is done with what comes, and how it ends (docs/rtp.md)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from nsc.call import rtp
from nsc.call.devices import Source
from nsc.call.link import Address, Link
from nsc.call.streams import Receiver, Sender
from nsc.coding.interface import Signal
from nsc.coding.playout import Damage
from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError

PAUSE: Final = 0.01  # seconds that the loop waits for datagrams
SOON, OFTEN_ENOUGH = 0.2, 1.0  # seconds between two announcements, while the other side waits for them and later
BYES: Final = 3  # of which one will arrive
WIDTH: Final = 79  # of a terminal's line


class Session:
    """One call.

    failed: why it ended other than by one side's wish, in a line; "" if it did not.
    """

    def __init__(
        self,
        link: Link,
        sender: Sender,
        source: Source,
        *,
        delay: float,
        patience: float,
        hangs_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepares a call; `blocks` makes it.

        Args:
            link: to the other side; without a peer, the first that offers a stream becomes it.
            sender: of our stream.
            source: of our speech.
            delay: seconds that packets wait for those before them.
            patience: seconds without a word from the other side that end the call.
            hangs_up: whether our side wants to end the call.
        """
        self.failed = ""
        self._link, self._sender, self._source = link, sender, source
        self._delay, self._patience, self._hangs_up = delay, patience, hangs_up
        self._receiver: Receiver | None = None
        self._called = link.peer is not None
        self._may_speak = self._spoken = self._over = False
        self._begun = self._heard = time.monotonic()
        self._announced = self._shown = -OFTEN_ENOUGH

    @property
    def damage(self) -> Damage:
        """What had to be concealed."""
        return self._receiver.damage if self._receiver else Damage()

    @property
    def established(self) -> bool:
        """Whether the other side's stream is known."""
        return self._receiver is not None

    def blocks(self, wants: Callable[[], bool] | None = None) -> Iterator[Signal]:
        """The call, from the first datagram to the last: the other side's speech.

        Args:
            wants: whether a loudspeaker needs speech now; None for a file, which takes it as it comes.

        Raises:
            UserError: it does not come about.
        """
        try:
            while not self._over:
                self._speak()
                self._announce()
                for data, address in self._link.received(PAUSE):
                    self._take(data, address)
                    if self._receiver and not wants:  # datagram after datagram: what is late does not hang on the clock
                        yield from self._receiver.ready()
                while self._receiver and wants and wants():
                    yield self._receiver.tick()
                self._ask()
                self._show()
                self._check()
        finally:
            if self._shown > 0:
                print(f"{'':{WIDTH}}", end="\r", file=sys.stderr, flush=True)
            for _ in range(BYES):
                self._link.send(rtp.pack_control(self._sender.stream(rtp.ENDED), rtp.Bye(self._sender.source)))
        if self._receiver:
            yield from self._receiver.rest()

    def _speak(self) -> None:
        if not self._may_speak or self._spoken:
            return
        block = self._source.read()
        self._spoken = block is None
        for packet in self._sender.finish() if block is None else self._sender.write(block):
            self._link.send(packet)
        if self._spoken:
            self._announced = -OFTEN_ENOUGH

    def _announce(self) -> None:
        now, waited_for = time.monotonic(), self._spoken or not self._may_speak
        if now - self._announced >= (SOON if waited_for else OFTEN_ENOUGH):
            state = rtp.ENDED if self._spoken else rtp.HEARD if self._receiver else rtp.OFFERED
            self._link.send(rtp.pack_control(self._sender.stream(state)))
            self._announced = now

    def _take(self, data: bytes, address: Address) -> None:
        if rtp.is_control(data):
            for message in rtp.unpack_control(data):
                self._told(message, address)
        elif self._receiver and (packet := rtp.unpack(data)) and packet.source == self._receiver.source:
            self._heard = time.monotonic()
            self._receiver.put(packet, self._heard)

    def _told(self, message: rtp.Stream | rtp.Bye | rtp.Request, address: Address) -> None:
        if self._receiver is None:
            if isinstance(message, rtp.Stream) and message.source != self._sender.source:
                self._join(message, address)
            elif isinstance(message, rtp.Bye) and self._called:
                raise UserError(f"the other side refuses: {message.reason or 'no reason'}; call again")
        if self._receiver is None or message.source != self._receiver.source:
            return
        self._heard = time.monotonic()
        if isinstance(message, rtp.Stream):
            self._told_again(self._receiver, message)
        elif isinstance(message, rtp.Bye):
            self._over = True
            self.failed = f"the other side refuses: {message.reason}" if message.reason else ""
        else:
            self._sender.refresh()

    def _join(self, stream: rtp.Stream, address: Address) -> None:
        """Makes the sender of a stream the other side, or says why not."""
        try:
            self._receiver = Receiver(stream, self._delay)
        except UserError as error:
            self._link.send(rtp.pack_control(rtp.Bye(self._sender.source, str(error))), address)
            if self._called:
                raise
            return
        self._link.choose(address)
        self._announced = -OFTEN_ENOUGH

    def _told_again(self, receiver: Receiver, stream: rtp.Stream) -> None:
        repeated = receiver.ended
        receiver.told(stream)
        self._may_speak = self._may_speak or stream.state != rtp.OFFERED
        if self._source.endless and receiver.ended:
            self._spoken = True
        # what has not come by the time that the end is said again is lost
        if self._spoken and receiver.ended and (repeated or receiver.complete):
            self._over = True

    def _ask(self) -> None:
        """Asks for a packet that stands alone where one is missing."""
        if self._receiver and self._receiver.asks:
            self._receiver.asks = False
            self._link.send(rtp.pack_control(rtp.Request(self._sender.source), media=self._receiver.source))

    def _check(self) -> None:
        """Ends the call where a side wishes it, or the other one has gone."""
        self._over = self._over or self._hangs_up()
        waits = self.established or self._called
        silent = waits and time.monotonic() - self._heard > self._patience
        if self._over or not (silent or self._link.gone):
            return
        found = "nobody listening there" if self._link.gone else f"nothing for {self._patience:g} s"
        if not self.established:
            advice = "is nsc call --listen running there, with the same key?"
            raise UserError(f"expected an answer, found {found}; {advice}")
        self._over, self.failed = True, f"the other side has left without a word, found {found}; call again"

    def _show(self) -> None:
        """Refreshes a terminal's line once a second."""
        now = time.monotonic()
        if self.established and now - self._shown >= 1 and sys.stderr.isatty():
            self._shown = now
            print(f"{self.statistics:{WIDTH}}", end="\r", file=sys.stderr, flush=True)

    @property
    def statistics(self) -> str:
        """What the network did, in a line."""
        if not self._receiver:
            return "nothing received"
        counts, seconds = self._receiver.counts, self._receiver.packet_samples / SAMPLE_RATE
        kbps = 8 * counts.payload_bytes / 1000 / (counts.received * seconds) if counts.received else 0
        jitter = 1000 * counts.jitter / SAMPLE_RATE
        return (
            f"{counts.received} received, {counts.lost} lost, {counts.late} of them late, {counts.repeated} repeated,"
            f" jitter {jitter:.1f} ms, {kbps:.2f} kbps"
        )
