"""Training losses against closed forms, an independent float64 implementation and finite differences."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

import loss_terms_and_measures
from loss_terms_and_measures import (
    assignment_entropy,
    mel_filterbank,
    mel_loss,
    quantisation_penalty,
    time_loss,
)
from measures import measures

Array = NDArray[np.floating]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
LEAST = math.sqrt(1e-7)


@pytest.fixture
def frames(real_speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Eight loud frames of speech at unit power, as the codecs see them."""
    count = real_speech.size // 512
    all_frames = real_speech[: count * 512].reshape(count, 512)
    loudest = np.argsort(-np.sum(all_frames**2, axis=1), kind="stable")[:8]
    return (all_frames[loudest] / np.std(all_frames[loudest])).astype(np.float32)


def decoded_from(frames: Array, noise: float = 0.2) -> NDArray[np.float32]:
    return (0.9 * frames + noise * np.random.default_rng(1).standard_normal(frames.shape)).astype(np.float32)


def reference_bank(bands: int) -> Array:
    """The bank from its definition, band by band, in float64."""

    def mel(frequency: float) -> float:
        return 2595 * math.log10(1 + frequency / 700)

    bank = np.zeros((257, bands))
    spacing = mel(8000) / (bands + 1)
    for band in range(bands):
        for row in range(1, 257):
            bank[row, band] = max(0.0, 1 - abs(mel(row * 31.25) / spacing - (band + 1)))
        if not bank[:, band].any():
            distances = [abs(mel(row * 31.25) / spacing - (band + 1)) for row in range(1, 257)]
            bank[1 + int(np.argmin(distances)), band] = 1
    return bank


def reference_mel_loss(target: Array, decoded: Array) -> float:
    total = 0.0
    for bands in (8, 16, 32, 128):
        logs = [
            np.log((np.abs(np.fft.rfft(each.astype(np.float64))) ** 2 / 512) @ reference_bank(bands) + 1e-7)
            for each in (target, decoded)
        ]
        total += float(np.mean(np.sqrt(np.mean((logs[0] - logs[1]) ** 2, axis=1) + 1e-7)))
    return total / 4


def reference_time_loss(target: Array, decoded: Array) -> float:
    difference = target.astype(np.float64) - decoded.astype(np.float64)
    return float(np.mean(np.sqrt(np.mean(difference**2, axis=1) + 1e-7)))


