"""Groups of lapped spectra to bytes and back: LSFs, gains and the indices of each codec, one message per codec.

A group is coded by itself, or as a packet, which carries its side information within and whose contexts go on from the
packet before, unless it stands alone. A message is decodable given those before it, so that the last codecs of a group
may be dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.coefficient_model import (
    LARGEST_INDEX,
    CoefficientModel,
    KnownSpectra,
    in_coding_order,
    known_spectra,
    padded_magnitudes,
    past_features,
)
from nsc.entropy.lsf_model import LsfModel
from nsc.entropy.model_arrays import ModelArrays, code_lengths
from nsc.entropy.neighbourhood import LARGEST_CONTEXT, SIDE
from nsc.entropy.packet_side import FOLLOWS, GroupSteps, decode_side, encode_side
from nsc.entropy.range_coding import RangeDecoder, RangeEncoder
from nsc.entropy.spectral_envelope import EnvelopeLogs, gain_logs
from nsc.entropy.whole_numbers import LOG_ONE, Integers, WholeFloats
from nsc.format.version_2 import GAIN_LEVELS

MOST_CODECS = 63
USUAL_SPECTRA_PER_FRAME, MOST_SPECTRA_PER_FRAME = 2, 8
MOST_OFFSETS = 256
LARGEST_OFFSET = 8 * LOG_ONE
LARGEST_COSINE = 2 << 20
SPECTRA_ARRAY = "spectra_per_frame"
MOST_BEFORE = 2  # spectra that contexts look back

Symbols = NDArray[np.int32]


class SpectralSymbols(NamedTuple):
    """The symbols of a group of F frames of S spectra, or of equally long groups with leading axes.

    lsf: int32 [F, 16], below the number of LSF levels.
    gains: int32 [F S], 0 to 63.
    indices: of each codec, int32 [F S, bins], -63 to 63.
    """

    lsf: Symbols
    gains: Symbols
    indices: tuple[Symbols, ...]

    @property
    def spectra_per_frame(self) -> int:
        """Spectra that share one set of LSFs, where there is a frame at all."""
        return self.gains.shape[-1] // self.lsf.shape[-2]

    def group(self, number: int) -> SpectralSymbols:
        """One of the groups of a leading axis."""
        return SpectralSymbols(self.lsf[number], self.gains[number], tuple(each[number] for each in self.indices))


class Context(NamedTuple):
    """What contexts of a packet know of what precedes it.

    lsf: of the frame before, int32 [16].
    gain: of the spectrum before.
    mean: of the logarithm of the shape of that spectrum's envelope, rounded down.
    spectra: how many are known, at most 2.
    magnitudes: of each codec, padded, of the last two spectra [2, ...]; zeros for one that is not known.
    """

    lsf: Symbols
    gain: int
    mean: int
    spectra: int
    magnitudes: tuple[Integers, ...]


class Preceding(NamedTuple):
    """The packet before: its steps, and what contexts know of it."""

    steps: GroupSteps
    context: Context

    def at(self, steps: GroupSteps) -> Context:
        """As a packet of these steps sees it: levels and gains have the same steps of 1.5 dB."""
        gain = self.context.gain + self.steps.level - steps.level
        return self.context._replace(gain=min(max(gain, 0), GAIN_LEVELS - 1))


class _Known(NamedTuple):
    """What is known of a group's spectra before their indices, and what the first codec makes of it at any offset."""

    spectra: KnownSpectra
    first: list[WholeFloats]


class CodeLengths(NamedTuple):
    """Ideal code lengths in bits.

    lsf: float64 [..., F].
    gains: float64 [..., F S].
    indices: of each codec, float64 [..., F S].
    """

    lsf: NDArray[np.float64]
    gains: NDArray[np.float64]
    indices: tuple[NDArray[np.float64], ...]


