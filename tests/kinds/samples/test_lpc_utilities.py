import math

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import signal as scipy_signal
from scipy.linalg import solve_toeplitz

import lpc_utilities as lpc
from constants import (
    FRAME_LENGTH,
    HOP,
    LPC_CONTEXT,
    LPC_ORDER,
    LSF_FIRST_LEVELS,
    LSF_LAST_LEVELS,
    OVERLAP,
    PRE_EMPHASIS,
    SAMPLE_RATE,
    WHITE_NOISE_CORRECTION,
)
from utilities import cut_frames, overlap_add, pre_emphasise

SPACING = 0.02  # radians
LEVELS = np.linspace(LSF_FIRST_LEVELS, LSF_LAST_LEVELS, 16, axis=1).astype(np.float32)  # [16 coefficients, 16]

Array = NDArray[np.float32]


def analyse(contexts: Array) -> tuple[Array, Array]:
    polynomial = lpc.levinson_durbin(lpc.autocorrelation(contexts * lpc.analysis_window()))
    return polynomial.numpy(), lpc.polynomial_to_lsf(polynomial).numpy()


def quantised(lsf: Array) -> Array:
    levels = LEVELS.reshape(-1)
    return levels[np.abs(lsf[..., None] - levels).argmin(-1)]


def decibels(wanted: NDArray[np.floating], found: Array) -> NDArray[np.float64]:
    error = np.sum((wanted.astype(np.float64) - found) ** 2, -1)
    return 10 * np.log10(np.sum(wanted.astype(np.float64) ** 2, -1) / np.maximum(error, 1e-60))


def polynomial_in_float64(lsf: NDArray[np.floating]) -> NDArray[np.float64]:
    pair = [np.array([1.0, 1.0]), np.array([1.0, -1.0])]
    for k, frequency in enumerate(lsf.astype(np.float64)):
        pair[k % 2] = np.convolve(pair[k % 2], [1.0, -2 * math.cos(frequency), 1.0])
    return ((pair[0] + pair[1]) / 2)[:-1]


def lsf_by_roots(polynomial: Array) -> NDArray[np.float64]:
    forward = np.append(polynomial.astype(np.float64), 0.0)
    roots = np.concatenate([np.roots(forward + forward[::-1]), np.roots(forward - forward[::-1])])
    angles = np.sort(np.angle(roots))
    return angles[(angles > 1e-6) & (angles < math.pi - 1e-6)]


def largest_root(polynomials: Array) -> float:
    return max(np.abs(np.roots(row)).max() for row in polynomials.astype(np.float64))


@pytest.fixture(scope="module")
def contexts(speech_clips: list[NDArray[np.int16]]) -> Array:
    """Pre-emphasised frames with context [n, 1024] of all clips."""
    signals = [pre_emphasise((clip / 32768).astype(np.float32)) for clip in speech_clips]
    return np.concatenate([cut_frames(signal, LPC_CONTEXT) for signal in signals])


@pytest.fixture(scope="module")
def hard_contexts(contexts: Array) -> Array:
    """Speech without its upper half band, clipped speech, pure tones, a click."""
    some = contexts[::20]
    low_pass = scipy_signal.cheby2(12, 80, 4000, fs=SAMPLE_RATE, output="sos")
    low_passed = scipy_signal.sosfilt(low_pass, some).astype(np.float32)
    clipped = np.clip(some * 100, -1, 1)
    time = np.arange(contexts.shape[1]) / SAMPLE_RATE
    tones = np.stack([np.sin(2 * math.pi * hertz * time) for hertz in (50, 440, 1000, 3999, 4000, 7900)])
    click = np.eye(1, contexts.shape[1], 512)
    return np.concatenate([low_passed, clipped, tones, click]).astype(np.float32)


@pytest.fixture(scope="module")
def coded(contexts: Array) -> tuple[Array, Array]:
    """Loud frames [n, 512] and their polynomials [n, 17] of quantised, stabilised LSFs."""
    loud = contexts[np.sum(contexts[:, LPC_CONTEXT:-LPC_CONTEXT] ** 2, -1) > 1e-4]
    lsf = lpc.stabilise_lsf(quantised(analyse(loud)[1]), SPACING)
    return loud[:, LPC_CONTEXT:-LPC_CONTEXT], lpc.lsf_to_polynomial(lsf).numpy()


