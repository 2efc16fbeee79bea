"""Speech to packets for a call and back: the transport carries their number, length and checksum."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from nsc.arguments import file_bytes, layers_of, model_of, whole_number
from nsc.coding.encoder import Encoder
from nsc.coding.interface import Model, Signal
from nsc.coding.playout import NO_SAMPLES, Damage, playout_of
from nsc.format import Group, pack_header, pack_parts, unpack_packet_header, unpack_parts

REFRESH: Final = 5  # packets, of which one stands alone: 0.2 s
NUMBERS: Final = 1 << 16  # sequence numbers come round, as those of RTP
# As RFC 3550, appendix A.1: how far numbers may jump ahead, and how late a packet may come, before the stream counts as
# begun anew; two in sequence show that.
MOST_MISSING, MOST_LATE = 3000, 100


class PacketEncoder:
    """Speech in, packets out, each of `packet_samples` new samples.

    >>> encoder = nsc.PacketEncoder("cq", kbps=12)
    >>> offer(encoder.header)  # what the receiver has to know, 16 bytes
    >>> for block in microphone:
    ...     for packet in encoder.write(block):
    ...         send(packet)
    """

    def __init__(
        self,
        model: Model | str | Path,
        layers: int | None = None,
        *,
        kbps: float | None = None,
        quality: float | None = None,
        bounded: bool = False,
        spans: int = 1,
        refresh: int | None = None,
        redundancy: float | None = None,
        dtx: bool = False,
    ) -> None:
        """Begins a stream.

        Args:
            model: as for `nsc.Encoder`, as are all rates, which count the packets' bytes.
            layers: of the model to send; None for all.
            kbps: average rate; None for the model's own steps.
            quality: from 0 to 10, in place of kbps.
            bounded: no packet takes more than kbps; `exceeded` counts those that take more at every step size.
            spans: frames of 40 ms in a packet.
            refresh: every so many-th packet stands alone. The others need the one before: they take fewer bytes, and
                are concealed where it is lost. None for all with redundancy, else every fifth.
            redundancy: kbps of a coarse copy of the packet before that each one carries, part of `kbps`. A decoder that
                waits for one packet more hears it in place of a packet that was lost.
            dtx: in pauses nothing is sent but a packet every 0.4 s, from which the decoder makes comfort noise: `write`
                gives b"" in place of a packet that is not sent. kbps is the rate while there is speech.

        Raises:
            UserError: as `nsc.Encoder`; or the model has no packets.
        """
        refresh = (REFRESH if redundancy is None else 1) if refresh is None else refresh
        rate: dict[str, Any] = {"kbps": kbps, "quality": quality, "bounded": bounded, "redundancy": redundancy}
        self._encoder = Encoder(model, layers, **rate, spans=spans, refresh=refresh, dtx=dtx)

    @property
    def header(self) -> bytes:
        """Of the stream: what its receiver has to know."""
        return pack_header(self._encoder.header)

    @property
    def packet_samples(self) -> int:
        """Samples that a packet adds to the signal."""
        return self._encoder.header.group_samples

    @property
    def exceeded(self) -> int:
        """Packets so far that take more than a bounded rate, since every step size of the model does."""
        return self._encoder.exceeded

    def refresh(self) -> None:
        """Lets the next packet stand alone: a receiver asks for it that missed one, as by a PLI of RTCP."""
        self._encoder.refresh()

    def write(self, block: ArrayLike) -> list[bytes]:
        """Takes samples [n] of 16 kHz, full scale 1; gives the packets that they complete, b"" for one not to send.

        Raises:
            UserError: as `nsc.Encoder.write`.
        """
        return [pack_parts(group.parts) for group in self._encoder.groups(block)]

    def finish(self) -> list[bytes]:
        """The packets that are left when no more samples come.

        Raises:
            UserError: the stream was finished.
        """
        return [pack_parts(group.parts) for group in self._encoder.last_groups()]


class PacketDecoder:
    """Packets in, speech out; what does not arrive is concealed and listed in `damage`.

    >>> decoder = nsc.PacketDecoder("cq", header)
    >>> play(decoder.write(packet, number))
    >>> play(decoder.lost())  # when a packet is due and has not come
    """

    def __init__(self, model: Model | str | Path, header: bytes, layers: int | None = None) -> None:
        """Begins with whatever packet comes first.

        Args:
            model: that the packets were made with.
            header: of the stream, see `PacketEncoder.header`.
            layers: to use; None for all that are sent.

        Raises:
            BitstreamError: this is no header, or that of another model.
            UserError: no such model, the header of something else, or fewer layers.
        """
        self.damage = Damage()
        self._header = unpack_packet_header(file_bytes(header))
        self._playout = playout_of(model_of(model), self._header, layers_of(layers), self.damage, joins=True)
        self._next: int | None = None  # number of the packet that is due
        self._jumped: int | None = None  # number after the last one that led nowhere

    @property
    def packet_samples(self) -> int:
        """Samples that a packet adds to the signal; the first gives fewer, since it begins before the signal."""
        return self._header.group_samples

    def write(self, packet: bytes, number: int | None = None) -> Signal:
        """The samples that a packet completes, with those in place of packets that are missing before it.

        Where it carries a copy of the packet before and that is missing, the copy is heard in its place.

        Args:
            packet: any bytes; what no encoder writes is concealed.
            number: its number, counted up by one from packet to packet, those that are not sent with `dtx` included,
                modulo 2^16; None for the next in order. A packet that comes late or twice is left out.

        Raises:
            UserError: arguments of other types.
        """
        packet, number = file_bytes(packet), whole_number("number", number, 0, NUMBERS - 1)
        missing = self._missing_before(number)
        if missing is None:
            self.damage.left_out += 1
            return NO_SAMPLES
        parts = unpack_parts(packet, len(self._header.part_names))
        fits = parts is not None and len(packet) <= self._header.most_group_bytes
        group = Group(0, (0,), parts) if parts and fits else None
        blocks = [self.lost() for _ in range(missing - 1)]
        if missing:
            blocks.append(self._playout.restore(group) if group else self._playout.conceal())
        self._go_on(number)
        blocks.append(self._playout.group(group) if group else self._playout.conceal())
        return np.concatenate(blocks)

    def lost(self) -> Signal:
        """Conceals the packet that is due, without waiting for another; should it still come, it is left out."""
        self._go_on()
        return self._playout.conceal()

    def _go_on(self, number: int | None = None) -> None:
        number = self._next if number is None else number
        self._next = None if number is None else (number + 1) % NUMBERS

    def _missing_before(self, number: int | None) -> int | None:
        """How many packets are missing before one of this number; None for one to leave out."""
        if number is None or self._next is None:
            return 0
        ahead, jumped = (number - self._next) % NUMBERS, self._jumped
        self._jumped = None
        if ahead < MOST_MISSING:
            return ahead
        if NUMBERS - ahead <= MOST_LATE:
            return None
        self._jumped = (number + 1) % NUMBERS
        return 0 if number == jumped else None
