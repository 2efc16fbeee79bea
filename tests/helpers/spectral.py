"""A coder of lapped spectra with weights from a seed, symbols for it, and contexts by Python's own integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.coefficient_model import ALPHABET, LARGEST_INDEX, CoefficientModel, RoundArrays
from nsc.entropy.lsf_model import LsfModel
from nsc.entropy.neighbourhood import BEFORE, BELOW, LONG_BEFORE, ROUNDS, SPECTRUM_FEATURES, Distances, Round
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.entropy.whole_numbers import Integers, count_logs, tanh_table

BINS = 320
CLASSES = 48
HIDDEN = 24


def random_coder(seed: int = 0, codecs: int = 2) -> SpectralCoder:
    """Weights and tables such as training might find, but from a seed."""
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0.03, 3.1, 256))
    gains = whole_tables(random.dirichlet(np.full(64, 0.2), 65))
    models = [_coefficient_model(random, follower=number > 0) for number in range(codecs)]
    cosines = np.rint(2 * np.cos(angles) * 2**20).astype(np.int64)
    return SpectralCoder(_lsf_model(random, angles), cosines, gains, models, np.arange(-40, 41) * 8)


def random_symbols(frames: int, seed: int = 0, codecs: int = 2, groups: tuple[int, ...] = ()) -> SpectralSymbols:
    """Symbols of a group, or of several: LSFs in any order, indices from still to lively."""
    random = np.random.default_rng(seed)
    spectra = (*groups, 2 * frames)
    scales = 0.2 + 3 * random.random((*spectra, 1)) ** 3
    shape = (*spectra, BINS)
    indices = [
        np.clip(np.rint(random.laplace(0, scales, shape)), -LARGEST_INDEX, LARGEST_INDEX).astype(np.int32)
        for _ in range(codecs)
    ]
    lsf = random.integers(0, 256, (*groups, frames, 16)).astype(np.int32)
    gains = random.integers(0, 64, spectra).astype(np.int32)
    audible = gains[..., None] > 0
    return SpectralSymbols(lsf, gains, tuple(each * audible for each in indices))


def whole_tables(shares: NDArray[np.float64]) -> Integers:
    """Tables of whole numbers, at least 1 each, that sum to 2^16."""
    tables = 1 + np.floor(shares * (65536 - shares.shape[1])).astype(np.int64)
    tables[np.arange(len(tables)), shares.argmax(1)] += 65536 - tables.sum(1)
    return tables


def table_of(coder: SpectralCoder, symbols: SpectralSymbols, offset: int, codec: int, spectrum: int, bin_: int) -> int:
    """Number of a coefficient's table, from the formulas in docs/bitstream.md, by Python's integers alone."""
    number = {0: 0, 2: 1}.get(bin_ % 4, 2)
    weights = coder.codecs[codec].rounds[number]
    features = _features(coder, symbols, offset, codec, spectrum, bin_, ROUNDS[number])
    tanh = [int(value) for value in tanh_table()]
    position = int(coder.codecs[codec].offsets[bin_]) + _dot(features, weights.direct)
    for unit in range(len(weights.bias)):
        place = (_dot(features, weights.hidden[:, unit]) + int(weights.bias[unit]) >> 13) + 512
        position += tanh[min(max(place, 0), 1023)] * int(weights.output[unit])
    classes = len(coder.codecs[codec].tables)
    return min(max((position + (1 << 23)) >> 24, 0), classes - 1)


def _dot(first: Sequence[int], second: Integers) -> int:
    return sum(a * int(b) for a, b in zip(first, second, strict=True))


def _features(
    coder: SpectralCoder, symbols: SpectralSymbols, offset: int, codec: int, spectrum: int, bin_: int, of: Round
) -> list[int]:
    logs = [int(value) for value in count_logs(200)]

    def around(number: int, place: int, distances: Distances) -> int:
        if place < 0:
            return 0
        row = symbols.indices[number][place]
        found = [min(abs(int(row[bin_ + d])), 15) for d in distances if 0 <= bin_ + d < BINS]
        return logs[sum(found)]

    features = [around(codec, spectrum - 1, each) for each in BEFORE]
    features += [around(codec, spectrum - 2, each) for each in LONG_BEFORE]
    features += [around(codec, spectrum, each) for each in of.around]
    features += [around(codec - 1, spectrum, each) for each in BELOW] if codec else []
    envelope = [_envelope(coder, symbols, place) for place in (spectrum, max(spectrum - 1, 0))]
    means = [sum(each) // BINS for each in envelope]
    warm = [256 * (spectrum >= 1), 256 * (spectrum >= 2)]
    return [*features, envelope[0][bin_], means[0], means[0] - means[1], *warm, int(coder.offsets[offset])]


def _envelope(coder: SpectralCoder, symbols: SpectralSymbols, spectrum: int) -> list[int]:
    shape = coder.envelope.shapes(symbols.lsf[spectrum // 2])
    return [int(value) + int(coder.gain_logs[symbols.gains[spectrum]]) for value in shape]


def _lsf_model(random: np.random.Generator, angles: NDArray[np.float64]) -> LsfModel:
    counts = random.integers(1, 25, (2, 16))
    middles = np.rint(np.linspace(0.2, 3, 16) * 2**24).astype(np.int64)
    return LsfModel(
        angles=np.rint(angles * 2**12).astype(np.int64),
        bias=np.stack([middles, middles // 2]),
        before=random.integers(-300, 900, (16, 16)),
        below=np.tril(random.integers(-300, 300, (2, 16, 16)), -1),
        first=np.stack([middles, middles]) - (1 << 23),
        step=random.integers(1 << 18, 1 << 20, (2, 16)),
        counts=counts,
        tables=whole_tables(random.dirichlet(np.full(256, 0.1), counts.sum())),
    )


def _coefficient_model(random: np.random.Generator, *, follower: bool) -> CoefficientModel:
    rounds = []
    for of in ROUNDS:
        features = len(BEFORE) + len(LONG_BEFORE) + len(of.around) + 2 * follower + SPECTRUM_FEATURES
        rounds.append(
            RoundArrays(
                hidden=np.rint(random.normal(0, 0.3, (features, HIDDEN)) * 2**12).astype(np.int64),
                bias=np.rint(random.normal(0, 0.3, HIDDEN) * 2**20).astype(np.int64),
                output=np.rint(random.normal(0, 1.0, HIDDEN) * 2**12).astype(np.int64),
                direct=np.rint(random.normal(0, 0.6, features) * 2**16).astype(np.int64),
            )
        )
    return CoefficientModel(rounds, np.rint(random.normal(20, 1, BINS) * 2**24).astype(np.int64), _logistic_tables())


def _logistic_tables() -> Integers:
    scales = np.exp(-2.6 + 0.12 * np.arange(CLASSES))[:, None]
    edges = np.arange(1, LARGEST_INDEX + 2) - 0.5
    tails = np.exp(-np.logaddexp(0, edges / scales))
    half = 1 + np.floor((tails[:, :-1] - tails[:, 1:]) * (65536 - ALPHABET)).astype(np.int64)
    return np.concatenate([half[:, ::-1], 65536 - 2 * half.sum(1, keepdims=True), half], 1)
