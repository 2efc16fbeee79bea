import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import softmax

from constants import MU
from nn_core_operator import (
    BottleneckBlock,
    Convolution,
    EndConvolution,
    GatedBlock,
    SoftToHardQuantizer,
    SubPixelUpsampling,
    leaky_relu,
    mu_law_compress,
    mu_law_expand,
    networks_compute_in,
    scalar_codebook,
    vector_codebook,
)

Array = NDArray[np.float32]
Floats = NDArray[np.floating]

ALPHA = -300.0


def noise(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolve(signal: Floats, kernel: Floats, bias: Floats, dilation: int = 1) -> NDArray[np.float64]:
    """Same-padded correlation [batch, time, in] * [taps, in, out] in float64 by its definition."""
    taps, time = len(kernel), signal.shape[1]
    before = (taps - 1) * dilation // 2
    padded = np.pad(signal.astype(np.float64), [(0, 0), (before, (taps - 1) * dilation - before), (0, 0)])
    shifted = [padded[:, tap * dilation : tap * dilation + time] @ kernel[tap] for tap in range(taps)]
    return np.sum(shifted, axis=0) + bias


def leaky(signal: Floats) -> Floats:
    return np.where(signal > 0, signal, 0.2 * signal)


def randomise_biases(layer: keras.layers.Layer) -> None:
    """Zero biases would hide a forgotten one."""
    for number, variable in enumerate(layer.weights):
        if len(variable.shape) == 1:
            variable.assign(0.1 * noise(*variable.shape, seed=number))


@pytest.mark.parametrize(
    ("kernel", "channels_in", "channels"), [(55, 1, 6), (55, 6, 1), (9, 1, 6), (33, 6, 1), (1, 1, 2)]
)
def test_an_end_convolution_equals_its_definition_and_its_gradient(
    kernel: int, channels_in: int, channels: int
) -> None:
    layer = EndConvolution(channels, kernel)
    signal = tf.constant(noise(3, 64, channels_in))
    layer.build(signal.shape)
    layer.bias.assign(noise(channels))
    expected = convolve(signal.numpy(), layer.kernel.numpy(), layer.bias.numpy())
    np.testing.assert_allclose(layer(signal), expected, atol=2e-5)
    plain = keras.layers.Conv1D(channels, kernel, padding="same")
    plain.build(signal.shape)
    plain.set_weights(layer.get_weights())
    gradients = []
    for each in (layer, plain):
        with tf.GradientTape() as tape:
            tape.watch(signal)
            loss = tf.reduce_sum(tf.square(each(signal)))
        gradients.append(tape.gradient(loss, [signal, *each.trainable_variables]))
    for found, wanted in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.max(np.abs(wanted)))
    graph = tf.function(layer).get_concrete_function(signal).graph
    assert not any("Conv" in operation.type for operation in graph.get_operations())


def test_a_network_computes_in_bfloat16_only_where_asked() -> None:
    block = GatedBlock(8, 4, 5, 3, 2, activate=True)
    signal = noise(2, 16, 8)
    exact = block(signal)
    with networks_compute_in("bfloat16"):
        rounded = block(signal)
    assert rounded.dtype == tf.bfloat16
    assert {weight.dtype for weight in block.weights} == {"float32"}
    difference = np.abs(tf.cast(rounded, tf.float32) - exact) / np.max(np.abs(exact))
    assert 0 < np.max(difference) < 0.03  # a bfloat16 has 8 bits
    np.testing.assert_array_equal(block(signal), exact)


@pytest.mark.parametrize(("kernel", "dilation", "time"), [(15, 1, 64), (15, 2, 64), (9, 4, 64), (5, 2, 31), (5, 3, 16)])
def test_a_dilated_convolution_equals_its_definition(kernel: int, dilation: int, time: int) -> None:
    layer = Convolution(6, kernel, dilation_rate=dilation)
    signal = noise(3, time, 4)
    found = layer(signal)
    layer.bias.assign(noise(6))
    expected = convolve(signal, layer.kernel.numpy(), layer.bias.numpy(), dilation)
    assert layer.kernel.shape == (kernel, 4, 6)
    assert found.shape == (3, time, 6)
    np.testing.assert_allclose(layer(signal), expected, atol=1e-5)


