import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import stages_of
from constants import LPC_CONTEXT
from kinds import cascade_of
from kinds.samples.cascade import SampleCascade, Symbols
from kinds.samples.front_end import lsf_codebook
from neural_speech_coding_module import NeuralSpeechCodec
from nsc.kinds.samples.network import Part
from options.config import Config, parse_flags
from utilities import crossfade_window, cut_frames

Array = NDArray[np.float32]

TINY = Config(num_modules=3, block="folded", fold=32, folded_width=16, folded_narrow=8, folded_blocks=1, bins=(16, 8))
HARD = ["hard"] * 3


@pytest.fixture(scope="module")
def cascade() -> SampleCascade:
    tf.keras.utils.set_random_seed(3)
    return SampleCascade(TINY)


@pytest.fixture
def contexts(real_speech: Array) -> Array:
    return 10 * cut_frames(real_speech, context=LPC_CONTEXT)[20:28]


def count(variables: list[Any]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


@pytest.mark.parametrize("decision", ["hard", "soft", "straight_through", "bypass"])
def test_each_codec_codes_exactly_what_the_earlier_ones_left(
    decision: str, cascade: SampleCascade, contexts: Array
) -> None:
    output = cascade.call(contexts, [decision] * 3, decision)
    left = output.analysis.residual
    decoded = np.zeros_like(left)
    for codec, quantised, total in zip(cascade.codecs, output.codes, output.sums, strict=True):
        layer, own = codec(left, decision=decision)
        np.testing.assert_array_equal(own.symbols, quantised.symbols)
        decoded = decoded + layer
        left = output.analysis.residual - decoded
        np.testing.assert_array_equal(total, decoded)
    assert len(output.sums) == 3


@pytest.mark.parametrize("changes", [{}, {"time_domain": True}], ids=str)
def test_res_scalar_scales_what_each_codec_is_given_and_undoes_it_in_what_it_gives(
    changes: dict[str, Any], contexts: Array
) -> None:
    tf.keras.utils.set_random_seed(3)
    cascade = SampleCascade(dataclasses.replace(TINY, res_scalar=4.0, **changes))
    output = cascade.call(contexts, HARD, "hard")
    decoded = np.zeros_like(output.analysis.residual)
    for codec, quantised in zip(cascade.codecs, output.codes, strict=True):
        code = codec.encoder((4.0 * (output.analysis.residual - decoded))[..., None])
        nearest = np.abs(code.numpy()[..., None] - codec.quantizer.codebook.numpy()).argmin(-1)
        assert np.mean(nearest == quantised.symbols) > 0.999
        chosen = codec.quantizer.codebook.numpy()[quantised.symbols]
        decoded = decoded + codec.decoder(chosen)[..., 0].numpy() / 4.0
    np.testing.assert_allclose(output.sums[-1], decoded, atol=1e-4)


def test_the_time_domain_s_scale_reaches_codecs_and_losses_and_no_listener(contexts: Array) -> None:
    tf.keras.utils.set_random_seed(3)
    plain, scaled = (
        SampleCascade(dataclasses.replace(TINY, time_domain=True, time_domain_scale=scale, res_scalar=scale))
        for scale in (1.0, 33.46)
    )
    for variable, source in zip(scaled.variables, plain.variables, strict=True):
        variable.assign(source)
    expected, output = (each.call(contexts, HARD, "hard") for each in (plain, scaled))
    np.testing.assert_allclose(output.analysis.frames, expected.analysis.frames / 33.46, rtol=1e-5)
    # by the opposite scale of the codecs' input they are given the same, and so is the listener
    pairs = zip(*(each.decode(each.encode(contexts, 3)) for each in (plain, scaled)), strict=True)
    for heard, same in pairs:
        assert np.corrcoef(np.ravel(heard), np.ravel(same))[0, 1] > 0.999
        np.testing.assert_allclose(np.std(heard), np.std(same), rtol=0.01)


def test_fewer_decisions_use_fewer_codecs(cascade: SampleCascade, contexts: Array) -> None:
    deep, shallow = cascade.call(contexts, HARD, "hard"), cascade.call(contexts, ["hard"], "hard")
    assert len(shallow.sums) == len(shallow.codes) == 1
    np.testing.assert_array_equal(shallow.sums[0], deep.sums[0])


@pytest.mark.parametrize(
    "changes",
    [{}, {"time_domain": True}, {"residual": "taper"}, {"residual": "subframe"}, {"quantizer": "vector"}],
    ids=str,
)
def test_decoding_what_was_encoded_equals_the_call_with_hard_decisions(
    changes: dict[str, Any], contexts: Array
) -> None:
    cascade = SampleCascade(dataclasses.replace(TINY, num_modules=2, **changes))
    output = cascade.call(contexts, HARD[:2], "hard")
    symbols = cascade.encode(contexts, 2)
    window = crossfade_window()
    fade = np.sqrt(window) if changes.get("residual") == "taper" else window
    assert (symbols.lsf is None) == bool(changes.get("time_domain"))
    for frames, total in zip(cascade.decode(symbols), output.sums, strict=True):
        expected = fade * cascade.front_end.synthesise(total, output.analysis.polynomial)
        np.testing.assert_allclose(frames, expected, atol=1e-5)


def test_a_deep_model_decoded_at_depth_1_equals_the_model_cut_to_one_codec(
    cascade: SampleCascade, contexts: Array
) -> None:
    cut = SampleCascade(dataclasses.replace(TINY, num_modules=1))
    for variable, source in zip(cut.weights, [*cascade.front_end.weights, *cascade.codecs[0].weights], strict=True):
        variable.assign(source)
    all_symbols, own_symbols = cascade.encode(contexts, 3), cut.encode(contexts, 1)
    np.testing.assert_array_equal(all_symbols.lsf, own_symbols.lsf)
    np.testing.assert_array_equal(all_symbols.codes[0], own_symbols.codes[0])
    of_one = cut.decode(own_symbols)[0]
    np.testing.assert_array_equal(cascade.decode(all_symbols)[0], of_one)
    np.testing.assert_array_equal(cascade.decode(Symbols(all_symbols.lsf, all_symbols.codes[:1]))[0], of_one)


def test_every_depth_can_be_encoded(cascade: SampleCascade, contexts: Array) -> None:
    deepest = cascade.encode(contexts, 3)
    for depth in (1, 2, 3, 1):
        symbols = cascade.encode(contexts, depth)
        assert len(symbols.codes) == depth
        for found, expected in zip(symbols.codes, deepest.codes, strict=False):
            np.testing.assert_array_equal(found, expected)


def test_parts_name_what_is_sent_with_shapes_and_alphabets(cascade: SampleCascade) -> None:
    lpc = Part("lpc", (1, 16), 256)
    codes = [Part("codec 1", (16, 16), 16), Part("codec 2", (16, 16), 8), Part("codec 3", (16, 16), 8)]
    assert cascade.parts() == [lpc, *codes]
    assert cascade.parts(1) == [lpc, codes[0]]
    assert SampleCascade(dataclasses.replace(TINY, num_modules=1, time_domain=True)).parts() == [codes[0]]


def test_the_soft_hard_gap_of_the_lsfs_is_the_distance_of_their_softmax_mixture(
    cascade: SampleCascade, contexts: Array
) -> None:
    gaps = cascade.soft_hard_gaps(contexts, 2)
    levels = lsf_codebook().astype(np.float64)
    lsf = cascade.front_end.line_spectrum(contexts).numpy()[..., None]
    scores = np.exp(TINY.lsf_alpha_start * (np.abs(lsf - levels) - np.abs(lsf - levels).min(-1, keepdims=True)))
    mixture = (scores / scores.sum(-1, keepdims=True)) @ levels
    nearest = levels[np.abs(lsf - levels).argmin(-1)]
    assert list(gaps) == ["lpc", "codec 1", "codec 2"]
    assert gaps["lpc"] == pytest.approx(np.sqrt(np.mean((mixture - nearest) ** 2)), rel=1e-3)


SCHEDULE = dataclasses.replace(
    TINY,
    epochs=7,
    learning_rate=0.1,
    follower_epochs=(5, 4, 3),
    follower_learning_rates=(0.05, 0.04, 0.03),
    pretrain_epochs=2,
    follower_pretrain_epochs=4,
)


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (1, ["first"]),
        (2, ["follower_2", "follower_3"]),
        (3, ["first", "follower_2", "follower_3"]),
        (4, ["first", "follower_2", "follower_3"]),
        (5, ["finetune"]),
    ],
)
def test_each_mode_runs_its_stages_with_their_own_flags(mode: int, names: list[str]) -> None:
    stages = {stage.name: stage for stage in stages_of(dataclasses.replace(SCHEDULE, training_mode=mode))}
    expected = {  # depth, trained, front end, epochs, learning rate, warm-up
        "first": (1, (0,), True, 7, 0.1, 2),
        "follower_2": (2, (1,), False, 5, 0.05, 4),
        "follower_3": (3, (2,), False, 4, 0.04, 3),  # the last epoch is quantised
        "finetune": (3, (0, 1, 2), True, 3, 0.03, 0),
    }
    assert list(stages) == names
    for name, stage in stages.items():
        assert dataclasses.astuple(stage)[1:] == expected[name]


