import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

import utilities
from kinds.spectral.batch import file_batch
from kinds.spectral.cascade import SpectralBatch, SpectralCascade
from kinds.spectral.front_end import SpectralEnvelope, gain_position, log_gain
from kinds.spectral.networks import UniformQuantizer
from kinds.spectral.rate import FIRST_LOG_SCALE, LOG_SCALE_STEP, CoefficientRate, Known
from kinds.spectral.transform import mdct
from nsc.entropy.coefficient_model import LARGEST_INDEX as LARGEST
from nsc.format.version_2 import GAIN_LEVELS, number_of_frames
from tests.helpers.spectral_cascade import batch_of, cascade_of

Array = NDArray[np.float32]
HARD = ["hard"] * 2


@pytest.fixture(scope="module")
def cascade() -> SpectralCascade:
    return cascade_of(stir=0.02)


@pytest.fixture
def batch(cascade: SpectralCascade, real_speech: Array) -> SpectralBatch:
    return batch_of(real_speech, cascade.config)


def test_symbols_alone_decode_to_what_coding_decoded(cascade: SpectralCascade, batch: SpectralBatch) -> None:
    output = cascade.call(batch, HARD, "hard")
    symbols = cascade.symbols_of(batch, 2)
    for decoded, expected in zip(cascade.signals_of(symbols, batch.levels, batch.offsets), output.signals, strict=True):
        np.testing.assert_allclose(decoded, expected, atol=1e-6)


def test_fewer_codecs_are_a_codec_of_their_own(cascade: SpectralCascade, batch: SpectralBatch) -> None:
    deep, shallow = cascade.call(batch, HARD, "hard"), cascade.call(batch, ["hard"], "hard")
    np.testing.assert_array_equal(shallow.signals[0], deep.signals[0])
    np.testing.assert_allclose(shallow.bits[-1], deep.bits[-2], rtol=1e-6)