@pytest.mark.parametrize("dilation", [1, 2])
def test_the_gradient_of_a_dilated_convolution_agrees_with_a_transposed_sum(dilation: int) -> None:
    layer = Convolution(6, 5, dilation_rate=dilation)
    signal, weights = tf.Variable(noise(2, 32, 4)), noise(2, 32, 6, seed=2)
    layer(signal)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(signal) * weights)
    by_signal, by_kernel = tape.gradient(total, [signal, layer.kernel])
    # the layer is linear in signal and kernel, so that each gradient is a correlation with the other
    padded = np.pad(signal.numpy().astype(np.float64), [(0, 0), (2 * dilation, 2 * dilation), (0, 0)])
    expected = [np.einsum("bti,bto->io", padded[:, k * dilation : k * dilation + 32], weights) for k in range(5)]
    np.testing.assert_allclose(by_kernel, np.array(expected), rtol=1e-4, atol=1e-4)
    mirrored = layer.kernel.numpy()[::-1].transpose(0, 2, 1)
    np.testing.assert_allclose(by_signal, convolve(weights, mirrored, np.zeros(4), dilation), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("activate", [True, False])
def test_a_gated_block_equals_two_separate_convolutions_and_their_product(dilation: int, activate: bool) -> None:
    block = GatedBlock(wide=10, narrow=4, gate_kernel=15, back_kernel=9, dilation=dilation, activate=activate)
    signal = noise(2, 48, 10)
    block(signal)
    randomise_biases(block)
    neck = leaky(convolve(signal, block.neck.kernel.numpy(), block.neck.bias.numpy()))
    kernel, bias = block.branches.kernel.numpy(), block.branches.bias.numpy()
    linear = convolve(neck, kernel[:, :, :4], bias[:4], dilation)
    gate = np.tanh(convolve(neck, kernel[:, :, 4:], bias[4:], dilation))
    widened = signal + convolve(linear * gate, block.back.kernel.numpy(), block.back.bias.numpy())
    np.testing.assert_allclose(block(signal), leaky(widened) if activate else widened, atol=1e-5)


def test_the_fused_gate_starts_within_glorot_s_bound_for_both_branches_together() -> None:
    block = GatedBlock(wide=100, narrow=20, gate_kernel=15, back_kernel=9, dilation=1, activate=False)
    block.build((1, 512, 100))
    largest = np.abs(block.branches.kernel.numpy()).max()
    together, apart = math.sqrt(6 / (15 * (20 + 40))), math.sqrt(6 / (15 * (20 + 20)))
    assert largest == pytest.approx(together, rel=0.01)
    assert together / apart == pytest.approx(0.816, abs=0.001)


@pytest.mark.parametrize("activate", [True, False])
def test_a_bottleneck_block_is_narrow_dilated_wide_and_a_skip(activate: bool) -> None:
    block = BottleneckBlock(wide=10, narrow=4, neck_kernel=7, outer_kernel=9, dilation=2, activate=activate)
    signal = noise(2, 48, 10)
    block(signal)
    randomise_biases(block)
    assert block.neck.kernel.shape == (9, 10, 4)
    assert block.dilated.kernel.shape == (7, 4, 4)
    inner = leaky(convolve(signal, block.neck.kernel.numpy(), block.neck.bias.numpy()))
    inner = leaky(convolve(inner, block.dilated.kernel.numpy(), block.dilated.bias.numpy(), 2))
    widened = signal + convolve(inner, block.back.kernel.numpy(), block.back.bias.numpy())
    np.testing.assert_allclose(block(signal), leaky(widened) if activate else widened, atol=1e-5)


def test_the_skip_connection_broadcasts_one_channel_to_all() -> None:
    block = GatedBlock(wide=10, narrow=4, gate_kernel=15, back_kernel=9, dilation=1, activate=False)
    code = noise(2, 32, 1)
    block(code)
    block.back.kernel.assign(tf.zeros(block.back.kernel.shape))
    np.testing.assert_array_equal(block(code), np.repeat(code, 10, axis=2))


def test_the_leaky_slope_is_a_fifth() -> None:
    np.testing.assert_allclose(leaky_relu(tf.constant([-5.0, -1.0, 0.0, 2.0])), [-1.0, -0.2, 0.0, 2.0])


def test_sub_pixel_upsampling_moves_the_halves_of_the_channels_into_neighbouring_samples() -> None:
    signal = noise(3, 7, 6)
    expected = np.empty((3, 14, 3), np.float32)
    expected[:, 0::2], expected[:, 1::2] = signal[:, :, :3], signal[:, :, 3:]
    np.testing.assert_array_equal(SubPixelUpsampling()(signal), expected)


def test_mu_law_is_the_closed_form_and_expansion_undoes_it() -> None:
    code = np.linspace(-1, 1, 2001)
    closed_form = np.sign(code) * np.log(1 + MU * np.abs(code)) / np.log(1 + MU)
    companded = mu_law_compress(tf.constant(code, tf.float32))
    np.testing.assert_allclose(companded, closed_form, atol=1e-6)
    assert (companded.numpy()[0], companded.numpy()[-1]) == (-1.0, 1.0)
    np.testing.assert_allclose(mu_law_expand(companded), code, atol=1e-6)


def test_initial_codebooks_are_uniform_levels_and_a_uniform_grid() -> None:
    np.testing.assert_allclose(scalar_codebook(5), [-1, -0.5, 0, 0.5, 1])
    grid = vector_codebook()
    assert grid.shape == (1024, 2)
    assert len(np.unique(grid, axis=0)) == 1024
    np.testing.assert_allclose(np.unique(grid), np.arange(32) * 0.2 / 31 - 0.1, atol=1e-8)


def irregular_quantizer(bins: int = 32, alpha: float = ALPHA) -> SoftToHardQuantizer:
    """Bins that training has moved out of order."""
    levels = np.random.default_rng(3).uniform(-1, 1, bins).astype(np.float32)
    return SoftToHardQuantizer(levels, alpha)


def test_the_hard_decision_is_the_nearest_bin() -> None:
    quantizer, code = irregular_quantizer(), np.tanh(noise(8, 64, 1))
    levels = quantizer.codebook.numpy()
    found = quantizer(code, decision="hard")
    nearest = np.abs(code[..., None].astype(np.float64) - levels).argmin(-1)
    np.testing.assert_array_equal(found.symbols, nearest)
    np.testing.assert_array_equal(found.decoded, levels[nearest])
    assert found.symbols.dtype == tf.int32
    assert found.assignments is None


@pytest.mark.parametrize("alpha", [-300.0, -20.0])
def test_the_soft_decision_is_the_mixture_of_a_softmax_over_distances(alpha: float) -> None:
    quantizer, code = irregular_quantizer(alpha=alpha), np.tanh(noise(8, 64, 2))
    levels = quantizer.codebook.numpy().astype(np.float64)
    found = quantizer(code, decision="soft")
    assignments = softmax(alpha * np.abs(code[..., None].astype(np.float64) - levels), axis=-1)
    assert float(quantizer.alpha) == pytest.approx(alpha, rel=1e-6)
    assert found.assignments.shape == (8, 64, 2, 32)
    np.testing.assert_allclose(found.assignments, assignments, atol=1e-4)
    np.testing.assert_allclose(found.decoded, assignments @ levels, atol=1e-4)


def test_the_soft_mixture_becomes_the_hard_decision_as_alpha_grows() -> None:
    # halfway between two bins it never does, so the code keeps away from there
    levels = scalar_codebook(32)
    code = (levels + 0.3 * (levels[1] - levels[0]))[None, :-1, None]
    gaps = []
    for alpha in (-10.0, -50.0, -300.0, -1000.0):
        quantizer = SoftToHardQuantizer(levels, alpha)
        gaps.append(np.abs(quantizer(code, decision="soft").decoded - quantizer(code).decoded).max())
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3]
    assert gaps[3] < 1e-6


