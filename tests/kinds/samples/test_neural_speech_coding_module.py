import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from constants import MU
from kinds.samples.cascade import SampleCascade
from loss_terms_and_measures import assignment_entropy, quantisation_penalty
from neural_speech_coding_module import NeuralSpeechCodec
from options.config import Config
from utilities import cut_frames

Array = NDArray[np.float32]

TINY = Config(
    num_modules=1, block="folded", fold=32, folded_width=16, folded_narrow=8, folded_blocks=2, shape=(5, 3, 8, 4, 1, 2)
)
BLOCKS = ("gln", "bottleneck", "folded")


def tiny(**changes: Any) -> NeuralSpeechCodec:
    return NeuralSpeechCodec(dataclasses.replace(TINY, **changes), 0)


@pytest.fixture
def frames(real_speech: Array) -> Array:
    """A batch of real speech at unit level."""
    loud = cut_frames(real_speech)[20:28]
    return loud / loud.std()


def number_of_weights(layer: Any) -> int:
    return sum(int(np.prod(variable.shape)) for variable in layer.weights)


def test_the_gated_codec_has_350152_weights_as_published() -> None:
    codec = NeuralSpeechCodec(Config(), 0)
    assert number_of_weights(codec.encoder) == 229_841
    assert number_of_weights(codec.decoder) == 120_311
    assert number_of_weights(codec) == 350_152 + 32 + 1


@pytest.mark.parametrize(
    ("block", "stride", "weights"),
    [("bottleneck", 2, 458_052), ("gln", 4, 540_367), ("bottleneck", 4, 674_137)],
)
def test_other_codecs_have_as_many_weights_as_published(block: str, stride: int, weights: int) -> None:
    codec = NeuralSpeechCodec(Config(block=block, strides=(stride,), bins=(48,)), 0)
    assert number_of_weights(codec) == weights + 48 + 1


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"block": "bottleneck", "num_modules": 1}, 458_342),  # the papers' 0.45 M
        ({"block": "bottleneck"}, 916_427),  # and 0.9 M
        ({"block": "gln"}, 700_627),
        ({"block": "gln", "num_modules": 1}, 350_442),
        ({"block": "gln", "strides": (4,), "num_modules": 1}, 540_657),
        ({"block": "gln", "strides": (4,)}, 1_081_057),
    ],
)
def test_cascades_have_the_sizes_of_the_papers_and_two_gated_codecs_at_stride_4_exceed_the_million(
    options: dict[str, Any], parameters: int
) -> None:
    assert SampleCascade(Config(**options)).count_parameters() == parameters


def test_the_folded_codec_has_as_many_weights_as_its_layers_add_up_to() -> None:
    fold, wide, narrow, kernel, ends = 16, 144, 64, 5, 3
    block = (wide * narrow + narrow) + (kernel * narrow * 2 * narrow + 2 * narrow) + (ends * narrow * wide + wide)
    codes = fold // 2
    encoder = (ends * fold * wide + wide) + 3 * block + (ends * wide * codes + codes)
    decoder = (ends * codes * wide + wide) + 3 * block + (ends * wide * fold + fold)
    codec = NeuralSpeechCodec(Config(block="folded"), 0)
    assert number_of_weights(codec.encoder) == encoder
    assert number_of_weights(codec.decoder) == decoder


def polynomials(count: int) -> tf.Tensor:
    """A of order 16 with one pole pair each, of different frequencies."""
    angles = np.linspace(0.2, 2.8, count)
    poles = np.stack([np.ones(count), -1.8 * np.cos(angles), np.full(count, 0.81)], axis=1)
    return tf.constant(np.pad(poles, [(0, 0), (0, 14)]).astype(np.float32))


def test_a_codec_that_knows_the_envelope_begins_as_one_that_does_not(frames: Array) -> None:
    plain, knowing = tiny(), tiny(film_units=4)
    shared = [weight for weight in knowing.weights if "film" not in weight.path]
    for variable, source in zip(shared, plain.weights, strict=True):
        variable.assign(source)
    np.testing.assert_array_equal(knowing(frames, polynomials(len(frames)))[0], plain(frames)[0])


def test_a_codec_that_knows_the_envelope_codes_and_decodes_with_it(frames: Array) -> None:
    codec = tiny(film_units=4)
    for variable in codec.weights:
        if "film" in variable.path:
            variable.assign(np.random.default_rng(2).normal(0, 0.5, variable.shape))
    right, wrong = polynomials(len(frames)), polynomials(len(frames))[::-1]
    decoded, quantised = codec(frames, right)
    np.testing.assert_array_equal(codec.decode(quantised.symbols, right), decoded)
    assert np.any(codec.decode(quantised.symbols, wrong).numpy() != decoded)
    assert np.any(codec(frames, wrong)[1].symbols != quantised.symbols)


