"""Estimates context models from the symbols of training speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from constants import FRAMES_PER_GROUP, HOP, SAMPLE_RATE
from kinds.samples import batch as feed_forward
from kinds.samples.cascade import SampleCascade
from kinds.tables import speech_at_random, whole_tables
from nsc.entropy.context_model import ContextModel, Integers, Levels, Phase, Symbols, whole_groups
from nsc.errors import UserError
from nsc.kinds.samples.network import Part
from utilities import GROUP_LENGTH

LEVEL_RANGE = 1000  # of levels: fine enough for LSFs of 256 entries
WEIGHT_ONE = 4096  # whole number that stands for a weight of 1
LARGEST_WEIGHT = 64.0  # keeps all sums far below 2^53, where floats stop holding every whole number
LARGEST_NUMBER = 2**31 - 1  # that a saved model's arrays hold
RIDGE = 0.01  # squared levels, per 1000 x 1000: keeps weights of what is never there at 0
PRIOR_WEIGHT = 16.0  # observations that the next coarser table counts for
REGRESSION_ROWS = 40_000  # symbols that are enough to find a phase's weights

SINGLE_CHANNEL_COLUMNS = 8  # a code of one channel is laid out as if every 8 positions were channels


class Layout(NamedTuple):
    """The choices of a part's model that are not estimated, see `ContextModel`."""

    columns: int
    phases: Sequence[tuple[int, int, int]]
    radius: int
    scales: int
    means: int
    uses_part_before: bool


def layout_of(part: Part, number: int, *, time_domain: bool) -> Layout:
    """What measurements chose (docs/entropy_models.md).

    LSFs of every fourth frame come first, then those between from both sides. A code's channels come one after the
    other over the whole group, so that the later ones see those before on both sides.
    """
    positions, channels = part.shape
    if number == 0 and not time_domain:
        steps = [(0, 4), (2, 4), (1, 2)]
        return Layout(channels, [(*rows, column) for rows in steps for column in range(channels)], 2, 1, 16, False)
    columns = channels if channels > 1 else min(positions, SINGLE_CHANNEL_COLUMNS)
    phases = [(0, 2, 0), (1, 2, 0), *((0, 1, column) for column in range(1, columns))]
    return Layout(columns, phases, 4, 16, 4, uses_part_before=number > (0 if time_domain else 1))


def symbol_values(cascade: SampleCascade) -> list[NDArray[np.float64]]:
    """What each part's symbols stand for, float64 [alphabet] within +-1000; the length of a vector."""
    quantizers = [] if cascade.config.time_domain else [cascade.front_end.quantizer]
    quantizers += [codec.quantizer for codec in cascade.codecs]
    values = [np.asarray(quantizer.codebook, np.float64) for quantizer in quantizers]
    lengths = [value if value.ndim == 1 else np.linalg.norm(value, axis=1) for value in values]
    return [value * LEVEL_RANGE / max(np.abs(value).max(), 1e-9) for value in lengths]


def training_symbols(
    cascade: SampleCascade, depth: int, paths: Sequence[Path], minutes: float, seed: int = 0
) -> dict[str, Symbols]:
    """Symbols of whole groups of speech files taken at random, until there is enough of them.

    Args:
        cascade: which codes them.
        depth: number of codecs.
        paths: audio files, of which those that cannot be read are skipped.
        minutes: of speech, at most.
        seed: of the choice.

    Returns:
        For each part, int32 [groups, 16, positions, channels].

    Raises:
        UserError: no file holds a whole group.
    """
    wanted = minutes * 60 * SAMPLE_RATE / (HOP * FRAMES_PER_GROUP)
    found: list[dict[str, Symbols]] = []
    groups = 0
    for signal in speech_at_random(paths, np.random.default_rng(seed)):
        coded = feed_forward.encode(cascade, signal, depth)
        found.append({name: whole_groups(symbols) for name, symbols in coded.symbols.items()})
        groups += coded.num_samples // GROUP_LENGTH
        if groups >= wanted:
            break
    if not groups:
        raise UserError("expected training speech of half a second and more for the probability tables, found none")
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def fit_models(cascade: SampleCascade, depth: int, symbols: Mapping[str, Symbols]) -> dict[str, ContextModel]:
    """Context models of the parts up to `depth` codecs.

    Args:
        cascade: whose codebooks say what symbols are worth.
        depth: number of codecs.
        symbols: of training speech, int32 [groups, 16, positions, channels] of each part.
    """
    models: dict[str, ContextModel] = {}
    before = None
    for number, (part, values) in enumerate(zip(cascade.parts(depth), symbol_values(cascade), strict=False)):
        layout = layout_of(part, number, time_domain=cascade.config.time_domain)
        models[part.name], before = fit_model(layout, values, symbols[part.name], before)
    return models


def fit_model(
    layout: Layout, values: NDArray[np.float64], symbols: Symbols, before: Levels | None
) -> tuple[ContextModel, Levels]:
    """One part's model and its levels [groups, rows, columns], which the part after it needs.

    Args:
        layout: what is not estimated.
        values: what each symbol stands for [alphabet].
        symbols: int32 [groups, frames, positions, channels].
        before: levels of the part before.
    """
    model = _blank(layout, values, symbols, before)
    matrices = model.matrices(symbols)

    groups, rows, _ = matrices.shape
    levels = model.unknown_levels(groups, rows, before)
    own = levels[:, model.radius : model.radius + rows, : model.columns]
    for phase in model.all_phases():
        found = matrices[:, phase.rows, phase.column]
        _fit_phase(model, phase, levels, found)
        own[:, phase.rows, phase.column] = model.levels[phase.column][found]
    return model, own