def test_a_fixed_codebook_is_trained_in_no_stage() -> None:
    for mode in (1, 4, 5):
        config = dataclasses.replace(SCHEDULE, training_mode=mode, train_lsf_codebook=False)
        assert not any(stage.trains_front_end for stage in stages_of(config))


def test_a_stage_s_variables_are_those_of_its_codecs_and_of_nothing_else(cascade: SampleCascade) -> None:
    own = {id(variable) for variable in cascade.codecs[1].trainable_variables}
    assert {id(variable) for variable in cascade.variables_of([1], front_end=False)} == own
    everything = cascade.variables_of([0, 1, 2], front_end=True)
    assert {id(variable) for variable in everything} == {id(variable) for variable in cascade.trainable_variables}


def test_collaborative_quantization_adds_256_levels() -> None:
    one_codec = count(NeuralSpeechCodec(TINY, 0).trainable_variables)
    for trained, lsf_variables in ((True, 256), (False, 0)):
        cascade = SampleCascade(dataclasses.replace(TINY, num_modules=1, train_lsf_codebook=trained))
        assert count(cascade.variables_of([0], front_end=True)) == one_codec + lsf_variables


def gated_block(wide_in: int, wide: int, narrow: int, kernel: int, back: int) -> int:
    """Multiply-adds of one position."""
    return wide_in * narrow + kernel * narrow * 2 * narrow + back * narrow * wide