# Analysis


def test_the_analysis_window_is_flat_over_the_frame_with_half_a_hann_window_either_side() -> None:
    window = lpc.analysis_window().numpy()
    fade = scipy_signal.windows.hann(1024, sym=False)[1:512:2]  # 512-sample Hann window, half a sample later
    assert window.shape == (1024,)
    np.testing.assert_array_equal(window[LPC_CONTEXT:-LPC_CONTEXT], 1)
    np.testing.assert_allclose(window[:LPC_CONTEXT], fade, atol=1e-6)
    np.testing.assert_allclose(window[-LPC_CONTEXT:], fade[::-1], atol=1e-6)


@pytest.mark.parametrize("order", [1, 10, 16])
def test_autocorrelation_equals_numpy_correlate(contexts: Array, order: int) -> None:
    some = contexts[::40]
    found = lpc.autocorrelation(some, order).numpy()
    for row, lags in zip(some.astype(np.float64), found, strict=True):
        expected = np.correlate(row, row, "full")[len(row) - 1 :][: order + 1]
        np.testing.assert_allclose(lags, expected, atol=1e-6 * expected[0] + 1e-30)


def test_levinson_durbin_solves_the_toeplitz_system(contexts: Array, hard_contexts: Array) -> None:
    every = np.concatenate([contexts[::10], hard_contexts])
    autocorrelation = lpc.autocorrelation(every * lpc.analysis_window())
    polynomials = lpc.levinson_durbin(autocorrelation).numpy()
    for lags, polynomial in zip(autocorrelation.numpy().astype(np.float64), polynomials, strict=True):
        column = np.append(lags[0] * WHITE_NOISE_CORRECTION, lags[1:-1])
        expected = -solve_toeplitz(column, lags[1:])
        assert polynomial[0] == 1
        np.testing.assert_allclose(polynomial[1:], expected, atol=1e-5 * max(1, np.abs(expected).max()))


def test_prediction_polynomials_are_stable_also_for_low_passed_and_clipped_speech_and_tones(
    contexts: Array, hard_contexts: Array
) -> None:
    assert largest_root(analyse(contexts[::10])[0]) < 1
    assert largest_root(analyse(hard_contexts)[0]) < 1


def test_silence_has_a_flat_polynomial_and_stays_silence() -> None:
    silence = np.zeros((3, 1024), np.float32)
    polynomial, lsf = analyse(silence)
    np.testing.assert_array_equal(polynomial, np.eye(1, LPC_ORDER + 1).repeat(3, 0))
    np.testing.assert_allclose(lsf, np.tile(np.arange(1, 17) * math.pi / 17, (3, 1)), atol=1e-6)
    residual = lpc.inverse_filter(silence[:, :FRAME_LENGTH], polynomial)
    np.testing.assert_array_equal(lpc.synthesis_filter(residual, polynomial).numpy(), 0)


# Line spectral frequencies


def test_lsfs_equal_the_angles_of_the_roots(contexts: Array, hard_contexts: Array) -> None:
    polynomials, lsf = analyse(np.concatenate([contexts[::5], hard_contexts]))
    for polynomial, found in zip(polynomials, lsf, strict=True):
        np.testing.assert_allclose(found, lsf_by_roots(polynomial), atol=3e-6)


def test_the_grid_finds_all_roots_of_real_speech(contexts: Array) -> None:
    polynomials, lsf = analyse(contexts)
    _, found = lpc._find_lsf(polynomials)
    assert found.numpy().all()
    assert (np.diff(lsf) > 0).all() and lsf.min() > 0 and lsf.max() < math.pi


def test_two_lsfs_enclose_a_pure_tone(hard_contexts: Array) -> None:
    _, lsf = analyse(hard_contexts[-7:-1])
    for hertz, row in zip((50, 440, 1000, 3999, 4000, 7900), lsf, strict=True):
        nearest_two = np.sort(np.abs(row - 2 * math.pi * hertz / SAMPLE_RATE))[:2]
        assert nearest_two.max() < 0.05