def test_a_decoded_spectrum_depends_on_nothing_later(cascade: SpectralCascade, batch: SpectralBatch) -> None:
    symbols = cascade.symbols_of(batch, 2)
    cut, hop = 24, cascade.hop
    changed = symbols._replace(
        gains=tf.concat([symbols.gains[:, :cut], symbols.gains[:, cut:] // 2], 1),
        codes=[tf.concat([code[:, :cut], -code[:, cut:]], 1) for code in symbols.codes],
    )
    before, after = (cascade.signals_of(each, batch.levels, batch.offsets)[-1] for each in (symbols, changed))
    np.testing.assert_array_equal(before[:, : cut * hop], after[:, : cut * hop])
    assert np.abs(before - after)[:, cut * hop : (cut + 1) * hop].max() > 0


def test_a_decoded_spectrum_depends_on_no_more_of_the_past_than_is_said(
    cascade: SpectralCascade, batch: SpectralBatch
) -> None:
    symbols = cascade.symbols_of(batch, 2)
    first = 20
    changed = symbols._replace(codes=[tf.concat([-code[:, :first], code[:, first:]], 1) for code in symbols.codes])
    before, after = (cascade.signals_of(each, batch.levels, batch.offsets)[-1] for each in (symbols, changed))
    reached = (first + cascade.past) * cascade.hop
    np.testing.assert_allclose(before[:, reached + cascade.hop :], after[:, reached + cascade.hop :], atol=1e-6)
    assert np.abs(before - after)[:, first * cascade.hop : reached].max() > 1e-4


def test_digital_silence_stays_silent(cascade: SpectralCascade) -> None:
    silence = np.zeros(8000, np.float32)
    decoded = cascade.call(batch_of(silence, cascade.config), HARD, "hard").signals[-1].numpy()[0]
    assert not decoded.any()


def test_larger_offsets_cost_fewer_bits(cascade: SpectralCascade, real_speech: Array) -> None:
    bits = [
        float(cascade.call(batch_of(real_speech, cascade.config, offset), HARD, "hard").bits[2][0])
        for offset in (-1.0, 0.0, 1.0)
    ]
    assert bits[0] > 1.2 * bits[1] > 1.44 * bits[2]


def test_without_quantisers_and_networks_the_signal_comes_back(real_speech: Array) -> None:
    cascade = cascade_of(num_modules=1)  # fresh networks correct nothing
    batch = batch_of(real_speech, cascade.config, offset=1.0)
    decoded = cascade.call(batch, ["bypass"], "hard").signals[0].numpy()[0]
    hop = cascade.config.hop
    restored = utilities.de_emphasise(decoded[hop : hop + len(real_speech)])
    error = np.sum((restored - real_speech) ** 2) / np.sum(real_speech**2)
    assert 10 * np.log10(error) < -80


def test_every_weight_has_a_gradient(cascade: SpectralCascade, batch: SpectralBatch) -> None:
    with tf.GradientTape() as tape:
        output = cascade.call(batch, ["straight_through"] * 2, "straight_through")
        loss = tf.add_n([tf.reduce_sum(bits) for bits in output.bits])
        loss += sum(tf.reduce_sum(tf.square(signal)) for signal in output.signals)
    variables = cascade.variables_of((0, 1), front_end=True)
    assert len(variables) == len(cascade.trainable_variables)
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert gradient is not None and np.isfinite(tf.convert_to_tensor(gradient)).all(), variable.path


def test_the_quantiser_takes_the_nearest_bin_even_where_bins_have_moved() -> None:
    quantizer = UniformQuantizer()
    generator = np.random.default_rng(0)
    quantizer.codebook.assign(quantizer.codebook + generator.uniform(-0.3, 0.3, 2 * LARGEST + 1))
    codes = generator.uniform(-150, 150, (4, 4000)).astype(np.float32)
    bins = np.asarray(quantizer.codebook)
    nearest = np.abs(codes[..., None] - bins).argmin(-1) - LARGEST
    np.testing.assert_array_equal(quantizer(codes).indices, nearest)
    np.testing.assert_array_equal(quantizer(codes).decoded, bins[nearest + LARGEST])


def test_a_bin_nearer_to_zero_is_taken_where_its_bits_are_worth_the_error() -> None:
    quantizer, saved = UniformQuantizer(), tf.constant([1.0, 3.0, 9.0, 9.5, 0.0])
    codes = tf.constant([0.6, 0.6, -2.45, 0.95, 0.3])
    with tf.GradientTape() as tape:
        tape.watch(codes)
        nearest = quantizer(codes, decision="straight_through")
        chosen = quantizer.nearer_to_zero(nearest, saved, 0.1)
        decoded = tf.reduce_sum(chosen.decoded)
    # squared errors grow by 0.2, 0.2, 1.9, 0.9
    np.testing.assert_array_equal(nearest.indices, [1, 1, -2, 1, 0])
    np.testing.assert_array_equal(chosen.indices, [1, 0, -2, 0, 0])
    np.testing.assert_array_equal(chosen.decoded, chosen.indices)
    np.testing.assert_array_equal(tape.gradient(decoded, codes), np.ones(5))


def test_bins_lie_evenly_up_to_47_and_then_further_and_further_apart() -> None:
    bins = np.asarray(UniformQuantizer().codebook)
    half = bins[LARGEST:]
    np.testing.assert_array_equal(half[:49], np.arange(49))
    np.testing.assert_allclose(np.diff(half)[48:] / np.diff(half)[47:-1], 1.2, rtol=1e-4)
    np.testing.assert_array_equal(bins, -bins[::-1])


def test_codes_beyond_the_last_bin_have_no_gradient() -> None:
    quantizer, codes = UniformQuantizer(), tf.constant([-150.0, -3.2, 0.4, 145.0])
    with tf.GradientTape() as tape:
        tape.watch(codes)
        decoded = tf.reduce_sum(quantizer(codes, decision="straight_through").decoded)
    np.testing.assert_array_equal(tape.gradient(decoded, codes), [0, 1, 1, 0])


def test_gain_indices_are_a_decibel_and_a_half_apart() -> None:
    spectra = tf.constant(10 ** (np.arange(-60, 12, 6) / 20), tf.float32)[:, None, None] * tf.ones([1, 1, 320])
    positions = gain_position(spectra, tf.zeros([1, 1, 320]))[:, 0]
    np.testing.assert_allclose(np.diff(positions), 4, atol=1e-3)
    np.testing.assert_allclose(tf.exp(log_gain(positions)), spectra[:, 0, 0], rtol=1e-3)
    assert positions.numpy().min() >= 0 and positions.numpy().max() < GAIN_LEVELS


def test_frames_cover_every_sample_of_a_signal_with_both_halves_of_the_overlap() -> None:
    for num_samples in (1, 319, 320, 321, 640, 6400, 16001):
        frames = number_of_frames(num_samples, 320)
        assert (2 * frames - 1) * 320 >= num_samples > (2 * frames - 3) * 320 - 1


def test_levels_follow_groups(real_speech: Array, cascade: SpectralCascade) -> None:
    levels = file_batch(real_speech, cascade.config, 0.0, 4).levels.numpy()[0]
    assert all(len(set(levels[first : first + 8].tolist())) == 1 for first in range(0, len(levels), 8))
    loud = file_batch(2 * real_speech, cascade.config, 0.0, 4).levels.numpy()[0]
    np.testing.assert_allclose(loud / levels, 2, rtol=0.01)  # 6.02 dB are four steps


def test_the_envelope_rises_with_the_level_by_its_gain_whose_rounding_passes_gradients(
    cascade: SpectralCascade, batch: SpectralBatch
) -> None:
    front_end: SpectralEnvelope = cascade.front_end
    spectra = mdct(batch.signals, cascade.window, cascade.hop)[:, 20:30]  # all of it speech
    shape = tf.zeros_like(spectra)
    log_level = tf.zeros([10])
    with tf.GradientTape() as tape, pytest.MonkeyPatch.context() as patch:
        patch.setattr(front_end, "log_shape", lambda lsf, count: shape)
        tape.watch(log_level)
        louder = spectra * tf.exp(log_level)[None, :, None]
        envelope = front_end(batch.signals, louder).log
        rise = tf.reduce_sum(tf.reduce_mean(envelope, -1))
    np.testing.assert_allclose(tape.gradient(rise, log_level), np.ones(10), rtol=1e-4)


def test_the_gradient_of_bits_in_a_code_is_what_its_neighbours_among_the_bins_cost() -> None:
    rate = CoefficientRate(64, LARGEST, 0)  # a fresh one, whose contexts have no say yet
    rate.bin_offsets.assign(tf.fill([64], FIRST_LOG_SCALE + 13.001 * LOG_SCALE_STEP))  # at a table, not between two
    facts = Known(tf.zeros([1, 1, 64]), tf.zeros([1, 1]), tf.zeros([1, 1, 2]))
    whole = np.random.default_rng(2).choice([-7, -3, -2, -1, 1, 2, 5, 9], (1, 1, 64)).astype(np.float32)
    code = tf.constant(whole + 0.2)
    with tf.GradientTape() as tape:
        tape.watch(code)
        bits = rate(UniformQuantizer()(code, decision="straight_through").indices, facts)
    found = tape.gradient(bits, code).numpy()[0, 0]

    def bits_with(change: float, place: int) -> float:
        return float(rate(tf.constant(whole + change * np.eye(64, dtype=np.float32)[place]), facts)[0])

    expected = [(bits_with(1, place) - bits_with(-1, place)) / 2 for place in range(8)]
    np.testing.assert_allclose(found[:8], expected, rtol=1e-2)