def gradient(loss: Callable[[tf.Tensor], tf.Tensor], point: Array) -> tuple[float, Array]:
    variable = tf.constant(point, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = loss(variable)
    return float(value), tape.gradient(value, variable).numpy()


def soft_assignments(shape: tuple[int, ...], sharpness: float) -> NDArray[np.float32]:
    scores = sharpness * np.random.default_rng(2).standard_normal(shape)
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (exponentials / exponentials.sum(axis=-1, keepdims=True)).astype(np.float32)


def test_time_loss_of_a_known_error_is_its_root_mean_square_per_frame(frames: Array) -> None:
    errors = np.array([0.5, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], np.float32)
    expected = (math.sqrt(0.25 + 1e-7) + math.sqrt(4 + 1e-7) + 6 * LEAST) / 8
    assert float(time_loss(0 * frames, 0 * frames + errors[:, None])) == pytest.approx(expected, rel=1e-6)


def test_time_loss_agrees_with_float64_on_speech(frames: Array) -> None:
    decoded = decoded_from(frames)
    assert float(time_loss(frames, decoded)) == pytest.approx(reference_time_loss(frames, decoded), rel=1e-6)


@pytest.mark.parametrize("bands", [8, 16, 32, 128])
def test_mel_filterbank_agrees_with_its_definition_and_has_no_deaf_band(bands: int) -> None:
    bank = mel_filterbank(bands)
    assert bank.shape == (257, bands) and bank.dtype == np.float32
    np.testing.assert_allclose(bank, reference_bank(bands), atol=2e-6)
    assert np.all(bank.sum(axis=0) > 0.2)
    assert not bank[0].any()


def test_mel_loss_agrees_with_float64_on_speech(frames: Array) -> None:
    decoded = decoded_from(frames)
    expected = reference_mel_loss(frames, decoded)
    assert expected > 0.3
    assert float(mel_loss(frames, decoded)) == pytest.approx(expected, rel=2e-5)


def test_mel_loss_against_silence_agrees_with_float64_down_to_its_floor(frames: Array) -> None:
    expected = reference_mel_loss(frames, 0 * frames)
    assert float(mel_loss(frames, 0 * frames)) == pytest.approx(expected, rel=2e-5)


def test_mel_loss_of_speech_at_half_its_level_is_the_logarithm_of_four(frames: Array) -> None:
    assert float(mel_loss(frames, frames / 2)) == pytest.approx(math.log(4), rel=1e-3)


def test_mel_loss_is_the_same_inside_a_traced_function(frames: Array) -> None:
    mel_filterbank.cache_clear()
    traced = tf.function(mel_loss)(frames, decoded_from(frames))
    assert float(traced) == pytest.approx(float(mel_loss(frames, decoded_from(frames))), rel=1e-5)


@pytest.mark.parametrize("loss", [time_loss, mel_loss])
def test_losses_of_equal_frames_are_at_their_least_and_grow_with_noise(frames: Array, loss: Loss) -> None:
    values = [float(loss(frames, frames + noise * decoded_from(0 * frames, 1.0))) for noise in (0, 0.01, 0.1, 1)]
    assert values[0] == pytest.approx(LEAST, rel=1e-5)
    assert values == sorted(values) and values[3] > 2 * values[1]


@pytest.mark.parametrize(("loss", "reference"), [(time_loss, reference_time_loss), (mel_loss, reference_mel_loss)])
def test_gradients_agree_with_finite_differences(
    frames: Array, loss: Loss, reference: Callable[[Array, Array], float]
) -> None:
    decoded = decoded_from(frames)
    _, slopes = gradient(lambda point: loss(frames, point), decoded)
    for direction in np.random.default_rng(4).standard_normal((5, *decoded.shape)):
        ahead, behind = (reference(frames, decoded.astype(np.float64) + step * direction) for step in (1e-6, -1e-6))
        scale = float(np.linalg.norm(slopes) * np.linalg.norm(direction))
        assert np.sum(slopes * direction) == pytest.approx((ahead - behind) / 2e-6, abs=1e-4 * scale)


@pytest.mark.parametrize("loss", [time_loss, mel_loss])
@pytest.mark.parametrize("silent_target", [True, False])
@pytest.mark.parametrize("silent_decoded", [True, False])
def test_gradients_are_finite_in_silence_and_for_equal_frames(
    frames: Array, loss: Loss, silent_target: bool, silent_decoded: bool
) -> None:
    target = frames * (not silent_target)
    value, slopes = gradient(lambda point: loss(target, point), frames * (not silent_decoded))
    assert math.isfinite(value)
    assert np.all(np.isfinite(slopes))


def test_penalty_is_one_for_hard_and_the_root_of_the_bins_for_equal_assignments() -> None:
    hard = np.eye(32, dtype=np.float32)[None]
    assert float(quantisation_penalty(hard)) == pytest.approx(1, abs=1e-6)
    assert float(quantisation_penalty(np.full((2, 5, 32), 1 / 32, np.float32))) == pytest.approx(math.sqrt(32))


def test_penalty_of_two_codes_is_the_mean_of_theirs() -> None:
    assignments = np.array([[[1, 0, 0, 0], [0.5, 0.5, 0, 0]]], np.float32)
    assert float(quantisation_penalty(assignments)) == pytest.approx((1 + math.sqrt(2)) / 2, abs=1e-6)


def test_penalty_rises_as_assignments_soften() -> None:
    values = [float(quantisation_penalty(soft_assignments((4, 16, 32), sharpness))) for sharpness in (100, 5, 1)]
    assert 1 < values[0] < values[1] < values[2] < math.sqrt(32)


@pytest.mark.parametrize("bins", [2, 32, 1024])
def test_entropy_of_equal_bins_is_their_logarithm_however_hard_the_assignments(bins: int) -> None:
    soft = np.full((4, 8, 1, bins), 1 / bins, np.float32)
    hard = np.eye(bins, dtype=np.float32).reshape(2, bins // 2, 1, bins)
    for assignments in (soft, hard):
        assert float(assignment_entropy(assignments)) == pytest.approx(math.log2(bins), abs=2e-4)


def test_entropy_of_one_bin_is_zero() -> None:
    hard = np.zeros((4, 8, 3, 32), np.float32)
    hard[..., 7] = 1
    assert float(assignment_entropy(hard)) == pytest.approx(0, abs=1e-6)


def test_entropy_has_one_histogram_a_channel() -> None:
    # Each channel always takes its own bin: no information, though all bins are used equally often.
    apart = np.broadcast_to(np.eye(4, dtype=np.float32), (3, 5, 4, 4))
    assert float(assignment_entropy(apart)) == pytest.approx(0, abs=1e-6)
    together = apart.reshape(3, 20, 1, 4)
    assert float(assignment_entropy(together)) == pytest.approx(2, abs=1e-5)
    halves = np.zeros((1, 2, 2, 4), np.float32)
    halves[0, :, 0, 0] = 1
    halves[0, [0, 1], 1, [0, 1]] = 1
    assert float(assignment_entropy(halves)) == pytest.approx(0.5, abs=1e-5)


def test_entropy_gradient_agrees_with_finite_differences() -> None:
    point = soft_assignments((4, 8, 2, 8), 2.0)

    def entropy(assignments: Array) -> float:
        histogram = assignments.mean(axis=(0, 1))
        return float(np.mean(-np.sum(histogram * np.log2(histogram + 1e-7), axis=-1)))

    value, slopes = gradient(assignment_entropy, point)
    assert value == pytest.approx(entropy(point.astype(np.float64)), rel=1e-5)
    direction = np.random.default_rng(5).standard_normal(point.shape)
    ahead, behind = (entropy(point + step * direction) for step in (1e-5, -1e-5))
    assert np.sum(slopes * direction) == pytest.approx((ahead - behind) / 2e-5, rel=1e-3)


@pytest.mark.parametrize("loss", [quantisation_penalty, assignment_entropy])
def test_gradients_are_finite_for_hard_assignments(loss: Callable[[tf.Tensor], tf.Tensor]) -> None:
    codes, bins = np.linspace(-1.2, 1.2, 15), np.linspace(-1, 1, 32)
    logits = -300 * np.abs(codes[:, None] - bins)[None, :, None, :]  # [batch, positions, channels, bins]
    underflown = tf.nn.softmax(logits.astype(np.float32)).numpy() == 0
    assert np.count_nonzero(underflown) > 100
    for differentiated, point in (
        (lambda point: loss(tf.nn.softmax(point)), logits),
        (loss, np.eye(32)[None, :, None, :]),
    ):
        value, slopes = gradient(differentiated, point)
        assert math.isfinite(value)
        assert np.all(np.isfinite(slopes))


def test_the_measures_are_at_hand_beside_the_losses() -> None:
    assert loss_terms_and_measures.score is measures.score
    names = {"pesq_wb", "stoi", "snr", "si_sdr", "score_files", "mean_with_interval"}
    assert names <= set(vars(loss_terms_and_measures))