class SpectralCoder:
    """The entropy coder of a model. All its numbers are whole."""

    def __init__(
        self,
        lsf: LsfModel,
        cosines: Integers,
        gains: Integers,
        codecs: Sequence[CoefficientModel],
        offsets: Integers,
        spectra_per_frame: int = USUAL_SPECTRA_PER_FRAME,
    ) -> None:
        """Takes the models of all parts.

        Args:
            lsf: of the LSFs.
            cosines: 2 cos of the LSF levels, [levels], times 2^20.
            gains: tables [65, 64] of a gain by the one before in the group, the last without one.
            codecs: of each codec's indices.
            offsets: of the log step, natural logarithms times LOG_ONE, rising; what an offset index means.
            spectra_per_frame: that share one set of LSFs.
        """
        self.spectra_per_frame = spectra_per_frame
        self.lsf, self.cosines, self.gains, self.codecs, self.offsets = lsf, cosines, gains, list(codecs), offsets
        self.envelope = EnvelopeLogs(cosines, len(self.codecs[0].offsets))
        self.gain_logs = gain_logs()
        self._last: tuple[object, _Known] | None = None  # group, and what is known of it
        self._lsf_rows, self._gain_rows, *self._index_rows = (
            each.astype(np.float64) for each in (lsf.tables, gains, *(codec.tables for codec in self.codecs))
        )

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> SpectralCoder:
        """The coder of a model file's arrays, those whose names begin with `prefix`.

        Raises:
            UserError: an array is missing or is not what it should be.
        """
        found = ModelArrays(arrays, prefix)
        offsets = found.numbers("offsets", (None,), -LARGEST_OFFSET, LARGEST_OFFSET)
        if not 1 <= len(offsets) <= MOST_OFFSETS or (np.diff(offsets) <= 0).any():
            raise found.error("offsets", f"1 to {MOST_OFFSETS} rising numbers", f"{len(offsets)} numbers")
        codecs: list[CoefficientModel] = []
        while not codecs or (f"codec_{len(codecs) + 1}:tables" in found and len(codecs) < MOST_CODECS):
            codecs.append(CoefficientModel.read(found.within(f"codec_{len(codecs) + 1}:"), follower=bool(codecs)))
            if len(codecs[-1].offsets) != len(codecs[0].offsets):
                raise found.error(f"codec_{len(codecs)}:offsets", f"{len(codecs[0].offsets)} bins", "others")
        lsf = LsfModel.read(found.within("lsf:"))
        return cls(
            lsf,
            found.numbers("lsf:cosines", (len(lsf.angles),), -LARGEST_COSINE, LARGEST_COSINE),
            found.tables("gains:tables", (GAIN_LEVELS + 1, GAIN_LEVELS)),
            codecs,
            offsets,
            _read_spectra_per_frame(found),
        )

    def arrays(self, prefix: str = "") -> dict[str, NDArray[np.int32]]:
        """All arrays for a model file, under names that begin with `prefix`."""
        found = {
            "offsets": self.offsets.astype(np.int32),
            "lsf:cosines": self.cosines.astype(np.int32),
            "gains:tables": self.gains.astype(np.int32),
        }
        found |= {f"lsf:{key}": array for key, array in self.lsf.arrays().items()}
        for number, codec in enumerate(self.codecs):
            found |= {f"codec_{number + 1}:{key}": array for key, array in codec.arrays().items()}
        if self.spectra_per_frame != USUAL_SPECTRA_PER_FRAME:  # models from before there was a choice do not say
            found[SPECTRA_ARRAY] = np.array(self.spectra_per_frame, np.int32)
        return {prefix + key: array for key, array in found.items()}

    def encode(self, symbols: SpectralSymbols, offset: int) -> list[bytes]:
        """Messages of a group: LSFs, gains and the first codec, then each further codec.

        Args:
            symbols: of the group, of up to as many codecs as the model has; silent spectra, whose gain is the lowest,
                have indices of 0.
            offset: index into the model's offsets.
        """
        return self._encode(RangeEncoder(), symbols, offset, None)

    def encode_packet(
        self, symbols: SpectralSymbols, steps: GroupSteps, before: Preceding | None, *, pauses: bool = False
    ) -> list[bytes]:
        """Messages of a packet, the first of which begins with its side information.

        Args:
            symbols: as for `encode`.
            steps: of the packet.
            before: the packet before; None for one that stands alone.
            pauses: a pause follows one that stands alone.
        """
        encoder = RangeEncoder()
        encode_side(encoder, steps, before.steps if before else None, len(self.offsets), pauses=pauses)
        return self._encode(encoder, symbols, steps.offset, before.at(steps) if before else None)

    def _encode(
        self, encoder: RangeEncoder, symbols: SpectralSymbols, offset: int, context: Context | None
    ) -> list[bytes]:
        lsf_rows = self.lsf.rows(symbols.lsf, context.lsf if context else None)
        encoder.encode(symbols.lsf.reshape(-1), self._lsf_rows[lsf_rows.reshape(-1)])
        encoder.encode(symbols.gains, self._gain_rows[gains_before(symbols.gains, context.gain if context else None)])
        messages, audible = [], symbols.gains > 0
        for number, classes in enumerate(self.classes(symbols, offset, context)):
            indices = in_coding_order(symbols.indices[number])[audible].reshape(-1)
            encoder.encode(indices + LARGEST_INDEX, self._index_rows[number].take(classes[audible].reshape(-1), 0))
            messages.append(encoder.finish())
            encoder = RangeEncoder()
        return messages

    def nearer_to_zero(
        self,
        symbols: SpectralSymbols,
        codes: NDArray[np.float32],
        offset: int,
        rdo_lambda: float,
        context: Context | None = None,
    ) -> SpectralSymbols:
        """Rate-distortion optimised quantisation of the last codec that the symbols hold.

        An index goes one bin towards zero where the squared error grows by less than `rdo_lambda` times the bits that
        this saves in its own table. Codecs before the last one stay: what follows them was made for what they send.

        Args:
            symbols: of a group, quantised to the nearest bins.
            codes: what the last codec quantised, float32 [F S, bins].
            offset: index into the model's offsets.
            rdo_lambda: squared error, in units of that codec's step, that a bit is worth.
            context: None where contexts begin with the group.
        """
        *_, classes = self.classes(symbols, offset, context)
        codec = self.codecs[len(symbols.indices) - 1]
        found = codec.nearer_to_zero(classes, symbols.indices[-1], codes, rdo_lambda)
        return symbols._replace(indices=(*symbols.indices[:-1], found))

    def decode(self, messages: Sequence[bytes], frames: int, offset: int) -> SpectralSymbols:
        """The inverse of `encode`, of as many codecs as there are messages.

        Raises:
            ValueError: bytes or an offset that the model's encoder does not write.
        """
        if offset >= len(self.offsets):
            raise ValueError(f"expected one of {len(self.offsets)} offsets, found {offset}")
        return self._decode(RangeDecoder(messages[0]), messages, frames, offset, None)

    def decode_packet(
        self, messages: Sequence[bytes], frames: int, before: Preceding | None
    ) -> tuple[SpectralSymbols, GroupSteps, int]:
        """The inverse of `encode_packet`, of as many codecs as there are messages; and the packet's kind.

        Raises:
            ValueError: bytes that the model's encoder does not write, or a packet that follows one that is not there.
        """
        decoder = RangeDecoder(messages[0])
        steps, kind = decode_side(decoder, before.steps if before else None, len(self.offsets))
        context = None if kind != FOLLOWS or before is None else before.at(steps)
        return self._decode(decoder, messages, frames, steps.offset, context), steps, kind

    def context_after(self, symbols: SpectralSymbols, context: Context | None) -> Context:
        """What contexts of the next packet know, from the symbols of one and what its contexts knew."""
        found = []
        for number, indices in enumerate(symbols.indices):
            magnitudes = padded_magnitudes(indices[-MOST_BEFORE:])
            start = context.magnitudes[number] if context else np.zeros((MOST_BEFORE, magnitudes.shape[-1]), np.int64)
            found.append(np.concatenate([start, magnitudes])[-MOST_BEFORE:])
        mean = int(self.envelope.shapes(symbols.lsf)[-1].sum()) // len(self.codecs[0].offsets)
        spectra = min(len(symbols.gains) + (context.spectra if context else 0), MOST_BEFORE)
        return Context(symbols.lsf[-1], int(symbols.gains[-1]), mean, spectra, tuple(found))

    def _decode(
        self,
        decoder: RangeDecoder,
        messages: Sequence[bytes],
        frames: int,
        offset: int,
        context: Context | None,
    ) -> SpectralSymbols:
        lsf = self.lsf.decode(frames, lambda row: int(decoder.decode(row)[0]), context.lsf if context else None)
        gains = self._decode_gains(decoder, frames, context.gain if context else GAIN_LEVELS)
        spectra = self._spectra(lsf, gains, context)
        found: list[Symbols] = []
        for number, (codec, message) in enumerate(zip(self.codecs, messages, strict=False)):
            if number:
                decoder = RangeDecoder(message)
            parts = codec.at_offset(codec.known(spectra, found[-1] if found else None), self.offsets[offset])
            start = context.magnitudes[number] if context else None
            found.append(_decode_indices(codec, self._index_rows[number], parts, decoder, gains > 0, start))
        return SpectralSymbols(lsf, gains, tuple(found))

    def code_lengths(
        self, symbols: SpectralSymbols, offsets: NDArray[np.int64], context: Context | None = None
    ) -> CodeLengths:
        """Ideal code lengths of equally long groups.

        Args:
            symbols: with leading axes [groups].
            offsets: indices into the model's offsets, [groups].
            context: of a single group; None where contexts begin with the groups.
        """
        lsf_rows = self.lsf.rows(symbols.lsf, context.lsf if context else None)
        lsf = code_lengths(self.lsf.tables)[lsf_rows, symbols.lsf].sum(-1)
        gain_rows = gains_before(symbols.gains, context.gain if context else None)
        gains = code_lengths(self.gains)[gain_rows, symbols.gains]
        found = []
        for number, classes in enumerate(self.classes(symbols, offsets, context)):
            indices = in_coding_order(symbols.indices[number]) + LARGEST_INDEX
            found.append(code_lengths(self.codecs[number].tables)[classes, indices].sum(-1) * (symbols.gains > 0))
        return CodeLengths(lsf, gains, tuple(found))

    def classes(
        self, symbols: SpectralSymbols, offset: NDArray[np.int64] | int, context: Context | None = None
    ) -> Iterator[Integers]:
        """For each codec, the number of the table of every index in coding order, [..., spectra, bins]."""
        spectra, known = self._known(symbols.lsf, symbols.gains, context)
        for number, (codec, indices) in enumerate(zip(self.codecs, symbols.indices, strict=False)):
            known = codec.known(spectra, symbols.indices[number - 1]) if number else known
            before = context.magnitudes[number] if context else None
            yield codec.classes(codec.at_offset(known, self.offsets[offset]), indices, before)

    def _known(self, lsf: Symbols, gains: Symbols, context: Context | None) -> _Known:
        key = lsf.shape, lsf.tobytes(), gains.tobytes(), context and (context.spectra, context.mean, context.gain)
        last = self._last  # threads share it
        if last is None or last[0] != key:  # the same again at other step sizes, and when bits were weighed
            spectra = self._spectra(lsf, gains, context)
            last = key, _Known(spectra, self.codecs[0].known(spectra, None))
            self._last = last if lsf.ndim == 2 else None  # that of many groups is large
        return last[1]

    def _spectra(self, lsf: Symbols, gains: Symbols, context: Context | None) -> KnownSpectra:
        shapes = np.repeat(self.envelope.shapes(lsf), self.spectra_per_frame, -2)
        before = (context.spectra, context.mean + int(self.gain_logs[context.gain])) if context else ()
        return known_spectra(shapes, self.gain_logs[gains], *before)

    def _decode_gains(self, decoder: RangeDecoder, frames: int, before: int) -> Symbols:
        gains = np.zeros(self.spectra_per_frame * frames, np.int32)
        for spectrum in range(len(gains)):
            before = gains[spectrum] = int(decoder.decode(self._gain_rows[before : before + 1])[0])
        return gains


