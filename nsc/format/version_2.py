"""Format version 2: frames of two lapped spectra, in groups of 1 to 16 frames (docs/bitstream.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from nsc.format.errors import DamagedError

if TYPE_CHECKING:
    from typing import Self

VERSION: Final = 2

SPECTRA_PER_FRAME: Final = 2  # that share one set of LSFs; later versions say how many
MOST_FRAMES: Final = 16  # in a group
MOST_LAYERS: Final = 63
LEVELS: Final = 64  # that a group can have, see `nsc.kinds.spectral.level`
GAIN_LEVELS: Final = 64  # that a spectrum can have
GAIN_STEP_DB: Final = 1.5
OFFSETS: Final = 97  # of the logarithm of the step, see `nsc.kinds.spectral.level`
LOOK_AHEAD_FLAG: Final = 0x80  # on the byte of layers
HOP_UNIT: Final = 32  # hops are multiples of it, up to 16 times
LSF_ORDER: Final = 16  # symbols of a frame's LSFs
CODEC_PART: Final = "codec"  # followed by its number, from 1; the first part begins with LSFs and gains
_MOST_SYMBOL_BYTES = 2  # the rarest symbol of a table that sums to 2^16
_MOST_FRAMING_BYTES = 9  # number, length of the signal, checksum
_MOST_NUMBER_BYTES = 3


class Header(NamedTuple):
    """Header of a file in version 2.

    model: first eight hex digits of the model's hash.
    num_samples: length at 16 kHz; None if the stream began before its end was known.
    layers: codecs of the cascade whose codes are in the file.
    frames: in a group.
    hop: new samples of a spectrum.
    look_ahead: whether the encoder saw one frame of the future, which delays a stream.
    spectra_per_frame: that share one set of LSFs.
    redundant: whether each packet carries a copy of the one before it, ahead of its own parts; version 4 only.
    """

    model: str
    num_samples: int | None
    layers: int
    frames: int
    hop: int
    look_ahead: bool = False
    spectra_per_frame: int = SPECTRA_PER_FRAME
    redundant: bool = False

    @property
    def version(self) -> int:
        return VERSION

    @property
    def part_names(self) -> list[str]:
        return [f"{CODEC_PART} {number}" for number in range(1, self.layers + 1)]

    @property
    def side_bytes(self) -> int:
        """Level and step offset."""
        return 2

    @property
    def side_limits(self) -> tuple[int, ...]:
        """Below which level and offset are indices that exist."""
        return LEVELS, OFFSETS

    @property
    def group_frames(self) -> int:
        return self.frames

    @property
    def frame_samples(self) -> int:
        """Samples that a frame adds to the signal."""
        return self.spectra_per_frame * self.hop

    @property
    def group_samples(self) -> int:
        return self.frames * self.frame_samples

    @property
    def most_group_bytes(self) -> int:
        symbols = self.frames * (LSF_ORDER + self.spectra_per_frame * (1 + self.layers * self.hop))
        return _MOST_SYMBOL_BYTES * symbols + _MOST_NUMBER_BYTES * self.layers + self.side_bytes + _MOST_FRAMING_BYTES

    @property
    def delay_samples(self) -> int:
        """The encoder waits for a whole group and its look-ahead, the decoder for the next spectrum to overlap with."""
        return self.group_samples + self.hop + self.look_ahead * self.frame_samples

    def frames_of(self, num_samples: int) -> int:
        return number_of_frames(num_samples, self.hop, self.spectra_per_frame)

    def version_bytes(self) -> tuple[int, int]:
        """Layers with the flag of look-ahead; frames in a group and hop, four bits each."""
        return self.layers | (LOOK_AHEAD_FLAG if self.look_ahead else 0), pack_lengths(self.frames, self.hop)

    def with_layers(self, layers: int) -> Self:
        return self._replace(layers=layers)


def read(model: str, num_samples: int | None, own: tuple[int, int]) -> Header:
    """The header of these fields.

    Raises:
        DamagedError: values that no encoder writes.
    """
    look_ahead, layers = bool(own[0] & LOOK_AHEAD_FLAG), own[0] & ~LOOK_AHEAD_FLAG
    if not 1 <= layers <= MOST_LAYERS:
        raise DamagedError(f"expected 1 to {MOST_LAYERS} layers, found {layers}; fetch the file again")
    return Header(model, num_samples, layers, *unpack_lengths(own[1]), look_ahead)


def pack_lengths(frames: int, hop: int) -> int:
    """Frames in a group and the hop in one byte, four bits each."""
    return (hop // HOP_UNIT - 1) << 4 | frames - 1


def unpack_lengths(byte: int) -> tuple[int, int]:
    """The inverse of `pack_lengths`."""
    return (byte & 0x0F) + 1, ((byte >> 4) + 1) * HOP_UNIT


def number_of_frames(num_samples: int, hop: int, spectra_per_frame: int = SPECTRA_PER_FRAME) -> int:
    """Count the frames that give each sample its full weight; the first spectrum begins a hop before the signal."""
    spectra = -(-max(num_samples, 1) // hop) + 1
    return -(-spectra // spectra_per_frame)