def test_roots_too_close_for_the_grid_are_replaced_by_near_ones_in_order(contexts: Array) -> None:
    _, lsf = analyse(contexts[100:101])
    width = math.pi / lpc.GRID_CELLS
    close = np.array([math.floor(lsf[0, 7] / width) * width + width * k for k in (0.3, 0.4, 0.5)], np.float32)
    crowded = np.sort(np.concatenate([lsf[0, :6], close, lsf[0, 9:]]))[None]
    polynomial = lpc.lsf_to_polynomial(crowded)
    assert not lpc._find_lsf(polynomial)[1].numpy().any()
    found = lpc.polynomial_to_lsf(polynomial).numpy()
    assert (np.diff(found) > 0).all()
    flat = np.arange(1, 17) * math.pi / 17
    assert 0 < np.abs(found - crowded).max() < np.abs(flat - crowded).max() / 2


def test_a_polynomial_without_lsfs_gives_those_of_a_flat_spectrum_and_leaves_its_neighbours_alone(
    contexts: Array,
) -> None:
    polynomials, lsf = analyse(contexts[100:103])
    polynomials[1] = np.eye(1, LPC_ORDER + 1) * 1 + np.eye(1, LPC_ORDER + 1, 5) * 9  # roots outside the circle
    found = lpc.polynomial_to_lsf(polynomials).numpy()
    np.testing.assert_allclose(found[1], np.arange(1, 17) * math.pi / 17, atol=1e-6)
    np.testing.assert_array_equal(found[[0, 2]], lsf[[0, 2]])


def test_a_gpu_finds_the_same_lsfs_without_a_branch(contexts: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    polynomials, _ = analyse(contexts[100:103])
    polynomials[1] = np.eye(1, LPC_ORDER + 1) * 1 + np.eye(1, LPC_ORDER + 1, 5) * 9  # has no LSFs
    for few in (polynomials, polynomials[:1]):
        on_processor = lpc.polynomial_to_lsf(few).numpy()
        with monkeypatch.context() as patch:
            patch.setattr(lpc, "has_gpu", lambda: True)
            np.testing.assert_array_equal(lpc.polynomial_to_lsf(few).numpy(), on_processor)


def test_no_gradient_flows_through_the_search_for_lsfs(contexts: Array) -> None:
    polynomial = tf.constant(analyse(contexts[100:102])[0])
    with tf.GradientTape() as tape:
        tape.watch(polynomial)
        lsf = lpc.polynomial_to_lsf(polynomial)
    assert tape.gradient(lsf, polynomial) is None


def test_lsf_to_polynomial_equals_float64(contexts: Array) -> None:
    random = np.sort(np.random.default_rng(3).uniform(0, math.pi, (50, 16)), -1).astype(np.float32)
    for lsf in np.concatenate([analyse(contexts[::20])[1], random]):
        expected = polynomial_in_float64(lsf)
        found = lpc.lsf_to_polynomial(lsf[None]).numpy()[0]
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 * np.abs(expected).max())


def test_polynomial_to_lsf_and_back_is_the_identity(contexts: Array, hard_contexts: Array) -> None:
    polynomials, lsf = analyse(np.concatenate([contexts, hard_contexts]))
    back = lpc.lsf_to_polynomial(lsf).numpy()
    assert np.abs(back - polynomials).max() < 2e-5 * np.abs(polynomials).max()


def test_gradient_of_lsf_to_polynomial_equals_finite_differences(contexts: Array) -> None:
    lsf = tf.constant(analyse(contexts[100:101])[1])
    with tf.GradientTape() as tape:
        tape.watch(lsf)
        polynomial = lpc.lsf_to_polynomial(lsf)
    jacobian = tape.jacobian(polynomial, lsf).numpy()[0, :, 0]
    for k in range(LPC_ORDER):
        step = 1e-6 * np.eye(1, LPC_ORDER, k)[0]
        centre = lsf.numpy()[0].astype(np.float64)
        difference = polynomial_in_float64(centre + step) - polynomial_in_float64(centre - step)
        np.testing.assert_allclose(jacobian[:, k], difference / 2e-6, atol=1e-5 * np.abs(jacobian).max())


# Without float64