def test_straight_through_decodes_exactly_the_hard_decision() -> None:
    quantizer, code = irregular_quantizer(), np.tanh(noise(64, 256, 1))
    straight, hard = quantizer(code, decision="straight_through"), quantizer(code)
    np.testing.assert_array_equal(straight.decoded, hard.decoded)
    np.testing.assert_array_equal(straight.symbols, hard.symbols)


def test_straight_through_hands_the_gradient_on_and_gives_every_bin_that_of_its_codes() -> None:
    quantizer, code = irregular_quantizer(), tf.Variable(np.tanh(noise(8, 64, 1)))
    weights = noise(8, 64, 1, seed=5)
    with tf.GradientTape() as tape:
        found = quantizer(code, decision="straight_through")
        total = tf.reduce_sum(found.decoded * weights)
    by_code, by_codebook = tape.gradient(total, [code, quantizer.codebook])
    np.testing.assert_array_equal(by_code, weights)
    symbols = found.symbols.numpy().reshape(-1)
    expected = np.bincount(symbols, weights.reshape(-1), minlength=32)
    np.testing.assert_allclose(tf.convert_to_tensor(by_codebook), expected, atol=1e-5)


def test_the_bins_gradient_counts_their_codes() -> None:
    quantizer, code = irregular_quantizer(), np.tanh(noise(8, 64, 1))
    with tf.GradientTape() as tape:
        found = quantizer(code, decision="straight_through")
        total = tf.reduce_sum(found.decoded)
    counts = np.bincount(found.symbols.numpy().reshape(-1), minlength=32)
    by_codebook = tf.convert_to_tensor(tape.gradient(total, quantizer.codebook))
    np.testing.assert_array_equal(by_codebook, counts)


