"""Format version 1: frames of a cascade, 30 ms each, in groups of one gain per 16 frames (docs/bitstream.md)."""

from __future__ import annotations

from typing import Final, NamedTuple

from nsc.format.errors import DamagedError

VERSION: Final = 1

# Framing. Every frame carries 480 new samples (30 ms) and cross-fades 32 samples with each neighbour.
FRAME_LENGTH: Final = 512  # samples
OVERLAP: Final = 32  # samples shared by two neighbouring frames
HOP: Final = FRAME_LENGTH - OVERLAP  # samples, 30 ms
FRAMES_PER_GROUP: Final = 16  # frames that share one gain, 0.48 s
GROUP_LENGTH: Final = FRAMES_PER_GROUP * HOP  # samples that share one gain

# Linear prediction. The analysis window reaches 256 samples beyond the frame on both sides.
LPC_ORDER: Final = 16
LPC_CONTEXT: Final = 256  # samples before and after the frame, each under a half Hann window
LPC_WINDOW_LENGTH: Final = FRAME_LENGTH + 2 * LPC_CONTEXT  # samples

# Gain: one index per group, uniform in decibels, so that 64 levels reach from digital silence to full scale.
GAIN_LEVELS: Final = 64

MOST_LAYERS: Final = 63
MOST_SPANS: Final = 16  # gains in a group
LPC_FLAG: Final = 0x80
LPC_PART: Final = "lpc"
CODEC_PART: Final = "codec"  # followed by its number, from 1
_MOST_SYMBOL_BYTES = 2  # the rarest symbol of a table that sums to 2^16
_MOST_FRAMING_BYTES = 9  # number, length of the signal, checksum
_MOST_NUMBER_BYTES = 3


class Header(NamedTuple):
    """Header of a file in version 1.

    model: first eight hex digits of the model's hash.
    num_samples: length at 16 kHz; None if the stream began before its end was known.
    layers: codecs of the cascade whose codes are in the file.
    has_lpc: whether the first part of each group holds LSFs.
    spans: stretches of 16 frames in a group, each with its gain.
    """

    model: str
    num_samples: int | None
    layers: int
    has_lpc: bool
    spans: int

    @property
    def version(self) -> int:
        return VERSION

    @property
    def part_names(self) -> list[str]:
        return part_names(self.layers, has_lpc=self.has_lpc)

    @property
    def side_bytes(self) -> int:
        """One gain index per span."""
        return self.spans

    @property
    def side_limits(self) -> tuple[int, ...]:
        """Below which every gain is an index that exists."""
        return (GAIN_LEVELS,) * self.spans

    @property
    def group_frames(self) -> int:
        return self.spans * FRAMES_PER_GROUP

    @property
    def group_samples(self) -> int:
        return self.spans * GROUP_LENGTH

    @property
    def most_group_bytes(self) -> int:
        symbols = self.group_frames * (LPC_ORDER + self.layers * FRAME_LENGTH // 2)
        parts = self.layers + self.has_lpc
        return _MOST_SYMBOL_BYTES * symbols + self.spans + _MOST_NUMBER_BYTES * parts + _MOST_FRAMING_BYTES

    @property
    def delay_samples(self) -> int:
        return delay_samples(self.spans)

    def frames_of(self, num_samples: int) -> int:
        return number_of_frames(num_samples)

    def version_bytes(self) -> tuple[int, int]:
        """Layers with the flag of LPC, and spans."""
        return self.layers | (LPC_FLAG if self.has_lpc else 0), self.spans

    def with_layers(self, layers: int) -> Header:
        return self._replace(layers=layers)


def read(model: str, num_samples: int | None, own: tuple[int, int]) -> Header:
    """The header of these fields.

    Raises:
        DamagedError: values that no encoder writes.
    """
    has_lpc, layers, spans = bool(own[0] & LPC_FLAG), own[0] & ~LPC_FLAG, own[1]
    if not 1 <= layers <= MOST_LAYERS or not 1 <= spans <= MOST_SPANS:
        raise DamagedError(
            f"expected 1 to {MOST_LAYERS} layers and 1 to {MOST_SPANS} gains, found {layers} and {spans};"
            " fetch the file again"
        )
    return Header(model, num_samples, layers, has_lpc, spans)


def part_names(layers: int, *, has_lpc: bool) -> list[str]:
    """Names of the parts of a group, in order."""
    return [LPC_PART] * has_lpc + [f"{CODEC_PART} {number}" for number in range(1, layers + 1)]


def number_of_frames(num_samples: int) -> int:
    """Count the frames, t covering [480 t - 32, 480 t + 480), that give each sample its full weight."""
    return max(1, -(-(num_samples + OVERLAP) // HOP))


def delay_samples(spans: int = 1) -> int:
    """Largest delay in samples from the encoder's input to the decoder's output.

    The encoder waits for a whole group and the look-ahead of its last frame, the decoder for the next group to
    cross-fade with.
    """
    return spans * GROUP_LENGTH + LPC_CONTEXT + OVERLAP
