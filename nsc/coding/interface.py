"""The interface of a model to encoder and decoder: analysis and synthesis, group by group.

A model of another kind, with another framing, other side information or a memory across groups, implements these three
protocols and a header (`nsc.format.Header`); encoder, decoder, files, streams and the command then serve it unchanged.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nsc.coding.rate import Pace
from nsc.errors import UserError
from nsc.format import Group, Header

Signal = NDArray[np.float32]  # samples [n] of 16 kHz, full scale 1


class Content(NamedTuple):
    """What a group carries: side information, one byte each below 128, and the bytes of its parts."""

    side: tuple[int, ...]
    parts: tuple[bytes, ...]


class PacketForm(NamedTuple):
    """What packets of a stream carry beside their frames, and when none are sent.

    refresh: every `refresh`-th packet stands alone.
    redundancy: chooses the step offset of the copy of the packet before that each one carries; None for none.
    pauses: nothing is sent in pauses but a packet now and then.
    """

    refresh: int
    redundancy: Pace | None = None
    pauses: bool = False


class Analysis(Protocol):
    """The encoder's half of a model, for one stream. It may remember earlier groups."""

    @property
    def header(self) -> Header:
        """Of the stream."""
        ...

    @property
    def look_ahead(self) -> int:
        """Samples after the end of a group that its coding needs."""
        ...

    def append(self, samples: Signal) -> None:
        """Takes the next samples of the signal."""
        ...

    def end(self) -> None:
        """Ends the signal: missing samples count as silence."""
        ...

    def refresh(self) -> None:
        """Lets the next group stand alone, as those that are no packets do."""
        ...

    def next_group(self, frames: int) -> Content:
        """Codes the next group of `frames` frames: `header.group_frames`, or fewer in the last one.

        It has no parts where it is a packet that is not sent.
        """
        ...


class Synthesis(Protocol):
    """The decoder's half of a model, for one stream. It may remember earlier groups."""

    @property
    def lead(self) -> int:
        """Samples that come out before the first sample of the signal."""
        ...

    def next_group(self, group: Group, frames: int) -> Signal | None:
        """The samples that a group of `frames` frames completes; None, with no change, if its bytes are corrupt."""
        ...

    @property
    def pauses(self) -> bool:
        """Whether the last packet said that nothing is sent for a while: what conceals then is comfort noise."""
        ...

    def restore(self, group: Group, frames: int) -> Signal | None:
        """The samples of the group before one, from the copy that this one carries; None, with no change, without."""
        ...

    def conceal(self, frames: int) -> Signal:
        """The samples that conceal `frames` lost frames."""
        ...


class Unit(NamedTuple):
    """What the length of a group is counted in.

    name: "frames_per_group" or "spans", as the command's flag has it.
    seconds: of one.
    most: in a group.
    """

    name: str
    seconds: float
    most: int


class CodeLengths(NamedTuple):
    """What a file's symbols cost under the model's tables.

    bits: ideal code length of every frame, float64 [frames] by part, such as "lpc", "gain", "codec 1".
    frame_seconds: new speech of a frame.
    """

    bits: dict[str, NDArray[np.float64]]
    frame_seconds: float


class Model(Protocol):
    """A trained model that can code."""

    @property
    def digest(self) -> str:
        """First eight hex digits of its hash, which files carry."""
        ...

    @property
    def depth(self) -> int:
        """Number of its layers."""
        ...

    @property
    def needs_whole_signal(self) -> bool:
        """Whether coding begins with a look at the whole signal, so that it cannot code a stream."""
        ...

    @property
    def unit(self) -> Unit:
        """What `spans` counts."""
        ...

    @property
    def offsets(self) -> int:
        """How many step offsets a group can have, the finest first; 0 for a model of one rate."""
        ...

    @property
    def own_offset(self) -> int:
        """Index of the step offset where no rate is asked for."""
        ...

    def usual_offset(self, kbps: float | None) -> int:
        """Index of the step offset at which speech usually takes so many kbps; `own_offset` for None."""
        ...

    def group_seconds(self, spans: int | None) -> float:
        """Seconds of speech in a group of so many units; None for the model's own length.

        Raises:
            UserError: there is no such group.
        """
        ...

    def code_lengths(self, data: bytes) -> CodeLengths:
        """What the symbols of an undamaged file of known length cost.

        Raises:
            BitstreamError: the header cannot be read, or groups are missing or damaged.
        """
        ...

    def symbols(self, data: bytes) -> dict[str, NDArray[np.int32]]:
        """The symbols of such a file, int32 [frames, positions, channels] by part, from 0 to below the alphabet.

        Raises:
            BitstreamError: as `code_lengths`.
        """
        ...

    def regrouped(self, data: bytes, spans: int | None, refresh: int | None) -> bytes:
        """Such a file in groups of another length, or in packets, of the same symbols; see `analysis`.

        Raises:
            BitstreamError: as `code_lengths`.
            UserError: the model has no such groups, or a group would have several levels or step offsets.
        """
        ...

    def analysis(
        self,
        layers: int,
        *,
        spans: int | None,
        num_samples: int | None,
        whole: Signal | None,
        pace: Pace | None,
        packets: PacketForm | None,
    ) -> Analysis:
        """Begins to encode.

        Args:
            layers: to send, 1 to `depth`.
            spans: length of a group, in units that the format version defines; None for the model's own.
            pace: chooses the step offset of every group, for models that code at any rate; None for the model's own.
            num_samples: length of the signal where it is known.
            whole: the signal, where it is there from the start.
            packets: their form; None for groups, all of which stand alone.

        Raises:
            UserError: the model cannot code in this way.
        """
        ...

    def synthesis(self, header: Header, layers: int) -> Synthesis:
        """Begins to decode the first `layers` layers of a stream.

        Raises:
            WrongModelError: the stream is not of this model.
        """
        ...


def check_layers(layers: int | None, most: int, owner: str) -> int:
    """The number of layers, by default all.

    Raises:
        UserError: the model has fewer layers.
    """
    layers = most if layers is None else layers
    if not 1 <= layers <= most:
        raise UserError(f"expected 1 to {most} layers, which the {owner} has, found {layers}; choose among them")
    return layers