@pytest.mark.parametrize("decision", ["soft", "straight_through", "bypass"])
@pytest.mark.parametrize("codebook", [scalar_codebook(32), vector_codebook()], ids=["scalar", "vector"])
def test_gradients_are_finite_though_most_assignments_underflow(decision: str, codebook: Array) -> None:
    quantizer = SoftToHardQuantizer(codebook, ALPHA)
    values = np.concatenate([codebook.reshape(-1)[:8], [-1.0, 1.0, 0.0, 0.0], 0.3 * noise(20)]).astype(np.float32)
    code = tf.Variable(values[None, :, None])
    with tf.GradientTape() as tape:
        found = quantizer(code, decision=decision)
        penalty = tf.reduce_sum(tf.sqrt(found.assignments + 1e-20))
        total = tf.reduce_sum(tf.square(found.decoded)) + penalty
    gradients = tape.gradient(total, [code, quantizer.codebook, quantizer.log_scale])
    assert np.min(found.assignments) < 1e-30
    for gradient in gradients:
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()
        assert np.any(tf.convert_to_tensor(gradient))


def test_the_soft_mixture_s_gradients_agree_with_finite_differences_in_float64() -> None:
    quantizer, code = irregular_quantizer(bins=6, alpha=-20.0), np.tanh(noise(1, 5, 1))
    variable = tf.Variable(code)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.square(quantizer(variable, decision="soft").decoded))
    by_code, by_codebook, by_scale = tape.gradient(total, [variable, quantizer.codebook, quantizer.log_scale])
    start = np.concatenate([code.reshape(-1), quantizer.codebook.numpy(), [math.log(20.0)]]).astype(np.float64)

    def truth(values: NDArray[np.float64]) -> float:
        codes, levels, scale = values[:5], values[5:11], values[11]
        assignments = softmax(-np.exp(scale) * np.abs(codes[:, None] - levels), axis=-1)
        return float(np.sum((assignments @ levels) ** 2))

    steps = 1e-6 * np.eye(12)
    expected = [(truth(start + step) - truth(start - step)) / 2e-6 for step in steps]
    found = np.concatenate([np.reshape(by_code, -1), tf.convert_to_tensor(by_codebook), [by_scale]])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 256, 1), (6, 32, 8)], ids=["neighbours in time", "neighbours in channels"])