def test_film_adds_two_small_layers_behind_each_trunk_layer() -> None:
    units, wide, trunk_layers = 8, 144, 1 + 3
    film = (32 * units + units) + (units * 2 * wide + 2 * wide)
    difference = number_of_weights(NeuralSpeechCodec(Config(block="folded", film_units=units), 0)) - number_of_weights(
        NeuralSpeechCodec(Config(block="folded"), 0)
    )
    assert difference == 2 * trunk_layers * film


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("stride", "codes"), [(2, 256), (4, 128)])
def test_a_frame_is_sent_as_256_or_128_symbols(block: str, stride: int, codes: int, frames: Array) -> None:
    codec = tiny(block=block, strides=(stride,))
    decoded, quantised = codec(frames)
    assert decoded.shape == frames.shape
    assert quantised.symbols.shape == (len(frames), *codec.symbols_shape)
    assert math.prod(codec.symbols_shape) == codes


@pytest.mark.parametrize(("block", "stride"), [("gln", 2), ("folded", 2), ("folded", 4)])
def test_a_vector_quantiser_sends_half_as_many_symbols_of_1024(block: str, stride: int, frames: Array) -> None:
    codec = tiny(block=block, strides=(stride,), quantizer="vector")
    decoded, quantised = codec(frames)
    assert codec.quantizer.codebook.shape == (1024, 2)
    assert math.prod(codec.symbols_shape) == 512 // stride // 2
    assert quantised.symbols.shape == (len(frames), *codec.symbols_shape)
    assert decoded.shape == frames.shape


@pytest.mark.parametrize(
    "changes", [{"block": "gln"}, {"quantizer": "vector"}, {"mu_law": True}, {"res_scalar": 0.5}], ids=str
)
def test_decoding_the_symbols_equals_the_call_with_hard_decisions(changes: dict[str, Any], frames: Array) -> None:
    codec = tiny(**changes)
    decoded, quantised = codec(frames, decision="hard")
    np.testing.assert_array_equal(codec.decode(quantised.symbols), decoded)
    assert len(np.unique(quantised.symbols)) > 1


@pytest.mark.parametrize("mu_law", [False, True])
def test_the_call_is_encoder_then_nearest_bin_then_decoder(mu_law: bool, frames: Array) -> None:
    codec = tiny(mu_law=mu_law, bins=(8,))
    code = codec.encoder(frames[..., None]).numpy()
    assert np.abs(code).max() < 1
    companded = np.sign(code) * np.log1p(MU * np.abs(code)) / np.log1p(MU) if mu_law else code
    levels = np.linspace(-1, 1, 8)
    symbols = np.abs(companded[..., None] - levels).argmin(-1)
    chosen = levels[symbols]
    expanded = np.sign(chosen) * ((1 + MU) ** np.abs(chosen) - 1) / MU if mu_law else chosen
    decoded, quantised = codec(frames)
    np.testing.assert_array_equal(quantised.symbols, symbols)
    np.testing.assert_allclose(decoded, codec.decoder(expanded.astype(np.float32))[..., 0], atol=1e-6)


def test_the_bypass_with_mu_law_hands_the_code_through_both_compandings(frames: Array) -> None:
    codec = tiny(mu_law=True)
    decoded, _ = codec(frames, decision="bypass")
    np.testing.assert_allclose(decoded, codec.decoder(codec.encoder(frames[..., None]))[..., 0], atol=1e-5)


@pytest.mark.parametrize("gradient", ["straight_through", "soft"])
def test_a_vector_quantiser_that_starts_on_the_grid_knows_no_bypass(gradient: str, frames: Array) -> None:
    codec = tiny(quantizer="vector", vector_start="grid", quantizer_gradient=gradient)
    np.testing.assert_array_equal(codec(frames, decision="bypass")[0], codec(frames, decision=gradient)[0])


def test_a_vector_quantiser_that_starts_from_codes_is_bypassed_till_then(frames: Array) -> None:
    codec = tiny(quantizer="vector")
    np.testing.assert_allclose(
        codec(frames, decision="bypass")[0], codec.decoder(codec.encoder(frames[..., None]))[..., 0], atol=1e-6
    )


def test_alpha_starts_by_kind_so_that_neighbours_lie_as_many_nats_apart(frames: Array) -> None:
    scalar, vector = tiny(bins=(32,)), tiny(quantizer="vector")
    assert (float(scalar.quantizer.alpha), float(vector.quantizer.alpha)) == pytest.approx((-50.0, -500.0))
    nats = [50.0 * 2 / 31, 500.0 * 0.2 / 31]
    assert nats == pytest.approx([3.2, 3.2], abs=0.05)


def test_each_module_has_its_own_kind_of_quantiser() -> None:
    config = dataclasses.replace(TINY, num_modules=3, quantizer=("vector", "scalar"), bins=(32,))
    codebooks = [NeuralSpeechCodec(config, module).quantizer.codebook.shape for module in range(3)]
    assert codebooks == [(1024, 2), (32,), (32,)]