def test_without_float64_the_polynomial_stays_the_same_to_float32(contexts: Array) -> None:
    random = np.sort(np.random.default_rng(4).uniform(0, math.pi, (500, 16)), -1).astype(np.float32)
    lsf = lpc.stabilise_lsf(np.concatenate([analyse(contexts)[1], random]), SPACING)
    expected = lpc.lsf_to_polynomial(lsf).numpy()
    with lpc.without_float64():
        found = lpc.lsf_to_polynomial(lsf).numpy()
    assert np.abs(found - expected).max() < 5e-7 * np.abs(expected).max()
    assert (found == expected).mean() > 0.9


def test_without_float64_nearly_all_lsfs_are_found_again(contexts: Array) -> None:
    expected = analyse(contexts)[1]
    with lpc.without_float64():
        found = analyse(contexts)[1]
    assert (quantised(found) != quantised(expected)).mean() < 0.002
    assert np.median(np.abs(found - expected)) < 1e-5


def test_without_float64_filters_are_better_than_100_db(coded: tuple[Array, Array]) -> None:
    frames, polynomials = coded
    expected = lpc.inverse_filter(frames, polynomials).numpy()
    with lpc.without_float64():
        residual = lpc.inverse_filter(frames, polynomials).numpy()
        decoded = lpc.synthesis_filter(expected, polynomials).numpy()
    assert decibels(expected, residual).min() > 100
    assert decibels(lpc.synthesis_filter(expected, polynomials).numpy(), decoded).min() > 80
    assert np.median(decibels(lpc.synthesis_filter(expected, polynomials).numpy(), decoded)) > 110


def test_without_float64_silence_stays_silence() -> None:
    silence = np.zeros((2, 1024), np.float32)
    with lpc.without_float64():
        polynomial, lsf = analyse(silence)
    assert np.array_equal(polynomial, np.eye(1, 17).repeat(2, 0))
    assert np.isfinite(lsf).all()


# Order and spacing


def test_well_spaced_lsfs_of_speech_stay_bit_for_bit(contexts: Array) -> None:
    _, lsf = analyse(contexts)
    framed = np.pad(lsf, [[0, 0], [1, 1]], constant_values=(0, math.pi))
    apart = [(framed[:, k:] - framed[:, :-k]).min(-1) for k in (1, 4, 8)]
    spaced = lsf[(apart[0] > SPACING) & (apart[1] > 0.28) & (apart[2] > 0.9)]
    assert len(spaced) > 0.8 * len(lsf)
    np.testing.assert_array_equal(lpc.stabilise_lsf(spaced, SPACING).numpy(), spaced)


def test_two_equal_lsfs_part_to_both_sides() -> None:
    lsf = (np.arange(1, 17, dtype=np.float32) * math.pi / 17)[None]
    lsf[0, 5] = lsf[0, 6]
    expected = lsf.copy()
    expected[0, 5] -= SPACING / 2
    expected[0, 6] += SPACING / 2
    np.testing.assert_allclose(lpc.stabilise_lsf(lsf, SPACING).numpy(), expected, atol=1e-6)


def test_exchanged_lsfs_are_put_in_order(contexts: Array) -> None:
    lsf = lpc.stabilise_lsf(analyse(contexts[100:120])[1], SPACING).numpy()
    exchanged = lsf[:, np.random.default_rng(5).permutation(16)]
    np.testing.assert_array_equal(lpc.stabilise_lsf(exchanged, SPACING).numpy(), lsf)


