"""The enhancer of decoded speech: identity at the start, causal, the same in training, stream and LiteRT."""

import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from export.graph import as_litert
from kinds.spectral.decoded.enhancer import Enhancer
from kinds.spectral.graphs import enhancer_graph
from kinds.spectral.serving import KerasEnhancerNetwork
from nsc.kinds.spectral.enhancer import Enhancer as Stream
from nsc.kinds.spectral.enhancer import EnhancerNetwork, GraphEnhancer
from nsc.loading.litert import Graphs
from tests.helpers.spectral_cascade import batch_of, cascade_of

Array = NDArray[np.float32]
WIDTH = 16
LEVEL, OFFSET = 0.1, 0.25
FRAME = 640


def enhancer(*, stir: float = 0.0, width: int = WIDTH) -> Enhancer:
    """With fresh weights; `stir` moves those that start at zero, too."""
    keras.utils.set_random_seed(4)
    made = Enhancer(width)
    for layer in (made.gains, made.added) if stir else ():
        layer.kernel.assign(stir * np.random.default_rng(1).standard_normal(layer.kernel.shape))
    return made


def enhanced(of: Enhancer, signal: Array) -> Array:
    """A whole signal, as training sees it."""
    hops = np.ones((1, len(signal) // 320), np.float32)
    samples: Array = of.enhance(tf.constant(signal[None]), LEVEL * hops, OFFSET * hops, 1)[0].numpy()
    return samples


def streamed(network: EnhancerNetwork, size: int, signal: Array, group: int) -> Array:
    """A signal in groups of samples, as a decoder sees it."""
    stream = Stream(network, size, 1)
    groups = [stream(signal[start : start + group], LEVEL, OFFSET) for start in range(0, len(signal), group)]
    return np.concatenate(groups)


@pytest.fixture
def speech(real_speech: Array) -> Array:
    return real_speech[: 32 * FRAME]


def test_a_fresh_enhancer_is_the_identity(speech: Array) -> None:
    np.testing.assert_array_equal(enhanced(enhancer(), speech), speech)


def test_an_enhancer_of_96_channels_has_150_000_parameters_at_most() -> None:
    assert 100_000 < enhancer(width=96).count_params() < 150_000


def test_nothing_after_a_millisecond_changes_it(speech: Array) -> None:
    moved = enhancer(stir=0.2)
    before = enhanced(moved, speech)
    changed = speech.copy()
    changed[FRAME * 16 :] = np.random.default_rng(3).uniform(-0.5, 0.5, FRAME * 16)
    after = enhanced(moved, changed)
    assert np.abs(before - speech).max() > 1e-3
    np.testing.assert_array_equal(before[: FRAME * 16], after[: FRAME * 16])


def test_silence_stays_silent_and_soft_speech_is_changed_in_proportion(speech: Array) -> None:
    moved = enhancer(stir=0.2)
    silence = np.zeros(32 * FRAME, np.float32)
    assert not np.abs(enhanced(moved, silence)).max() > 1e-9
    pause = np.concatenate([speech[: 16 * FRAME], silence])
    assert not np.abs(enhanced(moved, pause)[16 * FRAME + 2 * 640 :]).max() > 1e-9
    soft = 1e-4 * speech
    assert np.abs(enhanced(moved, soft) - soft).max() < 10 * np.abs(soft).max()


@pytest.fixture(params=["keras", "litert"])
def network_of(request: pytest.FixtureRequest) -> Callable[[Enhancer], EnhancerNetwork]:
    if request.param == "keras":
        return KerasEnhancerNetwork

    def litert(of: Enhancer) -> EnhancerNetwork:
        graph = as_litert(enhancer_graph(of), "float32")
        return GraphEnhancer(Graphs(lambda _: graph))

    return litert


def test_a_stream_in_groups_of_any_length_gives_what_training_sees(
    speech: Array, network_of: Callable[[Enhancer], EnhancerNetwork]
) -> None:
    moved = enhancer(stir=0.2)
    expected, network = enhanced(moved, speech), network_of(moved)
    for frames in (1, 3, 32):
        found = streamed(network, moved.state_size, speech, frames * FRAME)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_change_of_level_between_groups_makes_no_click(speech: Array) -> None:
    moved = enhancer(stir=0.2)
    voice = (0.1 * np.sin(2 * np.pi * np.arange(32 * FRAME) / 100)).astype(np.float32)
    stream = Stream(KerasEnhancerNetwork(moved), moved.state_size, 1)
    levels = np.where(np.arange(32) % 2, 0.05, 0.5)
    found = np.concatenate(
        [stream(piece, *pair) for piece, *pair in zip(np.split(voice, 32), levels, levels, strict=True)]
    )
    steps = np.abs(np.diff(found - voice))
    borders = steps[FRAME - 1 :: FRAME]
    assert borders.max() < 2 * np.sort(steps)[-len(steps) // 100]


def test_a_short_training_reduces_the_error_of_a_noisy_voice() -> None:
    """Noise between the harmonics of a voice is what the comb along its pitch can take away."""
    time = np.arange(24 * FRAME)
    harmonics = np.arange(1, 30)[:, None]
    voice = (0.5 * np.sum(np.cos(2 * np.pi * harmonics * time / 100) / harmonics, 0)).astype(np.float32)
    noisy = voice + 0.3 * np.random.default_rng(0).standard_normal(len(voice)).astype(np.float32)
    trained = enhancer()
    optimizer = keras.optimizers.Adam(5e-3)
    optimizer.build(trained.trainable_variables)
    hops = tf.ones([1, len(voice) // 320])

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            found = trained.enhance(noisy[None], hops, 0 * hops, 1)
            error = tf.reduce_mean(tf.square(found - voice))
        gradients = tape.gradient(error, trained.trainable_variables)
        optimizer.apply_gradients(zip(gradients, trained.trainable_variables, strict=True))
        return error

    errors = [float(step()) for _ in range(40)]
    assert errors[-1] < 0.6 * errors[0]
    other = voice + 0.3 * np.random.default_rng(1).standard_normal(len(voice)).astype(np.float32)
    found = trained.enhance(other[None], hops, 0 * hops, 1)[0]
    gain = 10 * math.log10(np.mean((other - voice) ** 2) / np.mean((found - voice) ** 2))
    assert gain > 1.5


def test_gradients_reach_the_codec_through_the_enhancer(real_speech: Array) -> None:
    cascade = cascade_of(stir=0.02, enhancer_width=WIDTH, num_modules=1)
    assert cascade.enhancer
    batch = batch_of(real_speech[: 8 * FRAME], cascade.config)
    with tf.GradientTape() as tape:
        output = cascade.call(batch, ["straight_through"], "hard")
        error = tf.reduce_mean(tf.square(output.signals[0] - batch.signals))
    variables = [*cascade.codecs[0].decoder.trainable_variables, *cascade.enhancer.trainable_variables]
    gradients = tape.gradient(error, variables)
    assert all(float(tf.reduce_max(tf.abs(each))) > 0 for each in gradients)
    assert np.abs(output.signals[0] - output.plain[0]).max() > 1e-4


def test_a_cascade_without_enhancer_has_no_weight_of_one() -> None:
    plain, enhancing = cascade_of(), cascade_of(enhancer_width=WIDTH)
    assert plain.enhancer is None and enhancing.enhancer
    assert [layer.name for layer in enhancing.saved_layers(2)][-1] == "enhancer"
    more = enhancing.count_parameters(2) - plain.count_parameters(2)
    assert more == enhancing.enhancer.count_params() == sum(math.prod(v.shape) for v in enhancing.enhancer.weights)


def test_a_follower_moves_nothing_that_the_depths_before_it_decode_by() -> None:
    cascade = cascade_of(enhancer_width=WIDTH)
    assert cascade.enhancer
    enhancer = {id(variable) for variable in cascade.enhancer.trainable_variables}
    follower, alone, finetuned = (
        {id(variable) for variable in cascade.variables_of(modules, front_end=False)} for modules in ([1], [], [0, 1])
    )
    assert follower and alone == enhancer < finetuned
    assert not follower & {id(v) for layer in cascade.saved_layers(1) for v in layer.trainable_variables}
