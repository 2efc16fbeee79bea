"""Speech to an .nsc stream, in blocks of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nsc.arguments import MOST_SAMPLES, MOST_SPANS, check_rate, check_redundancy, layers_of, model_of, whole_number
from nsc.coding.interface import Model, PacketForm, Signal, check_layers
from nsc.coding.rate import OWN_RATE, BoundedPace, Pace, Rate, pace_of
from nsc.errors import UserError, brief
from nsc.format import Group, Header, pack_group, pack_header

LOUDEST: Final = 4.0  # of samples, full scale 1: beyond, they are of another scale


class Coding(NamedTuple):
    """How a signal is coded, but for its rate, see `nsc.encode`."""

    model: Model
    layers: int | None = None
    spans: int | None = None
    refresh: int | None = None

    def pace(self, rate: Rate) -> Pace | None:
        """The pace of a stream at a rate; None for the model's own.

        Raises:
            UserError: a quality that there is not.
        """
        return None if rate == OWN_RATE else pace_of(rate, self.model.usual_offset(rate.kbps), self.model.offsets)


class GroupEncoder:
    """Speech in, groups of bytes out, by what a model makes of it."""

    def __init__(
        self,
        coding: Coding,
        pace: Pace | None,
        num_samples: int | None,
        *,
        whole: Signal | None = None,
        copies: Pace | None = None,
        pauses: bool = False,
    ) -> None:
        """Begins a stream.

        Args:
            coding: by which model, and how.
            pace: of the analysis; None for the model's own steps.
            num_samples: length of the signal where it is known.
            whole: all of it, where the model looks at the whole signal first.
            copies: of packets, the pace of the copies that they carry.
            pauses: of packets, whether nothing is sent in pauses.

        Raises:
            UserError: the model does not have so many layers, or cannot code such a stream; arguments of other types.
        """
        model, layers = coding.model, check_layers(layers_of(coding.layers), coding.model.depth, "model")
        spans = whole_number("spans", coding.spans, 1, MOST_SPANS)
        refresh = whole_number("refresh", coding.refresh, 1, MOST_SPANS)
        packets = PacketForm(refresh, copies, pauses) if refresh else None
        self._known_length = whole_number("num_samples", num_samples, 0, MOST_SAMPLES)
        self._analysis = model.analysis(
            layers, spans=spans, num_samples=self._known_length, whole=whole, pace=pace, packets=packets
        )
        self._pace, self._header, self._finished = pace, self._analysis.header, False
        self._received = self._frames_sent = self._groups_sent = 0
        self._unsent_header = pack_header(self._header)

    @property
    def header(self) -> Header:
        """Of the stream."""
        return self._header

    @property
    def exceeded(self) -> int:
        """Groups so far that take more than a bounded rate, since every step size of the model does."""
        return self._pace.exceeded if isinstance(self._pace, BoundedPace) else 0

    def write(self, block: ArrayLike) -> bytes:
        """Takes samples [n] of 16 kHz, full scale 1; gives the bytes of the groups that they complete.

        Raises:
            UserError: samples that are not finite, not of floating point, not one channel, or far beyond full scale.
        """
        return self._begun() + b"".join(map(pack_group, self.groups(block)))

    def finish(self) -> bytes:
        """The bytes that are left when no more samples come.

        Raises:
            UserError: the stream was finished, or has more or fewer samples than declared.
        """
        return self._begun() + b"".join(map(pack_group, self.last_groups()))

    def refresh(self) -> None:
        """Lets the next packet stand alone."""
        self._analysis.refresh()

    def groups(self, block: ArrayLike) -> list[Group]:
        """As `write`, the groups."""
        if self._finished:
            raise UserError("expected no samples after the end of the stream, found some; begin another encoder")
        samples = checked_samples(block)
        self._received += len(samples)
        self._analysis.append(samples)
        group, found = self._header.group_samples, []
        while self._received >= (self._groups_sent + 1) * group + self._analysis.look_ahead:
            found.append(self._next(self._header.group_frames))
        return found

    def last_groups(self) -> list[Group]:
        """As `finish`, the groups."""
        if self._finished:
            raise UserError("expected one end of the stream, found another; begin another encoder")
        self._finished = True
        if self._known_length not in (None, self._received):
            raise UserError(f"expected {self._known_length} samples as declared, found {self._received}; declare none")
        self._analysis.end()
        left, found = self._header.frames_of(self._received) - self._frames_sent, []
        while left > 0:
            count = min(left, self._header.group_frames)
            left -= count
            found.append(self._next(count, last=not left))
        return found

    def _next(self, frames: int, *, last: bool = False) -> Group:
        length = self._received if last and self._known_length is None else None
        group = Group(self._groups_sent, *self._analysis.next_group(frames), length)
        self._groups_sent += 1
        self._frames_sent += frames
        return group

    def _begun(self) -> bytes:
        """The header, once."""
        header, self._unsent_header = self._unsent_header, b""
        return header


class Encoder(GroupEncoder):
    """Speech in, bytes out. Given as one block or as many, the same speech becomes the same bytes.

    >>> encoder = nsc.Encoder(nsc.load("cq"))
    >>> for block in microphone:
    ...     send(encoder.write(block))
    >>> send(encoder.finish())
    """

    def __init__(
        self,
        model: Model | str | Path,
        layers: int | None = None,
        *,
        kbps: float | None = None,
        quality: float | None = None,
        bounded: bool = False,
        spans: int | None = None,
        refresh: int | None = None,
        redundancy: float | None = None,
        dtx: bool = False,
        num_samples: int | None = None,
    ) -> None:
        """Begins a stream.

        Args:
            model: what to code with: a model that is loaded, or its name, hash or folder.
            layers: of the model to send; None for all.
            kbps: average rate of the stream, for models that code at any rate: no stretch of speech takes more by 3 s
                of it, nor less, see `nsc.coding.rate.BucketPace`. None for the model's own steps.
            quality: from 0 to 10, in place of kbps.
            bounded: no group takes more than kbps; `exceeded` counts those that take more at every step size.
            spans: length of a group in units of the model's shortest (0.48 s, or 40 ms for models on the lapped
                spectrum): longer ones save bytes and cost delay. None for the model's own.
            refresh: for a stream of packets, whose contexts reach back to the last that stands alone: every so
                many-th. None for groups that all stand alone.
            redundancy: of packets, see `PacketEncoder`.
            dtx: of packets, see `PacketEncoder`.
            num_samples: length of the signal where it is known; else the last group carries it.

        Raises:
            UserError: the model does not have so many layers, or cannot code a stream, or not at this rate; or
                arguments of other types.
        """
        coding = Coding(model_of(model), layers, spans, refresh)
        check_rate(kbps, quality, bounded)
        check_redundancy(redundancy, kbps, dtx)
        pace = coding.pace(Rate(kbps - (redundancy or 0) if kbps else kbps, quality, bounded))
        copies = coding.pace(Rate(redundancy, None, bounded)) if redundancy else None
        super().__init__(coding, pace, num_samples, copies=copies, pauses=dtx)


def checked_samples(block: ArrayLike) -> Signal:
    """Samples [n] as float32.

    Raises:
        UserError: they are not finite, not of floating point, not one channel, or far beyond full scale.
    """
    try:
        samples = np.asarray(block)
    except ValueError:  # as the pair that soundfile.read gives
        raise UserError(f"expected samples of one channel, found {brief(block)}; give the array alone") from None
    if samples.ndim != 1:
        raise UserError(f"expected samples of one channel, found an array of shape {samples.shape}; mix the channels")
    if samples.size and not np.issubdtype(samples.dtype, np.floating):
        raise UserError(f"expected floating-point samples from -1 to 1, found {samples.dtype}; divide by full scale")
    if not np.isfinite(samples).all():
        raise UserError("expected finite samples, found NaN or infinity; fix the signal")
    loudest = float(np.abs(samples).max(initial=0))
    if loudest > LOUDEST:
        raise UserError(f"expected samples from -1 to 1, found {loudest:g}; divide by full scale")
    return samples.astype(np.float32, copy=False)
