"""Choice of each coefficient's probability table: a small network in whole numbers.

What was coded already around a coefficient, and the envelope, enter as logarithms; a hidden layer of tanh units and
a direct path say which of a row of tables, from still to lively, holds (as `kinds.spectral.rate` learned it). All
products and sums are of whole multiples of powers of two far below 2^53 of them, so that floats hold them exactly and
any order of summation gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.model_arrays import ModelArrays, code_lengths
from nsc.entropy.neighbourhood import (
    BEFORE,
    BELOW,
    LARGEST_CONTEXT,
    LONG_BEFORE,
    ROUNDS,
    SIDE,
    SPECTRUM_FEATURES,
    Distances,
    Round,
)
from nsc.entropy.whole_numbers import (
    LOG_ONE,
    TANH_BITS,
    Integers,
    WholeFloats,
    count_logs,
    tanh_table,
)

LARGEST_INDEX = 63
ALPHABET = 2 * LARGEST_INDEX + 1
HIDDEN_BITS = 12  # 2^12 stands for a weight of 1 into a hidden unit, and out of it
DIRECT_BITS = 16  # 2^16 stands for a weight of 1 of the direct path
POSITION_BITS = 24  # 2^24 stands for one table
BIN_BITS = 16  # 2^16 stands for 1 in the quantiser's bins
MOST_HIDDEN, MOST_CLASSES = 64, 256
LARGEST_WEIGHT = 1 << 8  # of either kind
LARGEST = 2**31 - 1
FEATURE_BITS = LOG_ONE.bit_length() - 1

Number = TypeVar("Number", bound=np.generic)

_COUNT_LOGS = count_logs(LARGEST_CONTEXT * max(len(each) for each in BEFORE + LONG_BEFORE + BELOW + ROUNDS[2].around))
_TANH = tanh_table()
_TANH_PLACES = len(_TANH)
_EVERYWHERE = Round(0, 1, ())


class KnownSpectra(NamedTuple):
    """Side information of spectra, known before their coefficients are coded; whole numbers, LOG_ONE stands for 1.

    envelope: [..., spectra, bins], logarithms to base 2.
    spectrum: [..., spectra, 4], see `SPECTRUM_FEATURES`, but for the offset; the same for all bins.
    """

    envelope: WholeFloats
    spectrum: WholeFloats


def known_spectra(shapes: Integers, gains: Integers, before: int = 0, mean_before: int = 0) -> KnownSpectra:
    """Side information of groups.

    Args:
        shapes: [..., spectra, bins], logarithms of 1 / |A|.
        gains: [..., spectra], logarithms.
        before: how many spectra before the first are known.
        mean_before: mean of the envelope of the last of these.
    """
    envelope = shapes + gains[..., None]
    mean = envelope.sum(-1) // envelope.shape[-1]
    spectrum = np.zeros((*mean.shape, SPECTRUM_FEATURES - 2))
    spectrum[..., 0] = mean
    spectrum[..., 1:, 1] = mean[..., 1:] - mean[..., :-1]
    if before:
        spectrum[..., 0, 1] = mean[..., 0] - mean_before
    spectrum[..., max(1 - before, 0) :, 2] = spectrum[..., max(2 - before, 0) :, 3] = LOG_ONE
    return KnownSpectra(envelope.astype(np.float64), spectrum)


def padded_magnitudes(indices: NDArray[np.int32]) -> Integers:
    """Magnitudes as contexts see them, with zeros on both sides, [..., SIDE + bins + SIDE]."""
    padded = np.zeros((*indices.shape[:-1], indices.shape[-1] + 2 * SIDE), np.int64)
    np.minimum(np.abs(indices), LARGEST_CONTEXT, out=padded[..., SIDE:-SIDE])
    return padded


def past_features(before: Integers, long_before: Integers) -> WholeFloats:
    """Features [..., bins, 6] of padded magnitudes of the spectrum before and of the one before that."""
    sums = [_sums(before, BEFORE, _EVERYWHERE), _sums(long_before, LONG_BEFORE, _EVERYWHERE)]
    return _COUNT_LOGS.take(np.concatenate(sums, -1))


def _sums(magnitudes: Integers, neighbours: Sequence[Distances], of: Round) -> Integers:
    """Sums over each group of neighbours of a round's bins, [..., bins of the round, groups]."""
    end = magnitudes.shape[-1] - SIDE
    bins = len(range(SIDE + of.first, end, of.step))
    found = np.empty((*magnitudes.shape[:-1], bins, len(neighbours)), magnitudes.dtype)
    for column, distances in enumerate(neighbours):
        first, *others = (magnitudes[..., SIDE + of.first + d : end + d : of.step] for d in distances)
        total = found[..., column]
        total[...] = first
        for other in others:
            total += other
    return found


