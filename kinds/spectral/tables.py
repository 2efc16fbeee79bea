"""Integer coder of a trained spectral cascade: rounded rate networks, and tables counted on speech."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinds.spectral.cascade import SpectralCascade
from kinds.spectral.rate import FIRST_LOG_SCALE, LOG_SCALE_STEP, CoefficientRate, GainRate
from kinds.tables import whole_tables
from nsc.constants import TABLE_TOTAL
from nsc.entropy.coefficient_model import (
    ALPHABET,
    BIN_BITS,
    DIRECT_BITS,
    FEATURE_BITS,
    HIDDEN_BITS,
    LARGEST_INDEX,
    LARGEST_WEIGHT,
    POSITION_BITS,
    CoefficientModel,
    RoundArrays,
    in_coding_order,
)
from nsc.entropy.lsf_model import ANGLE_ONE, LARGEST_ANGLE, MOST_TABLES, ORDER, LsfModel
from nsc.entropy.lsf_model import LARGEST_WEIGHT as LARGEST_LSF_WEIGHT
from nsc.entropy.lsf_model import WEIGHT_ONE as LSF_WEIGHT_ONE
from nsc.entropy.neighbourhood import ROUNDS
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols, gains_before
from nsc.entropy.spectral_envelope import COSINE_BITS
from nsc.entropy.whole_numbers import LOG_ONE, Integers
from nsc.format.version_2 import GAIN_LEVELS

OFFSET_STEP = 8 / LOG_ONE  # of the log step: 1/32, about 0.27 dB
INDEX_PRIOR = 256.0  # observations that a trained table of indices counts for
GAIN_PRIOR = 128.0
LSF_PRIOR = 128.0
LSF_CLASS_WIDTH = 0.5  # of the prediction, in standard deviations of its error
LSF_RANGE = 0.001  # share of predictions beyond the first or the last table's middle
RIDGE = 1e-3  # squared radians: keeps weights of what hardly varies at 0

Floats = NDArray[np.float64]


class SampleGroups(NamedTuple):
    """Symbols of equally long groups of training speech.

    symbols: [groups, ...], see `SpectralSymbols`.
    offsets: of the log step, indices into the coder's, [groups].
    """

    symbols: SpectralSymbols
    offsets: NDArray[np.int64]


def offset_grid(finest: float, coarsest: float) -> Integers:
    """Offsets of the log step in units of 1 / LOG_ONE, rising."""
    return np.arange(round(finest / OFFSET_STEP), round(coarsest / OFFSET_STEP) + 1) * round(OFFSET_STEP * LOG_ONE)


def cut_groups(symbols: SpectralSymbols, frames_per_group: int) -> SpectralSymbols:
    """Symbols [signals, frames, ...] as complete groups [signals x groups, frames per group, ...]."""
    spectra = symbols.spectra_per_frame * frames_per_group

    def cut(values: NDArray[np.int32], length: int) -> NDArray[np.int32]:
        whole = values.shape[1] // length * length
        return values[:, :whole].reshape(-1, length, *values.shape[2:])

    return SpectralSymbols(
        cut(symbols.lsf, frames_per_group),
        cut(symbols.gains, spectra),
        tuple(cut(indices, spectra) for indices in symbols.indices),
    )


def build_coder(
    cascade: SpectralCascade, depth: int, samples: Sequence[SampleGroups], offsets: Integers
) -> SpectralCoder:
    """The coder of the first `depth` codecs of a trained cascade.

    Args:
        cascade: gives the rate networks and the LSF codebook.
        depth: number of codecs.
        samples: what it makes of training speech, in groups of several lengths as files will have them.
        offsets: see `offset_grid`.
    """
    codebook = np.asarray(cascade.front_end.quantizer.codebook, np.float64)
    coder = SpectralCoder(
        fit_lsf_model(codebook, [each.symbols.lsf for each in samples]),
        np.rint(2 * np.cos(codebook) * (1 << COSINE_BITS)).astype(np.int64),
        _gain_tables(cascade.gain_rate, samples),
        [rounded_model(rate) for rate in cascade.rates[:depth]],
        offsets,
        cascade.spectra_per_frame,
    )
    bins = [_bins(codec.quantizer.codebook) if cascade.config.rdo_lambda else None for codec in cascade.codecs[:depth]]
    codecs = [
        CoefficientModel(codec.rounds, codec.offsets, _counted(codec.tables, counts), own)
        for codec, counts, own in zip(coder.codecs, _counts(coder, samples), bins, strict=True)
    ]
    return SpectralCoder(coder.lsf, coder.cosines, coder.gains, codecs, offsets, coder.spectra_per_frame)


def rounded_model(rate: CoefficientRate) -> CoefficientModel:
    """A trained rate network in whole numbers, with the tables that it learned."""
    rounds, offsets = [], np.asarray(rate.bin_offsets, np.float64) - FIRST_LOG_SCALE
    for of, hidden, output, direct in zip(ROUNDS, rate.hidden, rate.outputs, rate.direct, strict=True):
        rounds.append(
            RoundArrays(
                hidden=_rounded(hidden.kernel, HIDDEN_BITS, LARGEST_WEIGHT),
                bias=_rounded(hidden.bias, HIDDEN_BITS + FEATURE_BITS, LARGEST_WEIGHT),
                output=_rounded(output.kernel / LOG_SCALE_STEP, HIDDEN_BITS, LARGEST_WEIGHT)[:, 0],
                direct=_rounded(direct.kernel / LOG_SCALE_STEP, DIRECT_BITS, LARGEST_WEIGHT)[:, 0],
            )
        )
        offsets[of.bins()] += np.asarray(output.bias)[0]
    shares = np.exp2(-np.asarray(rate.code_lengths(), np.float64))  # of each magnitude with one sign
    return CoefficientModel(rounds, _rounded(offsets / LOG_SCALE_STEP, POSITION_BITS, 100), _whole_symmetric(shares))


def _bins(codebook: object) -> Integers:
    return np.rint(np.asarray(codebook, np.float64) * (1 << BIN_BITS)).astype(np.int64)


def _rounded(weights: object, bits: int, largest: int) -> Integers:
    return np.rint(np.clip(np.asarray(weights, np.float64), -largest, largest) * (1 << bits)).astype(np.int64)


def _counts(coder: SpectralCoder, samples: Sequence[SampleGroups]) -> list[Floats]:
    """How often each magnitude occurs under each table of each codec, [classes, 32]."""
    counts = [np.zeros((len(codec.tables), LARGEST_INDEX + 1)) for codec in coder.codecs]
    for each in samples:
        for group in range(len(each.offsets)):
            symbols = each.symbols.group(group)
            for number, classes in enumerate(coder.classes(symbols, each.offsets[group])):
                magnitudes = np.abs(in_coding_order(symbols.indices[number]))
                flat = (classes * (LARGEST_INDEX + 1) + magnitudes)[symbols.gains > 0].reshape(-1)
                counts[number] += np.bincount(flat, minlength=counts[number].size).reshape(counts[number].shape)
    return counts


def _counted(prior: Integers, counts: Floats) -> Integers:
    """Symmetric tables of counted magnitudes and a prior table."""
    of_prior = prior[:, LARGEST_INDEX:] / TABLE_TOTAL
    of_counts = counts / np.array([1.0] + [2.0] * LARGEST_INDEX)
    total = counts.sum(1, keepdims=True) + INDEX_PRIOR
    return _whole_symmetric((of_counts + INDEX_PRIOR * of_prior) / total)


def _whole_symmetric(shares: Floats) -> Integers:
    """Tables [n, 63] of whole numbers, at least 1 each, that sum to 2^16; shares [n, 32] of magnitudes with a sign."""
    half = 1 + np.floor(shares[:, 1:] * (TABLE_TOTAL - ALPHABET)).astype(np.int64)
    middle = TABLE_TOTAL - 2 * half.sum(1, keepdims=True)
    return np.concatenate([half[:, ::-1], middle, half], 1)


def _gain_tables(rate: GainRate, samples: Sequence[SampleGroups]) -> Integers:
    logits = np.asarray(rate.logits, np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    counts = GAIN_PRIOR * shares
    for each in samples:
        flat = gains_before(each.symbols.gains).astype(np.int64) * GAIN_LEVELS + each.symbols.gains
        counts += np.bincount(flat.reshape(-1), minlength=counts.size).reshape(counts.shape)
    return whole_tables(counts / counts.sum(1, keepdims=True))


def fit_lsf_model(codebook: Floats, groups: Sequence[NDArray[np.int32]]) -> LsfModel:
    """Least-squares predictions of the LSFs and, by where they fall, counted tables.

    Args:
        codebook: levels in radians, [levels].
        groups: symbols [groups, frames, 16], any number of lengths.
    """
    # training may move the outermost levels past the ends of the circle; predictions need not follow
    angles = np.clip(np.rint(codebook * ANGLE_ONE), 0, LARGEST_ANGLE).astype(np.int64)
    first_frames = np.concatenate([each[:, 0] for each in groups])
    later = np.concatenate([each[:, 1:].reshape(-1, ORDER) for each in groups])
    preceding = np.concatenate([each[:, :-1].reshape(-1, ORDER) for each in groups])
    # without speech of more than one frame per group, all frames are alike
    later, preceding = (later, preceding) if len(later) else (first_frames, first_frames)
    states = [_Predictions(angles, first_frames, None), _Predictions(angles, later, preceding)]
    return LsfModel(
        angles=angles,
        bias=np.stack([state.bias for state in states]),
        before=states[1].before,
        below=np.stack([state.below for state in states]),
        first=np.stack([state.first for state in states]),
        step=np.stack([state.step for state in states]),
        counts=np.stack([state.counts for state in states]),
        tables=np.concatenate([table for state in states for table in state.tables]),
    )


class _Predictions:
    """Predictions and tables of the frames in one state."""

    def __init__(self, angles: Integers, symbols: NDArray[np.int32], preceding: NDArray[np.int32] | None) -> None:
        self.angles, self.symbols = angles, symbols
        self.levels = angles[symbols]
        self.preceding = None if preceding is None else angles[preceding]
        self.before, self.below = np.zeros((2, ORDER, ORDER), np.int64)
        self.bias, self.first, self.step, self.counts = np.zeros((4, ORDER), np.int64)
        self.tables = [self._fit(number) for number in range(ORDER)]

    def _fit(self, number: int) -> Integers:
        unit = ANGLE_ONE * LSF_WEIGHT_ONE
        parts = [self.levels[:, :number]] + ([] if self.preceding is None else [self.preceding])
        features = np.concatenate(parts, 1).astype(np.float64)
        target = self.levels[:, number].astype(np.float64)
        weights = _regression(features, target)
        self.below[number, :number] = weights[:number]
        self.before[number] = weights[number:] if self.preceding is not None else 0
        self.bias[number] = np.rint(LSF_WEIGHT_ONE * target.mean() - features.mean(0) @ weights)
        expected = features @ weights + self.bias[number]
        error = np.std(target - expected / LSF_WEIGHT_ONE) * LSF_WEIGHT_ONE
        ends = np.quantile(expected, [LSF_RANGE, 1 - LSF_RANGE])
        self.first[number] = np.floor(ends[0])
        self.step[number] = max(1, round(LSF_CLASS_WIDTH * error), int((ends[1] - ends[0]) // (MOST_TABLES - 1)))
        self.counts[number] = min(MOST_TABLES, 1 + int((ends[1] - ends[0]) // self.step[number]))
        classes = np.clip((expected - self.first[number]) // self.step[number], 0, self.counts[number] - 1)
        flat = classes.astype(np.int64) * len(self.angles) + self.symbols[:, number]
        shape = (int(self.counts[number]), len(self.angles))
        counts = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
        middles = (self.first[number] + (np.arange(shape[0]) + 0.5) * self.step[number]) / unit
        smoothed = counts + LSF_PRIOR * _logistic(self.angles / ANGLE_ONE, middles, error / unit)
        return whole_tables(smoothed / smoothed.sum(1, keepdims=True))


def _regression(features: Floats, target: Floats) -> Integers:
    """Whole weights [features] whose sums come nearest to `target` by a constant."""
    centred = features - features.mean(0)
    ridge = RIDGE * ANGLE_ONE**2 * np.eye(features.shape[1])
    weights = np.linalg.solve(centred.T @ centred + ridge, centred.T @ (target - target.mean()))
    return np.rint(np.clip(weights * LSF_WEIGHT_ONE, -LARGEST_LSF_WEIGHT, LARGEST_LSF_WEIGHT)).astype(np.int64)


def _logistic(levels: Floats, middles: Floats, deviation: float) -> Floats:
    """Shares [middles, levels] of levels under logistic densities of a standard deviation around the middles."""
    distance = np.abs(levels - middles[:, None]) * (np.pi / np.sqrt(3)) / max(deviation, 1e-6)
    logs = -distance - 2 * np.log1p(np.exp(-distance))
    shares = np.exp(logs - logs.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)