def test_the_vector_quantiser_finds_what_brute_force_finds(shape: tuple[int, ...]) -> None:
    codebook = vector_codebook() + 0.002 * noise(1024, 2)
    quantizer, code = SoftToHardQuantizer(codebook, ALPHA), 0.08 * noise(*shape)
    pairs = code.reshape(-1, 2).astype(np.float64)
    distances = np.sqrt(((pairs[:, None] - codebook.astype(np.float64)) ** 2).sum(-1))
    found = quantizer(code, decision="soft")
    chosen = distances[np.arange(len(pairs)), found.symbols.numpy().reshape(-1)]
    # two entries may be equally near but for rounding
    np.testing.assert_allclose(chosen, distances.min(-1), atol=2e-5)
    assert np.mean(found.symbols.numpy().reshape(-1) == distances.argmin(-1)) > 0.99
    assignments = softmax(ALPHA * distances, axis=-1)
    np.testing.assert_allclose(found.decoded.numpy().reshape(-1, 2), assignments @ codebook, atol=1e-3)
    np.testing.assert_array_equal(
        quantizer(code).decoded.numpy().reshape(-1, 2), codebook[found.symbols.numpy().reshape(-1)]
    )
    assert found.symbols.shape[1:] == quantizer.symbols_shape(shape[1:])
    assert quantizer(code).decoded.shape == shape


@pytest.mark.parametrize("codebook", [scalar_codebook(32), vector_codebook()], ids=["scalar", "vector"])
@pytest.mark.parametrize("shape", [(256, 1), (32, 8)])
def test_decoding_the_symbols_gives_the_hard_decision(codebook: Array, shape: tuple[int, int]) -> None:
    quantizer = SoftToHardQuantizer(codebook, ALPHA)
    found = quantizer(0.1 * noise(5, *shape))
    np.testing.assert_array_equal(quantizer.decode(found.symbols, shape), found.decoded)


def test_bypass_decodes_the_code_itself_and_still_names_its_symbols() -> None:
    quantizer, code = irregular_quantizer(), np.tanh(noise(4, 32, 1))
    found = quantizer(code, decision="bypass")
    np.testing.assert_array_equal(found.decoded, code)
    np.testing.assert_array_equal(found.symbols, quantizer(code).symbols)


def test_a_codebook_moves_in_training_only_where_it_may() -> None:
    trained = SoftToHardQuantizer(scalar_codebook(8), ALPHA)
    fixed = SoftToHardQuantizer(scalar_codebook(8), ALPHA, trainable_codebook=False, trainable_alpha=False)
    assert [variable.name for variable in trained.trainable_variables] == ["codebook", "log_scale"]
    assert fixed.trainable_variables == []
    assert len(fixed.weights) == 2


def test_the_gap_between_soft_and_hard_is_their_root_mean_square_difference() -> None:
    quantizer, code = irregular_quantizer(alpha=-30.0), np.tanh(noise(4, 32, 1))
    soft = quantizer(code, decision="soft")
    expected = np.sqrt(np.mean((soft.decoded - quantizer(code).decoded) ** 2))
    assert expected > 1e-3
    assert float(quantizer.soft_hard_gap(soft)) == pytest.approx(expected, rel=1e-4)


def test_an_unknown_decision_is_named() -> None:
    with pytest.raises(ValueError, match="not 'firm'"):
        irregular_quantizer()(noise(1, 4, 1), decision="firm")
