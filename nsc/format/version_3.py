"""Format version 3: as version 2, of models whose frames have any number of spectra (docs/bitstream.md)."""

from __future__ import annotations

from typing import Final

from nsc.format import version_2
from nsc.format.errors import DamagedError

VERSION: Final = 3

SPECTRA_PER_FRAME: Final = (1, 2, 4, 8)
MOST_LAYERS: Final = 16
LOOK_AHEAD_FLAG: Final = 0x80
_SPECTRA_SHIFT = 5
_RESERVED = 0x10  # 0 until a use for it is found


class Header(version_2.Header):
    """Header of a file in version 3; of its fields only the bytes differ."""

    @property
    def version(self) -> int:
        return VERSION

    def version_bytes(self) -> tuple[int, int]:
        """Look-ahead, logarithm of the spectra of a frame and layers; frames in a group and hop, four bits each."""
        spectra = SPECTRA_PER_FRAME.index(self.spectra_per_frame) << _SPECTRA_SHIFT
        flags = LOOK_AHEAD_FLAG if self.look_ahead else 0
        return flags | spectra | self.layers - 1, version_2.pack_lengths(self.frames, self.hop)


def read(model: str, num_samples: int | None, own: tuple[int, int]) -> Header:
    """The header of these fields.

    Raises:
        DamagedError: values that no encoder writes.
    """
    if own[0] & _RESERVED:
        raise DamagedError("expected a reserved bit of 0, found 1; fetch the file again, or use the newest codec")
    layers, spectra = (own[0] & 0x0F) + 1, SPECTRA_PER_FRAME[own[0] >> _SPECTRA_SHIFT & 3]
    look_ahead = bool(own[0] & LOOK_AHEAD_FLAG)
    return Header(model, num_samples, layers, *version_2.unpack_lengths(own[1]), look_ahead, spectra)