def arbitrary_lsf(kind: str, rng: np.random.Generator) -> Array:
    """LSFs [200, 16] as damaged symbols may decode to."""
    if kind == "any level":
        return rng.choice(LEVELS.reshape(-1), (200, 16))
    if kind == "beyond 0 and pi":
        return rng.uniform(-1, 4, (200, 16)).astype(np.float32)
    clusters = int(kind.split()[0])
    return np.repeat(rng.uniform(0, math.pi, (200, clusters)), 16 // clusters, -1).astype(np.float32)


@pytest.mark.parametrize("kind", ["any level", "beyond 0 and pi", "1 cluster", "2 clusters", "4 clusters"])
@pytest.mark.parametrize("spacing", [0.01, SPACING, 0.06])
def test_arbitrary_lsfs_become_ordered_spaced_and_stable(kind: str, spacing: float) -> None:
    lsf = lpc.stabilise_lsf(arbitrary_lsf(kind, np.random.default_rng(7)), spacing).numpy()
    gaps = np.diff(lsf, prepend=0, append=math.pi)
    assert gaps.min() > spacing - 1e-6
    polynomial = lpc.lsf_to_polynomial(lsf).numpy()
    assert largest_root(polynomial) < 1
    impulse = np.eye(1, FRAME_LENGTH, dtype=np.float32).repeat(len(lsf), 0)
    assert np.abs(lpc.synthesis_filter(impulse, polynomial).numpy()).max() < 1e4
    np.testing.assert_allclose(lpc.stabilise_lsf(lsf, spacing).numpy(), lsf, atol=1e-6)


def test_gradient_of_stabilise_lsf_equals_finite_differences() -> None:
    rng = np.random.default_rng(11)
    lsf = rng.uniform(0.01, math.pi, (20, 16)).astype(np.float32)
    direction, weights = rng.standard_normal((2, 20, 16)).astype(np.float32)
    variable = tf.constant(lsf)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        total = tf.reduce_sum(weights * lpc.stabilise_lsf(variable, 0.1), -1)
    slope = np.sum(tape.gradient(total, variable).numpy() * direction, -1)
    step = 1e-4
    ahead, behind = (lpc.stabilise_lsf(lsf + sign * step * direction, 0.1).numpy() for sign in (1, -1))
    difference = np.sum(weights * (ahead.astype(np.float64) - behind), -1) / (2 * step)
    # A frame whose order changes within the step has no derivative there.
    close = np.isclose(slope, difference, atol=0.03 * np.abs(slope).max())
    assert close.mean() >= 0.9


def test_too_much_spacing_is_refused() -> None:
    with pytest.raises(ValueError, match="pi / 17"):
        lpc.stabilise_lsf(np.zeros((1, 16), np.float32), 0.19)


# Filters


def test_inverse_filter_equals_lfilter(coded: tuple[Array, Array]) -> None:
    frames, polynomials = coded
    found = lpc.inverse_filter(frames, polynomials).numpy()
    expected = [scipy_signal.lfilter(a, [1.0], x) for a, x in zip(*map(np.float64, (polynomials, frames)), strict=True)]
    assert decibels(np.array(expected), found).min() > 140


def test_synthesis_filter_equals_lfilter(coded: tuple[Array, Array]) -> None:
    residual, polynomials = coded
    found = lpc.synthesis_filter(residual, polynomials).numpy()
    expected = [
        scipy_signal.lfilter([1.0], a, x) for a, x in zip(*map(np.float64, (polynomials, residual)), strict=True)
    ]
    assert decibels(np.array(expected), found).min() > 140


@pytest.mark.parametrize("length", [1, 63, 64, 1000])
def test_de_emphasis_in_blocks_equals_lfilter_and_its_gradient_runs_backwards(length: int) -> None:
    signals, weights = np.random.default_rng(17).standard_normal((2, 3, length)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs := tf.constant(signals))
        found = lpc.de_emphasise(inputs)
    gradient = tape.gradient(found, inputs, tf.constant(weights)).numpy()
    assert decibels(filtered_by_pole(signals), found.numpy()).min() > 130
    assert decibels(filtered_by_pole(weights[:, ::-1])[:, ::-1], gradient).min() > 130
    of_any_length = tf.function(lpc.de_emphasise, input_signature=[tf.TensorSpec([None, None])])
    np.testing.assert_allclose(of_any_length(signals), found, atol=1e-6)


def filtered_by_pole(signals: Array) -> NDArray[np.float64]:
    return np.asarray(scipy_signal.lfilter([1.0], [1.0, -PRE_EMPHASIS], signals.astype(np.float64)))


def test_de_emphasis_takes_no_more_operations_for_a_longer_signal() -> None:
    def operations(length: int) -> int:
        traced = tf.function(lpc.de_emphasise).get_concrete_function(tf.TensorSpec([2, length]))
        return len(traced.graph.get_operations())

    assert operations(20_000) == operations(2_000) < 40


def test_round_trip_with_quantised_lsfs_is_better_than_95_db_in_every_frame(
    coded: tuple[Array, Array],
) -> None:
    frames, polynomials = coded
    assert largest_root(polynomials[::10]) < 1
    decoded = lpc.synthesis_filter(lpc.inverse_filter(frames, polynomials), polynomials).numpy()
    assert decibels(frames, decoded).min() > 95


def test_round_trip_with_random_levels_is_better_than_95_db_over_the_clips(
    coded: tuple[Array, Array],
) -> None:
    frames, _ = coded
    symbols = np.random.default_rng(13).integers(0, 16, (len(frames), LPC_ORDER))
    lsf = lpc.stabilise_lsf(LEVELS[np.arange(LPC_ORDER), symbols], SPACING)
    polynomials = lpc.lsf_to_polynomial(lsf)
    decoded = lpc.synthesis_filter(lpc.inverse_filter(frames, polynomials), polynomials).numpy()
    assert decibels(frames.reshape(1, -1), decoded.reshape(1, -1))[0] > 95


@pytest.mark.parametrize("name", ["inverse_filter", "synthesis_filter"])
def test_gradients_of_the_filters_equal_finite_differences(name: str, contexts: Array) -> None:
    def reference(samples: NDArray[np.float64], polynomial: NDArray[np.float64]) -> NDArray[np.float64]:
        if name == "inverse_filter":
            return scipy_signal.lfilter(polynomial, [1.0], samples)
        return scipy_signal.lfilter([1.0], polynomial, samples)

    rng = np.random.default_rng(17)
    chosen = contexts[100:500:50]
    frames = tf.constant(chosen[:, LPC_CONTEXT:-LPC_CONTEXT] / np.std(chosen))
    polynomials = lpc.lsf_to_polynomial(lpc.stabilise_lsf(analyse(chosen)[1], 0.06))
    weights = rng.standard_normal(frames.shape)
    with tf.GradientTape() as tape:
        tape.watch([frames, polynomials])
        total = tf.reduce_sum(getattr(lpc, name)(frames, polynomials) * weights.astype(np.float32))
    by_frames, by_polynomials = tape.gradient(total, [frames, polynomials])
    step = 1e-6
    for row in range(len(chosen)):
        point = frames[row].numpy().astype(np.float64), polynomials[row].numpy().astype(np.float64)
        for index, gradient in enumerate((by_frames[row].numpy(), by_polynomials[row].numpy())):
            direction = rng.standard_normal(gradient.shape)
            direction[0] *= index == 0  # a[0] stays 1
            ahead, behind = list(point), list(point)
            ahead[index], behind[index] = point[index] + step * direction, point[index] - step * direction
            difference = np.sum(weights[row] * (reference(*ahead) - reference(*behind))) / (2 * step)
            scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
            assert abs(np.sum(gradient * direction) - difference) < 1e-4 * scale


def test_the_gradient_reaches_the_lsfs_through_residual_and_synthesis(contexts: Array) -> None:
    """A codec that rounds the residual: the decoded speech depends on the LSFs through both filters."""
    frame = contexts[300:301, LPC_CONTEXT:-LPC_CONTEXT]
    noise = np.random.default_rng(19).standard_normal(FRAME_LENGTH) * np.std(frame)
    spaced = lpc.stabilise_lsf(analyse(contexts[300:301])[1], 0.06)

    def reference(lsf: NDArray[np.float64]) -> float:
        polynomial = polynomial_in_float64(lsf)
        residual = np.tanh(scipy_signal.lfilter(polynomial, [1.0], frame[0].astype(np.float64)) * 20)
        return float(np.sum(noise * scipy_signal.lfilter([1.0], polynomial, residual)))

    with tf.GradientTape() as tape:
        tape.watch(spaced)
        polynomial = lpc.lsf_to_polynomial(spaced)
        residual = tf.tanh(lpc.residual_of(frame, polynomial, "frame") * 20)
        total = tf.reduce_sum(noise.astype(np.float32) * lpc.synthesis_filter(residual, polynomial))
    gradient = tape.gradient(total, spaced).numpy()[0]
    centre = spaced.numpy()[0].astype(np.float64)
    steps = 1e-6 * np.eye(LPC_ORDER)
    differences = np.array([reference(centre + step) - reference(centre - step) for step in steps]) / 2e-6
    np.testing.assert_allclose(gradient, differences, atol=1e-3 * np.abs(differences).max())


def test_expanded_bandwidth_scales_all_roots(coded: tuple[Array, Array]) -> None:
    polynomial = coded[1][:1]
    expanded = lpc.expand_bandwidth(polynomial, 0.9).numpy()
    np.testing.assert_allclose(largest_root(expanded), 0.9 * largest_root(polynomial), rtol=1e-4)
    np.testing.assert_allclose(np.polyval(expanded[0], 0.9), 0.9**16 * np.polyval(polynomial[0], 1.0), rtol=1e-3)


def test_one_trace_serves_every_batch_size(contexts: Array) -> None:
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, 1024])])
    def whole_chain(batch: tf.Tensor) -> tf.Tensor:
        traces.append(batch)
        polynomial = lpc.levinson_durbin(lpc.autocorrelation(batch * lpc.analysis_window()))
        lsf = lpc.stabilise_lsf(lpc.polynomial_to_lsf(polynomial), SPACING)
        frames = batch[:, LPC_CONTEXT:-LPC_CONTEXT]
        residual = lpc.residual_of(frames, lpc.lsf_to_polynomial(lsf), "subframe")
        return lpc.synthesis_filter(residual, lpc.lsf_to_polynomial(lsf))

    one, many = whole_chain(contexts[100:101]).numpy(), whole_chain(contexts[95:112]).numpy()
    assert len(traces) == 1
    np.testing.assert_allclose(one[0], many[5], atol=1e-5 * np.abs(one).max())


