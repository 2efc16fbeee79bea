"""Linear prediction in batched TensorFlow: speech to polynomial to line spectral frequencies to residual.

Polynomials are A(z) = 1 + a[1] z^-1 + ... + a[16] z^-16, stored as [batch, 17]; line spectral frequencies
(LSFs) are in radians. Every argument and result is float32. Inside, recursions, root search and filters compute
in float64: their cancelling terms need it, and a GPU never rounds a float64 product to TensorFloat-32. Graphs for
machines that lack float64 are traced `without_float64`.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from constants import (
    ENVELOPE_POINTS,
    LPC_CONTEXT,
    LPC_ORDER,
    LPC_WINDOW_LENGTH,
    PRE_EMPHASIS,
    WHITE_NOISE_CORRECTION,
)
from nsc.coding.filters import DE_EMPHASIS
from utilities import crossfade_window

FilterGradient = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

RESIDUAL_KINDS = ("frame", "taper", "subframe")

BLOCK = LPC_ORDER  # samples filtered by one matrix product; one block is the whole memory of the filter
SUBFRAME_LENGTH = 128  # samples
SUBFRAME_HOP = 64  # samples, so that 7 sub-frames make a frame
HALF_ORDER = LPC_ORDER // 2  # roots of each line spectral polynomial
GRID_CELLS = 128  # between 0 and pi; on real speech 64 already part all roots of the same polynomial
BISECTIONS = 5  # of a cell leave 0.8 milliradian, on which two straight lines are exact to float32
REPAIR_FACTOR = 0.97  # bandwidth expansion that parts two roots too close for the grid
# Least distance in radians of LSFs that many places apart. One frame of speech in a thousand has less, and
# A of denser clusters, rounded to float32, has roots outside the unit circle.
CLUSTER_WIDTHS = {4: 0.28, 8: 0.9}
ENVELOPE_FLOOR = 1e-4  # keeps the logarithm of |A|^2 finite on the unit circle
SILENT_ENERGY = 1e-30  # added to the prediction error: a silent frame divides 0 by this; float32 holds it
SPLITTER = 4097.0  # 2^12 + 1 parts a float32 into halves whose products are exact
STEPS_PER_RADIAN = 256  # of the cosine table, so that what is left of an angle is below 0.002

_wide_type: ContextVar[tf.DType] = ContextVar("wide_type", default=tf.float64)


@contextmanager
def without_float64() -> Iterator[None]:
    """Operations traced inside this block compute in float32 alone, as small devices must.

    On speech, analysis then finds the same quantised LSFs but for about one in ten thousand, A of given LSFs stays the
    same to 2.4e-7 (`FloatPair`), and synthesis to -115 dB.
    """
    token = _wide_type.set(tf.float32)
    try:
        yield
    finally:
        _wide_type.reset(token)


def _wide(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, _wide_type.get())


def analysis_window() -> tf.Tensor:
    """Window [1024] for LPC analysis: 1 over the frame, half of a 512-sample Hann window on both sides."""
    phase = math.pi * (tf.range(LPC_CONTEXT, dtype=tf.float32) + 0.5) / (2 * LPC_CONTEXT)
    fade_in = tf.sin(phase) ** 2
    return tf.concat([fade_in, tf.ones(LPC_WINDOW_LENGTH - 2 * LPC_CONTEXT), fade_in[::-1]], 0)


def autocorrelation(windowed: tf.Tensor, order: int = LPC_ORDER) -> tf.Tensor:
    """Autocorrelation of each row at lags 0 to order.

    Matrix products of blocks of 16 samples with themselves and with their successors have lag j - i at row i and
    column j. A GPU may round both factors, alike, to TensorFloat-32: no worse than white noise 70 dB down.

    Args:
        windowed: windowed samples [batch, multiple of 16].
        order: largest lag, at most 16.

    Returns:
        sum over n of x[n] x[n + k], [batch, order + 1].
    """
    blocks = tf.reshape(windowed, [-1, windowed.shape[-1] // BLOCK, BLOCK])
    within = tf.matmul(blocks, blocks, transpose_a=True)
    beyond = tf.matmul(blocks[:, :-1], blocks[:, 1:], transpose_a=True)
    products = tf.concat([within, beyond], -1)
    return _sum_diagonals(products)[:, : order + 1]


def _sum_diagonals(matrices: tf.Tensor) -> tf.Tensor:
    """Sums of the diagonals 0 to 16 places right of the main one, [batch, 17], of matrices [batch, 16, 32]."""
    # Reading rows of 32 as rows of 33 shifts row i to the left by i, so that each diagonal becomes a column.
    flat = tf.pad(tf.reshape(matrices, [-1, 2 * BLOCK * BLOCK]), [[0, 0], [0, BLOCK]])
    return tf.reduce_sum(tf.reshape(flat, [-1, BLOCK, 2 * BLOCK + 1])[:, :, : BLOCK + 1], 1)


def levinson_durbin(autocorrelation: tf.Tensor) -> tf.Tensor:
    """Prediction polynomial of an autocorrelation with a noise floor 40 dB down (Levinson-Durbin recursion).

    Args:
        autocorrelation: lags 0 to 16, [batch, 17].

    Returns:
        A [batch, 17], a[0] = 1, all roots inside the unit circle; (1, 0, ...) for silence.
    """
    backward_lags = _wide(autocorrelation[:, ::-1])
    error = backward_lags[:, LPC_ORDER:] * WHITE_NOISE_CORRECTION + SILENT_ENERGY
    polynomial = tf.ones_like(error)
    for order in range(1, LPC_ORDER + 1):
        lags = backward_lags[:, LPC_ORDER - order : LPC_ORDER]
        correlation = tf.reduce_sum(polynomial * lags, -1, keepdims=True)
        reflection = -correlation / error
        padded = tf.pad(polynomial, [[0, 0], [0, 1]])
        polynomial = padded + reflection * padded[:, ::-1]
        error += reflection * correlation
    return tf.cast(polynomial, tf.float32)


def polynomial_to_lsf(polynomial: tf.Tensor) -> tf.Tensor:
    """Line spectral frequencies of a prediction polynomial (Itakura 1975); no gradient.

    In x = cos(frequency) the two line spectral polynomials of A have degree 8 (Kabal and Ramachandran 1986).
    Their sign changes on a grid are refined by bisection. Where the grid misses roots, those of A with its
    bandwidth expanded stand in, and those of a flat spectrum where that fails too.

    Args:
        polynomial: A [batch, 17].

    Returns:
        LSFs [batch, 16] in radians, strictly increasing inside (0, pi).
    """
    lsf, found = _find_lsf(polynomial)
    if has_gpu():  # which would wait for the host to take a branch
        return tf.stop_gradient(_repair_lsf(polynomial, lsf, found))
    repaired = tf.cond(tf.reduce_all(found), lambda: lsf, lambda: _repair_lsf(polynomial, lsf, found))
    return tf.stop_gradient(repaired)


def has_gpu() -> bool:
    """Whether TensorFlow computes on a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