def _read_spectra_per_frame(arrays: ModelArrays) -> int:
    if SPECTRA_ARRAY not in arrays:
        return USUAL_SPECTRA_PER_FRAME
    return int(arrays.numbers(SPECTRA_ARRAY, (), 1, MOST_SPECTRA_PER_FRAME))


def _decode_indices(
    codec: CoefficientModel,
    rows: WholeFloats,
    known: list[WholeFloats],
    decoder: RangeDecoder,
    audible: NDArray[np.bool_],
    start: Integers | None,
) -> Symbols:
    """The indices of all spectra; those of silent ones, whose gain is the lowest, are 0 and take no bits."""
    spectra, bins = len(known[0]), len(codec.offsets)
    found = np.zeros((spectra, bins), np.int32)
    long_before, before = np.zeros((MOST_BEFORE, bins + 2 * SIDE), np.int64) if start is None else start
    for spectrum in range(spectra):
        past = past_features(before, long_before)
        magnitudes = np.zeros(bins + 2 * SIDE, np.int64)
        for network, each in zip(codec.networks, known, strict=True) if audible[spectrum] else ():
            classes = network.choose(each[spectrum], past, magnitudes)
            indices = decoder.decode(rows[classes]) - LARGEST_INDEX
            found[spectrum, network.of.bins()] = indices
            magnitudes[network.of.bins(SIDE)] = np.minimum(np.abs(indices), LARGEST_CONTEXT)
        before, long_before = magnitudes, before
    return found


def gains_before(gains: Symbols, first: int | None = None) -> Symbols:
    """Row of the table of every gain [..., spectra] of groups: the gain before it, for a group's first 64 if None."""
    start = np.full_like(gains[..., :1], GAIN_LEVELS if first is None else first)
    return np.concatenate([start, gains[..., :-1]], -1)