# Kinds of residual


@pytest.mark.parametrize("kind", ["frame", "taper"])
def test_overlap_added_frames_give_the_signal_back(kind: str, real_speech: Array) -> None:
    signal = pre_emphasise(real_speech)
    contexts = cut_frames(signal, LPC_CONTEXT)
    polynomials = lpc.lsf_to_polynomial(lpc.stabilise_lsf(quantised(analyse(contexts)[1]), SPACING))
    residual = lpc.residual_of(contexts[:, LPC_CONTEXT:-LPC_CONTEXT], polynomials, kind)
    speech = lpc.synthesis_filter(residual, polynomials) * lpc.synthesis_window(kind)
    decoded = overlap_add(speech.numpy(), len(signal))
    assert decibels(signal[None], decoded[None])[0] > 95


def test_the_subframe_residual_is_that_of_seven_overlapping_subframes(coded: tuple[Array, Array]) -> None:
    frames, polynomials = coded[0][:5].astype(np.float64), coded[1][:5].astype(np.float64)
    fade = scipy_signal.windows.hann(256, sym=False)[1:128:2]
    expected = np.zeros((5, FRAME_LENGTH))
    for row in range(5):
        for k in range(7):
            window = np.concatenate([fade if k else np.ones(64), fade[::-1] if k < 6 else np.ones(64)])
            part = slice(64 * k, 64 * k + 128)
            expected[row, part] += window * scipy_signal.lfilter(polynomials[row], [1.0], frames[row, part])
    found = lpc.residual_of(coded[0][:5], coded[1][:5], "subframe").numpy()
    assert decibels(expected, found).min() > 110


