import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import linalg, signal

from constants import LPC_CONTEXT, LSF_FIRST_LEVELS, LSF_LAST_LEVELS
from kinds.samples.front_end import LpcFrontEnd, TimeDomainFrontEnd, lsf_codebook
from options.config import Config
from utilities import crossfade_window, cut_frames, overlap_add, pre_emphasise

Array = NDArray[np.float32]
Signal = Callable[[LpcFrontEnd, Array, tf.Tensor], Any]


@pytest.fixture
def contexts(real_speech: Array) -> Array:
    """A batch of real speech with its surroundings, near unit level."""
    return 20 * cut_frames(pre_emphasise(real_speech), context=LPC_CONTEXT)[20:28]


def frames_of(contexts: Array) -> Array:
    return contexts[:, LPC_CONTEXT:-LPC_CONTEXT]


def lsf_by_roots(polynomial: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles in (0, pi) of the roots of A(z) +- z^-17 A(1/z)."""
    forward, backward = np.append(polynomial, 0), np.append(0, polynomial[::-1])
    angles = np.angle(np.concatenate([np.roots(forward + backward), np.roots(forward - backward)]))
    return np.sort(angles[(angles > 1e-6) & (angles < math.pi - 1e-6)])


def test_the_codebook_starts_as_sixteen_uniform_levels_of_each_coefficient() -> None:
    levels = lsf_codebook().reshape(16, 16)
    np.testing.assert_allclose(levels[:, 0], LSF_FIRST_LEVELS, rtol=1e-6)
    np.testing.assert_allclose(levels[:, -1], LSF_LAST_LEVELS, rtol=1e-6)
    np.testing.assert_allclose(np.diff(levels, 2, axis=1), 0, atol=1e-6)


def test_lsfs_are_those_of_the_toeplitz_equations(contexts: Array) -> None:
    fade = np.hanning(513)[:-1]  # half a sample off the front end's, which is centred
    window = np.concatenate([fade[:256], np.ones(512), fade[256:]])
    found = LpcFrontEnd(Config()).line_spectrum(contexts)
    for row, lsf in zip(contexts.astype(np.float64) * window, found, strict=True):
        lags = np.correlate(row, row, "full")[1023 : 1023 + 17]
        lags[0] *= 1.0001
        polynomial = np.append(1, linalg.solve_toeplitz(lags[:16], -lags[1:]))
        np.testing.assert_allclose(lsf, lsf_by_roots(polynomial), atol=5e-3)


def test_each_lsf_is_sent_as_the_nearest_of_the_256_levels(contexts: Array) -> None:
    front_end = LpcFrontEnd(Config())
    lsf, found = front_end.line_spectrum(contexts).numpy(), front_end(contexts).lsf
    nearest = np.abs(lsf[..., None] - lsf_codebook()).argmin(-1)
    np.testing.assert_array_equal(found.symbols[:, 0], nearest)
    np.testing.assert_array_equal(found.decoded[:, 0], lsf_codebook()[nearest])


def test_the_polynomial_is_that_of_the_quantised_lsfs_where_they_are_well_spaced(contexts: Array) -> None:
    analysis = LpcFrontEnd(Config())(contexts)
    checked = 0
    for lsf, polynomial in zip(analysis.lsf.decoded[:, 0].numpy(), analysis.polynomial.numpy(), strict=True):
        gaps = np.diff(np.concatenate([[0], lsf, [math.pi]]))
        if gaps.min() > 0.02:
            np.testing.assert_allclose(lsf_by_roots(polynomial.astype(np.float64)), lsf, atol=2e-3)
            checked += 1
    assert checked >= 3


@pytest.mark.parametrize("kind", ["frame", "taper", "subframe"])
def test_decoding_the_symbols_gives_the_polynomial_of_the_call(kind: str, contexts: Array) -> None:
    front_end = LpcFrontEnd(Config(residual=kind))
    analysis = front_end(contexts)
    np.testing.assert_array_equal(front_end.decode(analysis.lsf.symbols), analysis.polynomial)


def test_the_residual_is_the_frame_filtered_by_the_quantised_polynomial(contexts: Array) -> None:
    analysis = LpcFrontEnd(Config())(contexts)
    np.testing.assert_array_equal(analysis.frames, frames_of(contexts))
    for frame, residual, polynomial in zip(frames_of(contexts), analysis.residual, analysis.polynomial, strict=True):
        np.testing.assert_allclose(residual, signal.lfilter(polynomial, [1], frame), atol=1e-4)


def test_an_expanded_bandwidth_draws_the_roots_of_the_filter_towards_zero(contexts: Array) -> None:
    whole, expanded = (LpcFrontEnd(Config(bandwidth_expansion=gamma))(contexts) for gamma in (1.0, 0.9))
    for before, after in zip(whole.polynomial.numpy(), expanded.polynomial.numpy(), strict=True):
        np.testing.assert_allclose(np.abs(np.roots(after)).max(), 0.9 * np.abs(np.roots(before)).max(), rtol=1e-3)
    energies = [np.sum(np.square(analysis.residual)) for analysis in (whole, expanded)]
    assert energies[0] < energies[1] < np.sum(frames_of(contexts) ** 2)


def test_prediction_takes_most_of_the_energy_of_speech_away(contexts: Array) -> None:
    analysis = LpcFrontEnd(Config())(contexts)
    gain = 10 * np.log10(np.sum(frames_of(contexts) ** 2) / np.sum(analysis.residual.numpy() ** 2))
    assert gain > 6  # dB


def test_synthesis_gives_back_the_frames(contexts: Array) -> None:
    front_end = LpcFrontEnd(Config())
    analysis = front_end(contexts)
    found = front_end.synthesise(analysis.residual, analysis.polynomial)
    error = 10 * np.log10(np.sum(frames_of(contexts) ** 2) / np.sum((found - frames_of(contexts)) ** 2))
    assert error > 95  # dB


def test_the_taper_fades_by_square_roots_before_analysis_and_after_synthesis(real_speech: Array) -> None:
    front_end = LpcFrontEnd(Config(residual="taper"))
    contexts = cut_frames(real_speech, context=LPC_CONTEXT)
    analysis = front_end(contexts)
    np.testing.assert_allclose(analysis.frames, np.sqrt(crossfade_window()) * frames_of(contexts), atol=1e-6)
    np.testing.assert_allclose(np.square(front_end.window), crossfade_window(), atol=1e-6)
    decoded = front_end.window * front_end.synthesise(analysis.residual, analysis.polynomial)
    np.testing.assert_allclose(overlap_add(decoded.numpy(), len(real_speech)), real_speech, atol=1e-5)


@pytest.mark.parametrize("kind", ["frame", "subframe"])
def test_other_residuals_fade_once_after_synthesis(kind: str, contexts: Array) -> None:
    front_end = LpcFrontEnd(Config(residual=kind))
    np.testing.assert_array_equal(front_end.window, crossfade_window())
    np.testing.assert_array_equal(front_end(contexts).frames, frames_of(contexts))


@pytest.mark.parametrize("spacing", [0.005, 0.02, 0.05])
def test_whatever_symbols_arrive_the_synthesis_filter_is_stable(spacing: float) -> None:
    generator = np.random.default_rng(5)
    symbols = generator.integers(0, 256, (300, 1, 16))
    symbols[0] = 0
    symbols[1] = 255
    symbols[2, 0] = np.repeat(generator.integers(0, 256, 4), 4)
    polynomials = LpcFrontEnd(Config(lsf_spacing=spacing)).decode(tf.constant(symbols, tf.int32)).numpy()
    radii = [np.abs(np.roots(polynomial.astype(np.float64))).max() for polynomial in polynomials]
    assert max(radii) < 1


def test_silence_has_a_residual_of_silence() -> None:
    front_end = LpcFrontEnd(Config())
    analysis = front_end(np.zeros((2, 1024), np.float32))
    assert not np.any(analysis.residual)
    assert np.isfinite(analysis.polynomial).all()
    assert not np.any(front_end.synthesise(analysis.residual, analysis.polynomial))


def called_residual(front_end: LpcFrontEnd, contexts: Array, symbols: tf.Tensor) -> tf.Tensor:
    return front_end(contexts, decision="straight_through").residual


def decoded_residual(front_end: LpcFrontEnd, contexts: Array, symbols: tf.Tensor) -> NDArray[np.float64]:
    polynomials = front_end.decode(symbols).numpy().astype(np.float64)
    pairs = zip(polynomials, frames_of(contexts), strict=True)
    return np.stack([signal.lfilter(polynomial, [1], frame) for polynomial, frame in pairs])


def called_synthesis(front_end: LpcFrontEnd, contexts: Array, symbols: tf.Tensor) -> tf.Tensor:
    polynomial = front_end(contexts, decision="straight_through").polynomial
    return front_end.synthesise(frames_of(contexts), polynomial)


def decoded_synthesis(front_end: LpcFrontEnd, contexts: Array, symbols: tf.Tensor) -> NDArray[np.float64]:
    polynomials = front_end.decode(symbols).numpy().astype(np.float64)
    pairs = zip(polynomials, frames_of(contexts), strict=True)
    return np.stack([signal.lfilter([1], polynomial, frame) for polynomial, frame in pairs])


@pytest.mark.parametrize(
    ("called", "decoded"), [(called_residual, decoded_residual), (called_synthesis, decoded_synthesis)]
)
def test_the_codebook_learns_through_the_residual_and_through_synthesis(
    called: Signal, decoded: Signal, contexts: Array
) -> None:
    front_end = LpcFrontEnd(Config())
    codebook, symbols = front_end.quantizer.codebook, front_end(contexts).lsf.symbols
    generator = np.random.default_rng(2)
    weights = generator.standard_normal((len(contexts), 512)).astype(np.float32)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(weights * called(front_end, contexts, symbols))
    gradient = tf.convert_to_tensor(tape.gradient(total, codebook)).numpy()
    used = np.unique(symbols)
    assert np.all(gradient[used] != 0)
    assert not np.any(np.delete(gradient, used))

    start, step = codebook.numpy(), 1e-4 * generator.standard_normal(256).astype(np.float32)
    sides = []
    for sign in (1, -1):
        codebook.assign(start + sign * step)
        sides.append(np.sum(weights * decoded(front_end, contexts, symbols)))
    assert float(gradient @ (2 * step)) == pytest.approx(sides[0] - sides[1], rel=0.02)


@pytest.mark.parametrize(("gradient", "alphas"), [("straight_through", 0), ("soft", 1)])
def test_is_cq_decides_whether_the_codebook_is_trained(gradient: str, alphas: int) -> None:
    for trained, variables in ((True, 256 + alphas), (False, 0)):
        front_end = LpcFrontEnd(Config(train_lsf_codebook=trained, quantizer_gradient=gradient))
        assert sum(int(np.prod(variable.shape)) for variable in front_end.trainable_variables) == variables


def test_in_the_time_domain_the_codecs_code_the_frame_itself(contexts: Array) -> None:
    front_end = TimeDomainFrontEnd(Config())
    analysis = front_end(contexts)
    np.testing.assert_array_equal(analysis.frames, frames_of(contexts))
    np.testing.assert_array_equal(analysis.residual, frames_of(contexts))
    assert analysis.polynomial is None
    assert analysis.lsf is None
    assert front_end.trainable_variables == []
    np.testing.assert_array_equal(front_end.synthesise(analysis.residual, None), frames_of(contexts))
    np.testing.assert_array_equal(front_end.window, crossfade_window())