def test_res_scalar_scales_the_input_and_inversely_the_output(frames: Array) -> None:
    plain, scaled = tiny(), tiny(res_scalar=4.0)
    for variable, source in zip(scaled.weights, plain.weights, strict=True):
        variable.assign(source)
    expected, quantised = plain(4.0 * frames)
    decoded, scaled_quantised = scaled(frames)
    np.testing.assert_array_equal(scaled_quantised.symbols, quantised.symbols)
    np.testing.assert_allclose(decoded, expected / 4.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("block", "quantizer", "decision"),
    [
        ("gln", "scalar", "straight_through"),
        ("bottleneck", "vector", "soft"),
        ("folded", "scalar", "soft"),
        ("folded", "vector", "straight_through"),
    ],
)
def test_every_variable_gets_a_gradient_and_moves(block: str, quantizer: str, decision: str, frames: Array) -> None:
    codec = tiny(block=block, quantizer=quantizer, alpha_start=-20.0, quantizer_gradient=decision)
    before = [variable.numpy() for variable in codec.trainable_variables]
    with tf.GradientTape() as tape:
        decoded, quantised = codec(frames, decision=decision)
        loss = tf.reduce_mean(tf.square(decoded - frames))
        loss += quantisation_penalty(quantised.assignments) + assignment_entropy(quantised.assignments)
    gradients = tape.gradient(loss, codec.trainable_variables)
    tf.keras.optimizers.SGD(0.1).apply(gradients, codec.trainable_variables)
    names = [variable.path for variable in codec.trainable_variables]
    fixed = {variable.path.rsplit("/", 1)[-1] for variable in codec.non_trainable_variables}
    assert fixed == ({"log_scale"} if decision == "straight_through" else set())
    for name, gradient, old, variable in zip(names, gradients, before, codec.trainable_variables, strict=True):
        assert gradient is not None, name
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), name
        assert np.any(variable.numpy() != old), name


def shapes(codec: NeuralSpeechCodec) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in codec.encoder.trainable_variables if len(variable.shape) == 3]


def test_the_shape_flag_sets_kernels_and_widths_of_bottleneck_blocks() -> None:
    codec = tiny(block="bottleneck", shape=(5, 3, 8, 4, 1, 2), end_kernel=11)
    block = [(3, 8, 4), (5, 4, 4), (3, 4, 8)]
    assert shapes(codec) == [(11, 1, 8), *block, *block, (3, 8, 8), *block, *block, (11, 8, 1)]


def test_the_gated_kernel_and_the_end_kernel_are_flags_of_gated_blocks() -> None:
    codec = tiny(block="gln", shape=(5, 3, 8, 4, 1), gated_kernel=7, end_kernel=11)
    block = [(1, 8, 4), (7, 4, 8), (3, 4, 8)]
    assert shapes(codec) == [(11, 1, 8), *block, (3, 8, 8), *block, (11, 8, 1)]


def test_fold_width_blocks_and_kernel_are_flags_of_the_folded_network() -> None:
    codec = tiny(fold=64, folded_width=24, folded_narrow=12, folded_blocks=3, folded_kernel=7)
    block = [(1, 24, 12), (7, 12, 24), (3, 12, 24)]
    assert shapes(codec) == [(3, 64, 24), *block, *block, *block, (3, 24, 32)]
    assert codec.symbols_shape == (8, 32)


@pytest.mark.parametrize("block", ["gln", "bottleneck"])
def test_dilations_reach_as_far_as_they_say(block: str) -> None:
    """A sample moves the code as far away as kernels and dilations add up to, and no further."""
    codec = tiny(block=block, shape=(5, 3, 8, 4, 4), gated_kernel=5, end_kernel=3)
    sample = tf.Variable(np.random.default_rng(1).standard_normal((1, 512)).astype(np.float32))
    with tf.GradientTape() as tape:
        code = codec.encoder(sample[..., None])[0, 128, 0]
    reached = np.flatnonzero(tape.gradient(code, sample)[0])
    outer = 2 if block == "bottleneck" else 1  # kernel-3 convolutions of a block
    one_stack = outer + 2 * 4  # and one of kernel 5, dilated by 4
    after_the_stride = 1 + one_stack
    # code 128 sees, in pairs of samples, what lies so far on either side; the strided kernel of 3 pads at the end
    assert reached.min() == 2 * (128 - after_the_stride) - one_stack - 1
    assert reached.max() == 2 * (128 + after_the_stride) + 2 + one_stack + 1


def test_modules_take_their_own_strides_and_bins() -> None:
    config = dataclasses.replace(TINY, num_modules=2, strides=(4, 2), bins=(16, 64))
    first, second = NeuralSpeechCodec(config, 0), NeuralSpeechCodec(config, 1)
    assert (math.prod(first.symbols_shape), math.prod(second.symbols_shape)) == (128, 256)
    assert (first.quantizer.codebook.shape, second.quantizer.codebook.shape) == ((16,), (64,))