def test_the_subframe_residual_is_not_invertible(coded: tuple[Array, Array]) -> None:
    frames, polynomials = coded
    residual = lpc.residual_of(frames, polynomials, "subframe")
    decoded = lpc.synthesis_filter(residual, polynomials).numpy()
    assert 20 < decibels(frames.reshape(1, -1), decoded.reshape(1, -1))[0] < 40


@pytest.mark.parametrize("kind", lpc.RESIDUAL_KINDS)
def test_windows_before_and_after_coding_sum_to_one_on_the_seam(kind: str) -> None:
    window = lpc.synthesis_window(kind).numpy()
    both = window**2 if kind == "taper" else window
    np.testing.assert_allclose(both[:OVERLAP] + both[HOP:], 1, atol=2e-7)
    np.testing.assert_array_equal(both[OVERLAP:HOP], 1)


def test_an_unknown_kind_of_residual_is_refused() -> None:
    frames, polynomial = np.zeros((1, FRAME_LENGTH), np.float32), np.eye(1, LPC_ORDER + 1, dtype=np.float32)
    with pytest.raises(ValueError, match="frame, taper, subframe"):
        lpc.residual_of(frames, polynomial, "frames")
    with pytest.raises(ValueError, match="frame, taper, subframe"):
        lpc.synthesis_window("frames")