def _repair_lsf(polynomial: tf.Tensor, lsf: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    expanded, found_expanded = _find_lsf(expand_bandwidth(polynomial, REPAIR_FACTOR))
    return tf.where(found[:, None], lsf, tf.where(found_expanded[:, None], expanded, _flat_lsf()))


def _find_lsf(polynomial: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """LSFs [batch, 16] and whether all of a row were found, in order, [batch]."""
    powers = _line_spectral_powers(polynomial)
    roots = _refine_roots(powers, _first_cells(powers))
    # Roots of the two polynomials alternate, the symmetric one first.
    lsf = tf.cast(_arc_cosine(tf.reshape(tf.transpose(roots, [0, 2, 1]), [-1, LPC_ORDER])), tf.float32)
    gaps = tf.pad(lsf, [[0, 0], [0, 1]], constant_values=math.pi) - tf.pad(lsf, [[0, 0], [1, 0]])
    return lsf, tf.reduce_all(gaps > 0, -1)


def _arc_cosine(cosine: tf.Tensor) -> tf.Tensor:
    """As tf.acos, which LiteRT lacks."""
    return tf.atan2(tf.sqrt((1.0 - cosine) * (1.0 + cosine)), cosine)


def _line_spectral_powers(polynomial: tf.Tensor) -> tf.Tensor:
    """A(z) +- z^-17 A(1/z) without roots at z = -+1, in powers x^8 ... x^0 of x = cos(f), [batch, 2, 9]."""
    forward = _wide(polynomial)
    mirrored = tf.pad(forward[:, :0:-1], [[0, 0], [1, 0]])
    pair = tf.stack([forward + mirrored, forward - mirrored], 1)[:, :, : HALF_ORDER + 1]
    signs = tf.constant([[(-1.0) ** k for k in range(HALF_ORDER + 1)], [1.0] * (HALF_ORDER + 1)], _wide_type.get())
    # Division by 1 + z^-1 is a running sum with alternating signs, division by 1 - z^-1 a plain one.
    cosine_series = signs * tf.cumsum(signs * pair, -1)
    powers = tf.matmul(tf.reshape(cosine_series, [-1, HALF_ORDER + 1]), _cosines_as_powers())
    return tf.reshape(powers, [-1, 2, HALF_ORDER + 1])


def _cosines_as_powers() -> tf.Tensor:
    """Rows 2 cos(8 f), ..., 2 cos(f), 1 in powers x^8 ... x^0 of x = cos(f), [9, 9] (Chebyshev)."""
    rows = [[0.0] * HALF_ORDER + [1.0], [0.0] * (HALF_ORDER - 1) + [1.0, 0.0]]
    for _ in range(HALF_ORDER - 1):
        rows.append([2 * up - before for up, before in zip([*rows[-1][1:], 0.0], rows[-2], strict=True)])
    return tf.constant([[2 * value for value in row] for row in rows[:0:-1]] + rows[:1], _wide_type.get())


def _grid() -> tf.Tensor:
    """Edges [129] of the cells in x = cos(frequency), at equal distances in frequency."""
    return tf.cos(tf.range(GRID_CELLS + 1, dtype=_wide_type.get()) * (math.pi / GRID_CELLS))


def _first_cells(powers: tf.Tensor) -> tf.Tensor:
    """Indices [batch, 2, 8] of the first cells with a sign change; the last cell where there are no more."""
    vandermonde = _grid() ** tf.range(HALF_ORDER, -1, -1, dtype=_wide_type.get())[:, None]
    rows = tf.reshape(powers, [-1, HALF_ORDER + 1])
    # One product would be large enough for LiteRT to take its constant for a layer's weights, and to round it to int8.
    positive = tf.matmul(rows[:, ::2], vandermonde[::2]) + tf.matmul(rows[:, 1::2], vandermonde[1::2]) > 0
    cells_left = tf.where(positive[:, 1:] != positive[:, :-1], tf.range(GRID_CELLS, 0.0, -1.0), 1.0)
    first = tf.math.top_k(cells_left, HALF_ORDER).values
    return tf.reshape(tf.cast(GRID_CELLS - first, tf.int32), [-1, 2, HALF_ORDER])


def _refine_roots(powers: tf.Tensor, cells: tf.Tensor) -> tf.Tensor:
    """Roots x [batch, 2, 8], each in its cell, by bisection and two straight lines."""
    coefficients = tf.unstack(powers[..., None], axis=2)
    edges = _grid()
    here = tf.gather(edges, cells)
    step = tf.gather(edges[1:], cells) - here
    value = tf.math.polyval(coefficients, here)
    for _ in range(BISECTIONS):
        step /= 2
        middle = here + step
        middle_value = tf.math.polyval(coefficients, middle)
        root_is_beyond = (middle_value > 0) == (value > 0)
        here = tf.where(root_is_beyond, middle, here)
        value = tf.where(root_is_beyond, middle_value, value)
    rise = tf.math.polyval(coefficients, here + step) - value
    there = here - step * tf.math.divide_no_nan(value, rise)
    there_value = tf.math.polyval(coefficients, there)
    return there - (there - here) * tf.math.divide_no_nan(there_value, there_value - value)


def lsf_to_polynomial(lsf: tf.Tensor) -> tf.Tensor:
    """Prediction polynomial of line spectral frequencies; differentiable.

    Args:
        lsf: LSFs [batch, 16] in radians, in order.

    Returns:
        A [batch, 17], a[0] = 1, all roots inside the unit circle if the LSFs differ.
    """
    if _wide_type.get() != tf.float64:
        return _lsf_to_polynomial_in_pairs(lsf)
    roots = tf.transpose(tf.reshape(tf.cast(lsf, tf.float64), [-1, LPC_ORDER // 2, 2]), [0, 2, 1])
    linear = tf.constant([[1.0, 1.0], [1.0, -1.0]], tf.float64)
    pair = tf.broadcast_to(linear, [tf.shape(lsf)[0], 2, 2])
    for double_cosine in tf.unstack(2 * tf.cos(roots)[..., None], axis=2):
        ends = tf.pad(pair, [[0, 0], [0, 0], [0, 2]]) + tf.pad(pair, [[0, 0], [0, 0], [2, 0]])
        pair = ends - double_cosine * tf.pad(pair, [[0, 0], [0, 0], [1, 1]])
    return tf.cast(tf.reduce_mean(pair, 1)[:, : LPC_ORDER + 1], tf.float32)


def stabilise_lsf(lsf: tf.Tensor, spacing: float) -> tf.Tensor:
    """Order LSFs and spread them, so that 1/A is stable whatever was decoded; differentiable.

    Less their share of the spacing, well-spaced LSFs never fall. The mean of the running maximum from below
    and the running minimum from above never falls either, and leaves alone what did not fall before. Clusters
    that speech hardly knows, but damaged symbols may ask for, are then drawn towards a flat spectrum.

    Args:
        lsf: LSFs [batch, 16] in radians, in any order.
        spacing: least distance between neighbours and from 0 and pi, radians.

    Returns:
        LSFs [batch, 16], unchanged where well spaced already.

    Raises:
        ValueError: 16 LSFs do not fit between 0 and pi at this spacing.
    """
    room = math.pi - (LPC_ORDER + 1) * spacing
    if spacing < 0 or room < 0:
        raise ValueError(f"LSF spacing must lie between 0 and pi / {LPC_ORDER + 1}, not {spacing}")
    ordered = _sorted(lsf)
    slack = ordered - spacing * tf.range(1, LPC_ORDER + 1, dtype=tf.float32)
    not_above = tf.linalg.band_part(tf.ones([LPC_ORDER, LPC_ORDER], tf.bool), -1, 0)
    from_below = tf.reduce_max(tf.where(not_above, slack[:, None], -math.inf), -1)
    from_above = tf.reduce_min(tf.where(tf.transpose(not_above), slack[:, None], math.inf), -1)
    spread = tf.clip_by_value((from_below + from_above) / 2, 0.0, room)
    return _part_clusters(ordered + (spread - slack))


def _sorted(lsf: tf.Tensor) -> tf.Tensor:
    """Rows in ascending order. The gradient of tf.sort computes indices, which TensorFlow does on the host only."""
    permutation = tf.one_hot(tf.argsort(lsf, axis=-1), LPC_ORDER)
    return tf.reduce_sum(permutation * lsf[:, None, :], -1)


def _part_clusters(lsf: tf.Tensor) -> tf.Tensor:
    """Blend spaced LSFs [batch, 16] with those of a flat spectrum, as much as CLUSTER_WIDTHS ask for."""
    with_ends = tf.pad(tf.pad(lsf, [[0, 0], [1, 0]]), [[0, 0], [0, 1]], constant_values=math.pi)
    share = tf.zeros_like(lsf[:, :1])
    for steps, width in CLUSTER_WIDTHS.items():
        lack = tf.nn.relu(width - (with_ends[:, steps:] - with_ends[:, :-steps]))
        surplus = steps * math.pi / (LPC_ORDER + 1) - width
        share = tf.maximum(share, tf.reduce_max(lack / (lack + surplus), -1, keepdims=True))
    return lsf + share * (_flat_lsf() - lsf)


def _flat_lsf() -> tf.Tensor:
    """LSFs [16] of a flat spectrum, A = 1."""
    return tf.range(1, LPC_ORDER + 1, dtype=tf.float32) * (math.pi / (LPC_ORDER + 1))


def expand_bandwidth(polynomial: tf.Tensor, factor: float) -> tf.Tensor:
    """A(z / factor): coefficients [batch, 17] times factor^k, which draws all roots towards 0."""
    return polynomial * tf.constant([factor**k for k in range(LPC_ORDER + 1)], tf.float32)


def log_envelope(polynomial: tf.Tensor) -> tf.Tensor:
    """The natural logarithm of |1/A|, halved to be near unit variance, at 32 frequencies.

    Args:
        polynomial: A [batch, 17].

    Returns:
        float32 [batch, 32], from 125 Hz to 7875 Hz in steps of 250 Hz.
    """
    frequencies = (np.arange(ENVELOPE_POINTS) + 0.5) * np.pi / ENVELOPE_POINTS
    response = np.exp(-1j * np.outer(np.arange(LPC_ORDER + 1), frequencies))
    real, imaginary = response.real.astype(np.float32), response.imag.astype(np.float32)
    power = tf.square(tf.matmul(polynomial, real)) + tf.square(tf.matmul(polynomial, imaginary))
    return -0.25 * tf.math.log(power + ENVELOPE_FLOOR)


def inverse_filter(frames: tf.Tensor, polynomial: tf.Tensor) -> tf.Tensor:
    """Filter by A(z) from zero state; differentiable in both arguments.

    Args:
        frames: samples [batch, multiple of 16].
        polynomial: A [batch, 17].

    Returns:
        Residual of the shape of frames.
    """
    residual = tf.matmul(_blocks_with_past(frames), _block_matrix(polynomial), transpose_b=True)
    return tf.cast(tf.reshape(residual, [-1, frames.shape[-1]]), tf.float32)


def pre_emphasise(signals: tf.Tensor) -> tf.Tensor:
    """Filter [batch, samples] by 1 - 0.68 z^-1 from zero state, the inverse of `de_emphasise`."""
    return signals - PRE_EMPHASIS * tf.pad(signals[:, :-1], [[0, 0], [1, 0]])


def de_emphasise(signals: tf.Tensor) -> tf.Tensor:
    """Filter by 1 / (1 - 0.68 z^-1) from zero state; differentiable.

    After 64 samples the impulse response is below float32's resolution, so that one matrix product of blocks of 64 with
    their predecessors replaces a recursion from sample to sample.

    Args:
        signals: float32 [batch, samples].

    Returns:
        Signals of the same shape, to -140 dB those of the recursion in double precision.
    """
    block, length = len(DE_EMPHASIS), signals.shape[1] or tf.shape(signals)[1]
    number = 1 - -length // block
    padded = tf.pad(signals, [[0, 0], [block, -length % block]])
    blocks = tf.reshape(padded, [-1, number, block])
    with_past = tf.concat([blocks[:, :-1], blocks[:, 1:]], -1)
    lags = block + np.arange(block) - np.arange(2 * block)[:, None]
    response = np.where((lags >= 0) & (lags < block), DE_EMPHASIS[lags % block], 0.0)
    filtered = tf.matmul(with_past, tf.constant(response, tf.float32))
    return tf.reshape(filtered, [-1, (number - 1) * block])[:, :length]


def synthesis_filter(residual: tf.Tensor, polynomial: tf.Tensor) -> tf.Tensor:
    """Filter by 1/A(z) from zero state, by the exact recursion in blocks of 16 samples; differentiable.

    Args:
        residual: samples [batch, multiple of 16].
        polynomial: A [batch, 17].

    Returns:
        Frames of the shape of residual.
    """
    # graphs without float64 are for coding only, and LiteRT knows no gradients of our own
    with_gradient = _wide_type.get() == tf.float64
    return _synthesise(residual, polynomial) if with_gradient else _recursion(residual, polynomial)


@tf.custom_gradient
def _synthesise(residual: tf.Tensor, polynomial: tf.Tensor) -> tuple[tf.Tensor, FilterGradient]:
    frames = _recursion(residual, polynomial)

    def gradient(by_frames: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The adjoint of 1/A is 1/A backwards in time; tap k works on the frames k samples ago.
        by_residual = _recursion(by_frames[:, ::-1], polynomial)[:, ::-1]
        blocks = _wide(_split_blocks(by_residual))
        products = tf.matmul(blocks, _blocks_with_past(frames), transpose_a=True)
        return by_residual, -tf.cast(_sum_diagonals(products)[:, ::-1], tf.float32)

    return frames, gradient


def _recursion(residual: tf.Tensor, polynomial: tf.Tensor) -> tf.Tensor:
    impulse_responses = _impulse_responses(polynomial)
    state_responses = tf.matmul(impulse_responses, _block_matrix(polynomial)[:, :, :BLOCK])
    blocks = _wide(_split_blocks(residual))
    from_silence = tf.unstack(tf.matmul(blocks, impulse_responses, transpose_b=True), axis=1)
    frames = from_silence[:1]
    for block in from_silence[1:]:
        frames.append(block - tf.linalg.matvec(state_responses, frames[-1]))
    return tf.cast(tf.concat(frames, -1), tf.float32)


def _impulse_responses(polynomial: tf.Tensor) -> tf.Tensor:
    """Matrix [batch, 16, 16] from a block of residual to the response of 1/A from zero state."""
    taps = _wide(polynomial[:, :0:-1])
    response = tf.ones_like(taps[:, :1])
    for length in range(1, BLOCK):
        following = -tf.reduce_sum(taps[:, BLOCK - length :] * response, -1, keepdims=True)
        response = tf.concat([response, following], -1)
    # As in _block_matrix; sample 0 of the response is on the diagonal.
    rows = tf.tile(tf.pad(response[:, ::-1], [[0, 0], [0, BLOCK + 1]]), [1, BLOCK])
    return tf.reshape(rows[:, : 2 * BLOCK * BLOCK], [-1, BLOCK, 2 * BLOCK])[:, :, BLOCK - 1 : -1]


def _split_blocks(samples: tf.Tensor) -> tf.Tensor:
    return tf.reshape(samples, [-1, samples.shape[-1] // BLOCK, BLOCK])


def _blocks_with_past(samples: tf.Tensor) -> tf.Tensor:
    """Each block of samples after its predecessor, [batch, blocks, 32]."""
    blocks = _split_blocks(samples)
    previous = tf.pad(blocks[:, :-1], [[0, 0], [1, 0], [0, 0]])
    return _wide(tf.concat([previous, blocks], -1))


def _block_matrix(polynomial: tf.Tensor) -> tf.Tensor:
    """Matrix [batch, 16, 32] from the previous and the present block to the filtered present block."""
    reversed_taps = _wide(polynomial[:, ::-1])
    # Rows of 33 read as rows of 32 move the taps to the right by one sample a row.
    rows = tf.tile(tf.pad(reversed_taps, [[0, 0], [0, BLOCK]]), [1, BLOCK])
    return tf.reshape(rows[:, : 2 * BLOCK * BLOCK], [-1, BLOCK, 2 * BLOCK])


def residual_of(frames: tf.Tensor, polynomial: tf.Tensor, kind: str) -> tf.Tensor:
    """Residual of frames; differentiable.

    Args:
        frames: samples [batch, 512], not windowed.
        polynomial: A [batch, 17].
        kind: 'frame' filters the whole frame from zero state; 'taper' first multiplies it by the square root
            of the cross-fade window; 'subframe' filters 7 sub-frames of 128 samples, each from zero state,
            and adds them under Hann windows: the way of the first CQ codec, not quite invertible.

    Returns:
        Residual [batch, 512].

    Raises:
        ValueError: unknown kind.
    """
    _check_kind(kind)
    if kind == "subframe":
        return _subframe_residual(frames, polynomial)
    if kind == "taper":
        frames = frames * synthesis_window(kind)
    return inverse_filter(frames, polynomial)


def synthesis_window(kind: str) -> tf.Tensor:
    """Window [512] between synthesis and overlap-add, so that at hop 480 clean frames add up to the signal.

    Raises:
        ValueError: unknown kind.
    """
    _check_kind(kind)
    window = tf.constant(crossfade_window())
    return tf.sqrt(window) if kind == "taper" else window


def _check_kind(kind: str) -> None:
    if kind not in RESIDUAL_KINDS:
        raise ValueError(f"residual kind must be one of {', '.join(RESIDUAL_KINDS)}, not {kind!r}")


def _subframe_residual(frames: tf.Tensor, polynomial: tf.Tensor) -> tf.Tensor:
    subframes = tf.signal.frame(frames, SUBFRAME_LENGTH, SUBFRAME_HOP)
    count = subframes.shape[1]
    residuals = inverse_filter(tf.reshape(subframes, [-1, SUBFRAME_LENGTH]), tf.repeat(polynomial, count, axis=0))
    windowed = tf.reshape(residuals, [-1, count, SUBFRAME_LENGTH]) * _subframe_windows(count)
    return tf.signal.overlap_and_add(windowed, SUBFRAME_HOP)


def _subframe_windows(count: int) -> tf.Tensor:
    """Hann windows [count, 128] that add up to 1 over the frame: nothing fades at its ends."""
    phase = math.pi * (tf.range(SUBFRAME_HOP, dtype=tf.float32) + 0.5) / (2 * SUBFRAME_HOP)
    fade_in = tf.sin(phase) ** 2
    flat = tf.ones_like(fade_in)
    first = tf.concat([flat, 1 - fade_in], 0)
    middle = tf.concat([fade_in, 1 - fade_in], 0)
    last = tf.concat([fade_in, flat], 0)
    return tf.stack([first, *[middle] * (count - 2), last])


class FloatPair(NamedTuple):
    """The number high + low, about 48 bits, of which high is the nearest float32 (Dekker, 1971).

    For graphs on machines without float64: A near the unit circle from float32 alone moves samples by up to a
    thousandth of full scale.
    """

    high: tf.Tensor
    low: tf.Tensor


def _lsf_to_polynomial_in_pairs(lsf: tf.Tensor) -> tf.Tensor:
    """As `lsf_to_polynomial`, mostly to the last bit."""
    roots = tf.transpose(tf.reshape(lsf, [-1, LPC_ORDER // 2, 2]), [0, 2, 1])
    linear = tf.constant([[[1.0, 1.0], [1.0, -1.0]]]) + 0.0 * roots[:, :, :1]
    polynomials = FloatPair(linear, tf.zeros_like(linear))
    for root in tf.unstack(roots[..., None], axis=2):
        ends = _pair_sum(_shifted_pair(polynomials, 0, 2), _shifted_pair(polynomials, 2, 0))
        middle = _pair_product(_shifted_pair(polynomials, 1, 1), _pair_cosine(root))
        polynomials = _pair_sum(ends, FloatPair(-2.0 * middle.high, -2.0 * middle.low))
    symmetric, antisymmetric = (FloatPair(polynomials.high[:, row], polynomials.low[:, row]) for row in range(2))
    return 0.5 * _pair_sum(symmetric, antisymmetric).high[:, : LPC_ORDER + 1]


def _shifted_pair(polynomials: FloatPair, before: int, behind: int) -> FloatPair:
    paddings = [[0, 0], [0, 0], [before, behind]]
    return FloatPair(tf.pad(polynomials.high, paddings), tf.pad(polynomials.low, paddings))


def _pair_cosine(angle: tf.Tensor) -> FloatPair:
    """The cosine of float32 angles from 0 to pi, to 1e-10: from a table and the angle sums."""
    table = np.arange(int(np.pi * STEPS_PER_RADIAN) + 2) / STEPS_PER_RADIAN
    cosines, sines = np.cos(table), np.sin(table).astype(np.float32)
    high = cosines.astype(np.float32)
    place = tf.cast(tf.round(angle * STEPS_PER_RADIAN), tf.int32)
    rest = angle - tf.cast(place, tf.float32) / STEPS_PER_RADIAN
    square = rest * rest
    fall = 0.5 * square * (1.0 - square / 12.0)  # 1 - cos(rest)
    rise = rest * (1.0 - square / 6.0)  # sin(rest)
    base = tf.gather(high, place)
    low = tf.gather((cosines - high).astype(np.float32), place)
    return _two_sum(base, low - (base * fall + tf.gather(sines, place) * rise))


def _two_sum(first: tf.Tensor, second: tf.Tensor) -> FloatPair:
    """The exact sum of two float32 (Knuth)."""
    high = first + second
    share = high - first
    return FloatPair(high, (first - (high - share)) + (second - share))


def _two_product(first: tf.Tensor, second: tf.Tensor) -> FloatPair:
    """The exact product of two float32 (Dekker)."""
    high = first * second
    (a, b), (c, d) = _halves(first), _halves(second)
    return FloatPair(high, ((a * c - high) + a * d + b * c) + b * d)


def _halves(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    scaled = SPLITTER * number
    upper = scaled - (scaled - number)
    return upper, number - upper


def _pair_sum(first: FloatPair, second: FloatPair) -> FloatPair:
    total = _two_sum(first.high, second.high)
    return _two_sum(total.high, total.low + (first.low + second.low))


def _pair_product(first: FloatPair, second: FloatPair) -> FloatPair:
    exact = _two_product(first.high, second.high)
    return _two_sum(exact.high, exact.low + (first.high * second.low + first.low * second.high))