class _RoundNetwork:
    """The weights of one round, by what they multiply, in the units of the look-up table and of a class.

    Each is [features, hidden + 1]: into the hidden units, and in the last column of the direct path.
    """

    def __init__(self, of: Round, weights: RoundArrays, offsets: Integers, classes: int) -> None:
        self.of = of
        hidden_unit = 2.0 ** (TANH_BITS - FEATURE_BITS - HIDDEN_BITS)
        class_unit = 2.0**-POSITION_BITS
        joined = np.concatenate([weights.hidden * hidden_unit, weights.direct[:, None] * class_unit], 1)
        past, around = len(BEFORE) + len(LONG_BEFORE), len(of.around)
        ends = np.cumsum([past, around, len(joined) - past - around - SPECTRUM_FEATURES])
        self.past, self.around, self.below, known = np.split(joined, ends)
        self.envelope, self.spectrum, self.offset = known[0], known[1:-1], known[-1]
        bias = np.broadcast_to(weights.bias * hidden_unit + _TANH_PLACES // 2, (len(offsets), len(weights.bias)))
        middle = (offsets * class_unit + 0.5)[:, None]  # to the nearest table
        self.constant = np.concatenate([bias, middle], 1)
        self.output = weights.output * class_unit
        self.classes = classes

    def known(self, spectra: KnownSpectra, below: Integers | None) -> WholeFloats:
        """What known things but the offset, and constants, add up to, [..., spectra, bins of the round, hidden + 1]."""
        envelope = spectra.envelope[..., self.of.bins(), None]
        found = envelope * self.envelope + (spectra.spectrum @ self.spectrum)[..., None, :] + self.constant
        if below is not None:
            found += _COUNT_LOGS[_sums(below, BELOW, self.of)] @ self.below
        return found

    def choose(self, known: WholeFloats, past: WholeFloats, magnitudes: Integers) -> Integers:
        """Tables [..., bins of the round], given features of the past and magnitudes of the rounds before."""
        found = past[..., self.of.bins(), :] @ self.past
        found += known
        if self.of.around:
            found += _COUNT_LOGS.take(_sums(magnitudes, self.of.around, self.of)) @ self.around
        # places beyond either end of the table, from whose middle they count, take its first or last entry
        position = _TANH.take(found[..., :-1].astype(np.int64), mode="clip") @ self.output
        position += found[..., -1]
        np.maximum(position, 0, out=position)
        np.minimum(position, self.classes - 1, out=position)
        return position.astype(np.int64)


class RoundArrays(NamedTuple):
    """The weights of one round as a file has them.

    hidden: [features, hidden], times 2^12.
    bias: [hidden], times 2^20.
    output: [hidden], times 2^12.
    direct: [features], times 2^16.
    """

    hidden: Integers
    bias: Integers
    output: Integers
    direct: Integers


class CoefficientModel:
    """The probabilities of one codec's coefficients."""

    def __init__(
        self, rounds: list[RoundArrays], offsets: Integers, tables: Integers, bins: Integers | None = None
    ) -> None:
        """Takes whole numbers.

        Args:
            rounds: weights of each round.
            offsets: [bins], of the position among the tables, times 2^24.
            tables: [classes, 127], counts of the indices -63 ... 63, symmetric.
            bins: [127], what the indices decode to, times 2^16; None in models that always take the nearest.
        """
        self.rounds, self.offsets, self.tables, self.bins = rounds, offsets, tables, bins
        self._bits = code_lengths(tables)
        self.networks = [
            _RoundNetwork(of, weights, offsets[of.bins()], len(tables))
            for of, weights in zip(ROUNDS, rounds, strict=True)
        ]

    @classmethod
    def read(cls, arrays: ModelArrays, *, follower: bool) -> CoefficientModel:
        """The model of a file's arrays.

        Raises:
            UserError: they are not what they should be.
        """
        offsets = arrays.numbers("offsets", (None,), -LARGEST, LARGEST)
        if len(offsets) % 4 or not 4 <= len(offsets) <= 1024:
            raise arrays.error("offsets", "a multiple of 4 bins, at most 1024", str(len(offsets)))
        rounds = [
            _read_round(arrays.within(f"round_{number}:"), _features(of, follower)) for number, of in enumerate(ROUNDS)
        ]
        tables = arrays.tables("tables", (None, ALPHABET))
        if not 1 <= len(tables) <= MOST_CLASSES:
            raise arrays.error("tables", f"1 to {MOST_CLASSES} tables", str(len(tables)))
        if (tables != tables[:, ::-1]).any():
            raise arrays.error("tables", "the same counts for both signs", "others")
        bins = arrays.numbers("bins", (ALPHABET,), -LARGEST, LARGEST) if "bins" in arrays else None
        return cls(rounds, offsets, tables, bins)

    def arrays(self) -> dict[str, NDArray[np.int32]]:
        """The model's arrays for a file."""
        found = {
            f"round_{number}:{name}": array.astype(np.int32)
            for number, weights in enumerate(self.rounds)
            for name, array in weights._asdict().items()
        }
        bins = {} if self.bins is None else {"bins": self.bins.astype(np.int32)}
        return found | {"offsets": self.offsets.astype(np.int32), "tables": self.tables.astype(np.int32)} | bins

    def known(self, spectra: KnownSpectra, below: NDArray[np.int32] | None) -> list[WholeFloats]:
        """What each round needs of what is known before it, at any offset; below: indices of the codec before."""
        magnitudes = None if below is None else padded_magnitudes(below)
        return [network.known(spectra, magnitudes) for network in self.networks]

    def at_offset(self, known: list[WholeFloats], offset: Integers) -> list[WholeFloats]:
        """The same at an offset of the log step, [...], LOG_ONE stands for 1."""
        steps = np.asarray(offset)[..., None, None, None]
        return [each + steps * network.offset for network, each in zip(self.networks, known, strict=True)]

    def classes(self, known: list[WholeFloats], indices: NDArray[np.int32], before: Integers | None = None) -> Integers:
        """Tables in coding order.

        Args:
            known: of the groups, see `at_offset`.
            indices: [..., spectra, bins] of the groups.
            before: padded magnitudes of the two spectra before the first, [2, ...]; None where there are none.
        """
        magnitudes = padded_magnitudes(indices)
        start = np.zeros((*magnitudes.shape[:-2], 2, magnitudes.shape[-1]), np.int64)
        if before is not None:
            start[...] = before
        moved = np.concatenate([start, magnitudes], -2)
        past = past_features(moved[..., 1:-1, :], moved[..., :-2, :])
        chosen = [network.choose(each, past, magnitudes) for network, each in zip(self.networks, known, strict=True)]
        return np.concatenate(chosen, -1)

    def nearer_to_zero(
        self, classes: Integers, indices: NDArray[np.int32], codes: NDArray[np.float32], rdo_lambda: float
    ) -> NDArray[np.int32]:
        """Indices [..., spectra, bins], one bin nearer to zero where that is worth more than it costs.

        Args:
            classes: tables in coding order, of the indices as they are.
            indices: of the nearest bins.
            codes: what was quantised, of the same shape.
            rdo_lambda: squared error that a bit is worth.
        """
        assert self.bins is not None, "the model has no bins"
        index, code = in_coding_order(indices), in_coding_order(codes).astype(np.float64)
        lower = index - np.sign(index)
        saved = self._bits[classes, index + LARGEST_INDEX] - self._bits[classes, lower + LARGEST_INDEX]
        bins = self.bins / (1 << BIN_BITS)
        growth = (code - bins[lower + LARGEST_INDEX]) ** 2 - (code - bins[index + LARGEST_INDEX]) ** 2
        return in_order_of_bins(np.where((index != 0) & (growth < rdo_lambda * saved), lower, index))


def in_coding_order(values: NDArray[Number]) -> NDArray[Number]:
    """[..., bins] as bins of the first round, of the second, of the third."""
    return np.concatenate([values[..., of.bins()] for of in ROUNDS], -1)


def in_order_of_bins(values: NDArray[Number]) -> NDArray[Number]:
    """The inverse of `in_coding_order`."""
    return values[..., _places_in_coding_order(values.shape[-1])]


@lru_cache(maxsize=16)
def _places_in_coding_order(bins: int) -> NDArray[np.intp]:
    return np.argsort(in_coding_order(np.arange(bins)))


def _features(of: Round, follower: bool) -> int:
    return len(BEFORE) + len(LONG_BEFORE) + len(of.around) + (len(BELOW) if follower else 0) + SPECTRUM_FEATURES


def _read_round(arrays: ModelArrays, features: int) -> RoundArrays:
    hidden = arrays.numbers("hidden", (features, None), -LARGEST_WEIGHT << HIDDEN_BITS, LARGEST_WEIGHT << HIDDEN_BITS)
    units = hidden.shape[1]
    if not 1 <= units <= MOST_HIDDEN:
        raise arrays.error("hidden", f"1 to {MOST_HIDDEN} units", str(units))
    return RoundArrays(
        hidden,
        arrays.numbers("bias", (units,), -LARGEST, LARGEST),
        arrays.numbers("output", (units,), -LARGEST_WEIGHT << HIDDEN_BITS, LARGEST_WEIGHT << HIDDEN_BITS),
        arrays.numbers("direct", (features,), -LARGEST_WEIGHT << DIRECT_BITS, LARGEST_WEIGHT << DIRECT_BITS),
    )