def _blank(layout: Layout, values: NDArray[np.float64], symbols: Symbols, before: Levels | None) -> ContextModel:
    count, alphabet = len(layout.phases), len(values)
    found = values[symbols.reshape(-1, layout.columns)]
    columns = layout.columns + (before.shape[2] if layout.uses_part_before and before is not None else 0)
    weights = (count, 2 * layout.radius + 1, columns)
    return ContextModel(
        phases=np.array(layout.phases),
        levels=np.rint(values - found.mean(0)[:, None]).astype(np.int64),
        mean_weights=np.zeros(weights, np.int64),
        scale_weights=np.zeros(weights, np.int64),
        scale_thresholds=np.zeros((count, layout.scales - 1), np.int64),
        mean_thresholds=np.zeros((count, layout.scales, layout.means - 1), np.int64),
        tables=np.zeros((count, layout.scales * layout.means, alphabet), np.int64),
    )


def _fit_phase(model: ContextModel, phase: Phase, levels: Levels, symbols: Symbols) -> None:
    """Fills in weights, thresholds and tables of a phase whose symbols [groups, n] are next after `levels`."""
    wanted = model.levels[phase.column][symbols].astype(np.float64)
    model.mean_weights[phase.number] = _regression(model, phase, levels, wanted)
    mean = model.sums(levels, model.mean_weights, phase)
    spread = np.abs(wanted - mean / WEIGHT_ONE)
    model.scale_weights[phase.number] = _regression(model, phase, np.abs(levels), spread)
    scale = model.sums(np.abs(levels), model.scale_weights, phase)
    _fit_thresholds(model, phase, scale, mean)
    _fit_tables(model, phase, model.contexts(levels, phase), symbols)


def _regression(model: ContextModel, phase: Phase, values: Levels, wanted: NDArray[np.float64]) -> Integers:
    """Whole weights [2 radius + 1, columns] whose sums come nearest to `wanted` [groups, n] by a constant."""
    every = max(1, wanted.size // REGRESSION_ROWS)
    windows = np.lib.stride_tricks.sliding_window_view(values[::every], 2 * model.radius + 1, axis=1)[:, phase.rows]
    features = np.moveaxis(windows, 3, 2).reshape(windows.shape[0] * windows.shape[1], -1)
    targets = wanted[::every].reshape(-1)
    mean = features.mean(0)
    covariance = features.T @ features - len(features) * np.outer(mean, mean)
    ridge = RIDGE * LEVEL_RANGE**2 * np.eye(len(mean))
    weights = np.linalg.solve(covariance + ridge, features.T @ (targets - targets.mean()))
    return (
        np.rint(np.clip(weights, -LARGEST_WEIGHT, LARGEST_WEIGHT) * WEIGHT_ONE)
        .astype(np.int64)
        .reshape(model.mean_weights.shape[1:])
    )


def _fit_thresholds(model: ContextModel, phase: Phase, scale: NDArray[np.float64], mean: NDArray[np.float64]) -> None:
    """Borders between equally frequent classes, of the scale and then of the mean within each scale."""
    model.scale_thresholds[phase.number] = _borders(scale, model.scale_thresholds.shape[1] + 1)
    of_scale = np.searchsorted(model.scale_thresholds[phase.number], scale, side="right")
    for number in range(model.mean_thresholds.shape[1]):
        within = mean[of_scale == number]
        model.mean_thresholds[phase.number, number] = _borders(within, model.mean_thresholds.shape[2] + 1)


def _borders(values: NDArray[np.float64], classes: int) -> Integers:
    if not values.size:
        return np.zeros(classes - 1, np.int64)
    shares = np.arange(1, classes) / classes
    return np.ceil(np.clip(np.quantile(values, shares), -LARGEST_NUMBER, LARGEST_NUMBER)).astype(np.int64)


def _fit_tables(model: ContextModel, phase: Phase, contexts: Integers, symbols: Symbols) -> None:
    """Counts of each class, smoothed by what is expected of it from the counts of all classes of its scale."""
    levels, alphabet = model.levels[phase.column], model.tables.shape[2]
    flat = contexts.reshape(-1) * alphabet + symbols.reshape(-1)
    counts = np.bincount(flat, minlength=model.tables[phase.number].size).astype(np.float64)
    by_scale = counts.reshape(model.mean_thresholds.shape[1], -1, alphabet)
    of_phase = _shares(by_scale.sum((0, 1)) + 1 / alphabet)
    of_scale = _shares(by_scale.sum(1) + PRIOR_WEIGHT * of_phase)
    expected = of_scale[:, None] * _class_given_symbol(by_scale, levels)
    of_class = _shares(by_scale + PRIOR_WEIGHT * _shares(expected + 1e-9 * of_phase))
    model.tables[phase.number] = whole_tables(of_class.reshape(-1, alphabet))


def _class_given_symbol(counts: NDArray[np.float64], levels: Integers) -> NDArray[np.float64]:
    """Probability [scales, means, alphabet] of each class of mean, as if the levels in each had a Laplace density.

    Bayes' rule turns it into the symbols that a class with few counts may expect.
    """
    seen = counts.sum(2)
    total = np.maximum(seen.sum(1), 1)
    centres = np.where(seen > 0, counts @ levels, 0) / np.maximum(seen, 1)
    distances = np.abs(levels - centres[..., None])
    spread = (counts * distances).sum((1, 2)) / total + 1
    density = (seen / total[:, None] + 1e-9)[..., None] * np.exp(-distances / spread[:, None, None])
    return density / np.maximum(density.sum(1, keepdims=True), 1e-300)


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts / counts.sum(-1, keepdims=True)
