import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kinds.samples.front_end import lsf_codebook
from kinds.spectral.batch import group_places, warm_mask
from kinds.spectral.rate import CLASSES, CoefficientRate, GainRate, Known, LsfRate
from nn_core_operator import SoftToHardQuantizer
from nsc.entropy.coefficient_model import LARGEST_INDEX as LARGEST
from nsc.entropy.neighbourhood import BEFORE, LONG_BEFORE, ROUNDS

BINS = 64
Array = NDArray[np.float32]


@pytest.fixture
def rate() -> CoefficientRate:
    tf.keras.utils.set_random_seed(5)
    rate = CoefficientRate(BINS, LARGEST, 0)
    generator = np.random.default_rng(5)
    for variable in rate.trainable_variables:
        variable.assign(variable + 0.1 * generator.standard_normal(variable.shape).astype(np.float32))
    return rate


def known(generator: np.random.Generator, spectra: int = 6, group: int = 4) -> Known:
    envelope = generator.standard_normal((1, spectra, BINS)).astype(np.float32)
    return Known(envelope, np.full((1, spectra), 0.3, np.float32), warm_mask(group_places(spectra, group))[None])


def test_rounds_code_every_bin_once_and_look_at_nothing_that_comes_later() -> None:
    done: set[int] = set()
    for first, step, current in ROUNDS:
        places = set(range(first, BINS, step))
        assert not places & done
        for distance in (d for each in current for d in each):
            inside = {place + distance for place in places if 0 <= place + distance < BINS}
            assert inside <= done
        done |= places
    assert done == set(range(BINS))
    assert max(abs(d) for each in (*BEFORE, *LONG_BEFORE) for d in each) <= 12


def test_probabilities_at_a_table_add_up_to_one(rate: CoefficientRate) -> None:
    lengths = rate.code_lengths().numpy()
    both_signs = np.concatenate([lengths[:, :1], np.repeat(lengths[:, 1:], 2, 1)], 1)
    np.testing.assert_allclose((2.0**-both_signs).sum(1), 1, rtol=1e-5)
    assert lengths.shape == (CLASSES, LARGEST + 1)


def test_bits_depend_on_the_past_of_the_own_group_only(rate: CoefficientRate) -> None:
    generator = np.random.default_rng(1)
    indices = generator.integers(-4, 5, (1, 6, BINS)).astype(np.float32)
    facts = known(generator)
    envelope = facts.envelope.copy()
    envelope[:, :4] += 1
    changed = indices.copy()
    changed[:, :4] = 0

    def bits_of_the_second_group(indices: Array, envelope: Array) -> float:
        whole = rate(indices, facts._replace(envelope=envelope))
        first = rate(indices[:, :4], Known(envelope[:, :4], facts.offset[:, :4], facts.warm[:, :4]))
        return float(whole[0] - first[0])

    assert bits_of_the_second_group(indices, facts.envelope) == pytest.approx(
        bits_of_the_second_group(changed, envelope), rel=1e-5
    )


def test_the_gradient_in_the_envelope_is_that_of_finite_differences(rate: CoefficientRate) -> None:
    generator = np.random.default_rng(2)
    indices = generator.integers(-3, 4, (1, 4, BINS)).astype(np.float32)
    facts = known(generator, 4)
    envelope = tf.constant(facts.envelope)
    with tf.GradientTape() as tape:
        tape.watch(envelope)
        bits = tf.reduce_sum(rate(indices, facts._replace(envelope=envelope)))
    gradient = tape.gradient(bits, envelope).numpy()
    direction = generator.standard_normal(envelope.shape).astype(np.float32)
    step = 1e-3
    ahead, behind = (
        float(rate(indices, facts._replace(envelope=envelope + sign * step * direction))[0]) for sign in (1, -1)
    )
    # tables meet with a kink, at which a few of the coefficients may stand
    assert (ahead - behind) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=0.05)


def test_larger_magnitudes_pull_towards_zero(rate: CoefficientRate) -> None:
    indices = tf.constant(np.full((1, 2, BINS), 3.0, np.float32))
    facts = known(np.random.default_rng(3), 2)
    with tf.GradientTape() as tape:
        tape.watch(indices)
        bits = tf.reduce_sum(rate(indices, facts))
    assert float(tf.reduce_mean(tape.gradient(bits, indices))) > 0


def test_what_one_bin_nearer_to_zero_saves_is_what_the_bits_say(rate: CoefficientRate) -> None:
    generator = np.random.default_rng(4)
    indices, facts = generator.integers(-4, 5, (1, 6, BINS)).astype(np.float32), known(generator)
    saved = rate.saved_nearer_to_zero(indices, facts).numpy()
    for place in range(1, BINS, 2):  # of the last spectrum's last round, which nothing comes after
        lower = indices.copy()
        lower[0, -1, place] -= np.sign(lower[0, -1, place])
        assert saved[0, -1, place] == pytest.approx(float(rate(indices, facts)[0] - rate(lower, facts)[0]), abs=2e-3)
    assert (saved[indices == 0] == 0).all()


def test_gains_cost_less_where_they_resemble_the_one_before() -> None:
    warm = np.ones((1, 8, 2), np.float32)
    steady = GainRate()(tf.fill([1, 8], 30), warm).numpy()
    jumping = GainRate()(tf.constant([[30, 10] * 4]), warm).numpy()
    assert steady.sum() < jumping.sum()
    assert GainRate()(tf.fill([1, 8], 30), np.zeros_like(warm)).numpy() == pytest.approx(6.0)


def test_lsf_probabilities_add_up_to_one_and_gradients_reach_the_levels() -> None:
    codebook = lsf_codebook()
    quantizer = SoftToHardQuantizer(codebook, -300.0)
    angles = np.sort(np.random.default_rng(4).uniform(0.1, 3.0, (6, 1, 16)), -1).astype(np.float32)
    rate, warm = LsfRate(), np.array([[0, 1, 1], [0, 1, 1]], np.float32)
    with tf.GradientTape() as tape:
        quantised = quantizer(angles, decision="straight_through")
        bits = rate(quantised, quantizer.codebook, warm)
        total = tf.reduce_sum(bits)
    assert bits.shape == (2, 3)
    assert np.abs(tf.convert_to_tensor(tape.gradient(total, quantizer.codebook))).max() > 0
    # one LSF, asked for the cost of each level in turn
    every = np.repeat(angles[:1], 256, 0)
    hard = quantizer(every, decision="hard")
    symbols = hard.symbols.numpy()
    symbols[:, 0, 15] = np.arange(256)
    costs = rate(hard._replace(symbols=tf.constant(symbols)), quantizer.codebook, np.zeros((256, 1), np.float32))
    rest = rate(hard, quantizer.codebook, np.zeros((256, 1), np.float32))
    shares = 2.0 ** -(costs - tf.reduce_min(rest)).numpy()[:, 0]
    own = 2.0 ** -float(rest[0, 0] - tf.reduce_min(rest))
    assert shares.max() >= own