def a_frame(cascade: SampleCascade) -> int:
    """Multiply-adds, which a cascade counts by the second."""
    return round(cascade.multiply_adds() / cascade.frames_per_second)


def test_a_gated_codec_takes_119_million_multiply_adds_a_frame() -> None:
    block, narrow_block = gated_block(100, 100, 20, 15, 9), gated_block(50, 50, 20, 15, 9)
    encoder = 512 * (55 * 100 + 2 * block) + 256 * (9 * 100 * 100 + 2 * block + 55 * 100)
    widening = 9 * 100 + 100 * 100  # one filter a channel, then all channels at one position
    first_block = gated_block(1, 100, 20, 15, 9)
    decoder = 256 * (first_block + block + widening) + 512 * (2 * narrow_block + 55 * 50)
    found = a_frame(SampleCascade(Config(num_modules=1)))
    assert found == encoder + decoder
    assert 118e6 < found < 121e6


def test_a_cascade_takes_the_sum_of_its_codecs_multiply_adds() -> None:
    block = gated_block(144, 144, 64, 5, 3)
    encoder = 32 * (3 * 16 * 144 + 3 * block + 3 * 144 * 8)
    decoder = 32 * (3 * 8 * 144 + 3 * block + 3 * 144 * 16)
    found = a_frame(SampleCascade(Config(num_modules=2, block="folded")))
    assert found == 2 * (encoder + decoder)
    assert 14e6 < found / 2 < 17e6


def test_layers_that_know_the_envelope_cost_once_a_frame() -> None:
    networks = [SampleCascade(Config(num_modules=1, block="folded", film_units=units)) for units in (0, 32)]
    once = 32 * 32 + 32 * 2 * 144  # of the envelope, and of what is found of it
    assert a_frame(networks[1]) - a_frame(networks[0]) == 2 * 4 * once


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("folded_9k", 600_000),
        ("folded_16k", 1_000_000),
        ("folded_24k", 1_000_000),
        ("cq_any", 600_000),
        ("cq_24k", 600_000),
    ],
)
def test_the_experiments_are_as_small_as_they_say(name: str, most: int) -> None:
    config, _ = parse_flags(["--config", name])
    assert cascade_of(config).count_parameters() < most


@pytest.mark.parametrize("quantizer", ["scalar", "vector"])
def test_a_wider_codebook_spreads_a_codecs_codes_over_fewer_entries(quantizer: str, contexts: Array) -> None:
    tf.keras.utils.set_random_seed(3)
    cascade = SampleCascade(dataclasses.replace(TINY, quantizer=(quantizer,)))

    def used() -> list[int]:
        return [len(np.unique(codes)) for codes in cascade.symbols_of(tf.constant(contexts), 3).codes]

    before = used()
    cascade.move_steps([0.0, 1.0])
    wider = used()
    assert wider[0] == before[0] and wider[1] < before[1]
    cascade.move_steps([0.0, -1.0])
    assert used() == before
