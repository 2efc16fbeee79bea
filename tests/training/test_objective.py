import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import signal, stats

from cmrl import Stage, stages_of
from constants import LPC_CONTEXT, PRE_EMPHASIS
from kinds.samples.cascade import CascadeOutput, SampleCascade
from kinds.samples.objective import Losses, objective
from loss_terms_and_measures import mel_loss
from nn_core_operator import Quantised
from options.config import Config
from training.losses.loudness import loudness_loss
from utilities import crossfade_window, cut_frames

Array = NDArray[np.float32]

TINY = Config(
    num_modules=2,
    block="folded",
    fold=32,
    folded_width=16,
    folded_narrow=8,
    folded_blocks=1,
    bins=(16, 8),
    coefficients=(60.0, 10.0, 7.0, 0.0),
    layer_loss=0.25,
)
TAU = tf.constant([0.3, -0.2])


def stage_of(name: str) -> Stage:
    modes = {"first": 1, "follower_2": 2, "finetune": 5}
    return stages_of(dataclasses.replace(TINY, training_mode=modes[name]))[0]


@pytest.fixture
def contexts(real_speech: Array) -> Array:
    return 10 * cut_frames(real_speech, context=LPC_CONTEXT)[20:28]


def run(contexts: Array, stage: Stage, *, warm_up: bool = False, **changes: Any) -> tuple[CascadeOutput, Losses]:
    tf.keras.utils.set_random_seed(4)
    cascade = SampleCascade(dataclasses.replace(TINY, **changes))
    trained = "bypass" if warm_up else "straight_through"
    decisions = [trained if module in stage.trained else "hard" for module in range(stage.depth)]
    lsf = trained if stage.trains_front_end and cascade.config.train_lsf_codebook else "hard"
    output = cascade.call(tf.constant(contexts), decisions, lsf)
    return output, objective(output, cascade, stage, TAU, warm_up=warm_up)


def rms_error(target: NDArray[np.floating], decoded: NDArray[np.floating]) -> float:
    squares = np.mean((np.asarray(target, np.float64) - np.asarray(decoded, np.float64)) ** 2, axis=-1)
    return float(np.mean(np.sqrt(squares + 1e-7)))


def quantised_lsf(output: CascadeOutput) -> Quantised:
    assert output.analysis.lsf is not None
    return output.analysis.lsf


def synthesised(residual: tf.Tensor, output: CascadeOutput) -> NDArray[np.float64]:
    """Through 1/A by scipy."""
    assert output.analysis.polynomial is not None
    pairs = zip(np.asarray(residual, np.float64), output.analysis.polynomial.numpy(), strict=True)
    return np.stack([signal.lfilter([1], polynomial, frame) for frame, polynomial in pairs])


def de_emphasised(signals: NDArray[np.floating]) -> Array:
    """By scipy."""
    return signal.lfilter([1], [1, -PRE_EMPHASIS], np.asarray(signals, np.float64)).astype(np.float32)


def penalty(assignments: tf.Tensor) -> float:
    return float(np.mean(np.sum(np.sqrt(np.asarray(assignments, np.float64)), axis=-1)))


def entropy(assignments: tf.Tensor) -> float:
    histograms = np.mean(np.asarray(assignments, np.float64), axis=(0, 1))
    return float(np.mean(stats.entropy(histograms, base=2, axis=-1)))


def test_the_total_is_the_weighted_sum_of_the_terms(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("first"))
    decoded = synthesised(output.sums[0], output)
    codes, lsf = output.codes[0].assignments, quantised_lsf(output).assignments
    time = rms_error(output.analysis.frames, decoded)
    mel = float(mel_loss(output.analysis.frames, tf.constant(decoded, tf.float32)))
    mean_penalty = (256 * penalty(codes) + 16 * penalty(lsf)) / 272
    mean_entropy = (256 * entropy(codes) + 16 * entropy(lsf)) / 272
    assert float(losses.terms["time"]) == pytest.approx(time, rel=1e-4)
    assert float(losses.terms["mel"]) == pytest.approx(mel, rel=1e-3)
    assert float(losses.terms["penalty"]) == pytest.approx(mean_penalty, rel=1e-3)
    assert losses.entropies.numpy() == pytest.approx([mean_entropy], rel=1e-3)
    expected = 60 * time + 10 * mel + 7 * mean_penalty + 0.3 * mean_entropy
    assert float(losses.total) == pytest.approx(expected, rel=1e-3)


def test_codes_at_stride_4_count_128_beside_16_lsfs(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("first"), strides=(4,))
    codes, lsf = output.codes[0].assignments, quantised_lsf(output).assignments
    assert float(losses.terms["penalty"]) == pytest.approx((128 * penalty(codes) + 16 * penalty(lsf)) / 144, rel=1e-3)


def test_a_fixed_codebook_leaves_only_the_codes_to_pay_for(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("first"), train_lsf_codebook=False)
    assert quantised_lsf(output).assignments is None
    assert float(losses.terms["penalty"]) == pytest.approx(penalty(output.codes[0].assignments), rel=1e-3)
    assert float(losses.entropies[0]) == pytest.approx(entropy(output.codes[0].assignments), rel=1e-3)


def test_a_follower_pays_for_its_own_codes_only(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("follower_2"))
    own = output.codes[1].assignments
    assert float(losses.terms["penalty"]) == pytest.approx(penalty(own), rel=1e-3)
    assert losses.entropies.numpy() == pytest.approx([0, entropy(own)], rel=1e-3)
    distortion = 60 * float(losses.terms["time"]) + 10 * float(losses.terms["mel"])
    assert float(losses.total) == pytest.approx(distortion + 7 * penalty(own) - 0.2 * entropy(own), rel=1e-4)
    error = rms_error(output.analysis.frames, synthesised(output.sums[1], output))
    assert float(losses.terms["time"]) == pytest.approx(error)


def test_finetuning_pays_for_every_codec_with_its_own_tau(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("finetune"))
    first, second, lsf = (each.assignments for each in (*output.codes, quantised_lsf(output)))
    entropies = [(256 * entropy(first) + 16 * entropy(lsf)) / 272, entropy(second)]
    penalties = (256 * penalty(first) + 16 * penalty(lsf)) / 272 + penalty(second)
    assert losses.entropies.numpy() == pytest.approx(entropies, rel=1e-3)
    assert float(losses.terms["penalty"]) == pytest.approx(penalties, rel=1e-3)
    rest = float(losses.total) - 60 * float(losses.terms["time"]) - 10 * float(losses.terms["mel"])
    assert rest == pytest.approx(7 * penalties + 0.3 * entropies[0] - 0.2 * entropies[1], rel=1e-3)


@pytest.mark.parametrize("layer_loss", [0.0, 0.25, 1.0])
def test_layer_loss_weighs_the_shallower_depths_in_finetuning(layer_loss: float, contexts: Array) -> None:
    output, losses = run(contexts, stage_of("finetune"), layer_loss=layer_loss)
    shallow, deep = (rms_error(output.analysis.frames, synthesised(each, output)) for each in output.sums)
    assert shallow != pytest.approx(deep, rel=1e-3)
    assert float(losses.terms["time"]) == pytest.approx(deep + layer_loss * shallow, rel=1e-4)


def test_layer_loss_is_the_mean_over_the_shallower_depths(contexts: Array) -> None:
    stage = stages_of(dataclasses.replace(TINY, num_modules=3, training_mode=5))[0]
    tf.keras.utils.set_random_seed(4)
    cascade = SampleCascade(dataclasses.replace(TINY, num_modules=3))
    output = cascade.call(tf.constant(contexts), ["hard"] * 3, "hard")
    losses = objective(output, cascade, stage, tf.zeros(3), warm_up=False)
    errors = [rms_error(output.analysis.frames, synthesised(each, output)) for each in output.sums]
    assert float(losses.terms["time"]) == pytest.approx(errors[2] + 0.25 * (errors[0] + errors[1]) / 2, rel=1e-4)
    assert not np.any(losses.entropies)


def test_the_warm_up_pays_for_no_codes(contexts: Array) -> None:
    _, losses = run(contexts, stage_of("first"), warm_up=True)
    distortion = 60 * float(losses.terms["time"]) + 10 * float(losses.terms["mel"])
    assert float(losses.total) == pytest.approx(distortion, rel=1e-6)


def test_the_loss_on_the_residual_compares_what_the_codecs_code(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("first"), loss_domain="residual")
    assert float(losses.terms["time"]) == pytest.approx(rms_error(output.analysis.residual, output.sums[0]), rel=1e-5)
    mel = float(mel_loss(output.analysis.residual, output.sums[0]))
    assert float(losses.terms["mel"]) == pytest.approx(mel, rel=1e-5)


def test_the_loss_on_loudness_counts_by_its_weight_and_is_left_out_at_zero(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("first"), warm_up=True, loudness_weight=5.0)
    signals = (output.analysis.frames, synthesised(output.sums[0], output))
    heard = float(loudness_loss(*(de_emphasised(crossfade_window() * each) for each in signals)))
    assert float(losses.terms["loudness"]) == pytest.approx(heard, rel=1e-3)
    rest = 60 * float(losses.terms["time"]) + 10 * float(losses.terms["mel"])
    assert float(losses.total) == pytest.approx(rest + 5 * heard, rel=1e-4)
    assert float(run(contexts, stage_of("first"))[1].terms["loudness"]) == 0


def test_the_loss_on_loudness_hears_consecutive_frames_as_one_signal(contexts: Array) -> None:
    output, losses = run(contexts[:4], stage_of("first"), loudness_weight=5.0, consecutive_frames=2, batch_size=4)
    joined = []
    for each in (output.analysis.frames, synthesised(output.sums[0], output)):
        faded = crossfade_window() * each
        joined.append(np.pad(faded[::2], [(0, 0), (0, 480)]) + np.pad(faded[1::2], [(0, 0), (480, 0)]))
    heard = float(loudness_loss(*map(de_emphasised, joined)))
    assert float(losses.terms["loudness"]) == pytest.approx(heard, rel=1e-3)


@pytest.mark.parametrize("loss_domain", ["speech", "residual"])
def test_without_lpc_both_domains_are_the_waveform(loss_domain: str, contexts: Array) -> None:
    output, losses = run(contexts, stage_of("first"), time_domain=True, loss_domain=loss_domain)
    frames = contexts[:, LPC_CONTEXT:-LPC_CONTEXT]
    assert float(losses.terms["time"]) == pytest.approx(rms_error(frames, output.sums[0]), rel=1e-5)


def test_the_loss_may_hear_the_speech_after_de_emphasis(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("first"), loss_after_de_emphasis=True)
    target, decoded = map(de_emphasised, (output.analysis.frames, synthesised(output.sums[0], output)))
    assert float(losses.terms["time"]) == pytest.approx(rms_error(target, decoded), rel=1e-4)


@pytest.mark.parametrize("name", ["first", "follower_2", "finetune"])
def test_the_entropy_moves_the_encoders_that_a_stage_trains_and_no_other(name: str, contexts: Array) -> None:
    stage = stage_of(name)
    cascade = SampleCascade(TINY)
    decisions = ["straight_through" if module in stage.trained else "hard" for module in range(stage.depth)]
    with tf.GradientTape() as tape:
        output = cascade.call(
            tf.constant(contexts), decisions, "straight_through" if stage.trains_front_end else "hard"
        )
        entropies = objective(output, cascade, stage, TAU, warm_up=False).entropies
    kernels = [codec.encoder.trainable_variables[0] for codec in cascade.codecs]
    moved = {module for module, gradient in enumerate(tape.gradient(entropies, kernels)) if gradient is not None}
    assert moved == set(stage.trained)


@pytest.mark.parametrize("decision", ["soft", "straight_through", "bypass"])
@pytest.mark.parametrize("changes", [{}, {"time_domain": True}, {"quantizer": "vector"}], ids=str)
def test_gradients_are_finite_for_silence(decision: str, changes: dict[str, Any]) -> None:
    cascade = SampleCascade(dataclasses.replace(TINY, alpha_start=-300.0, **changes))
    variables = cascade.variables_of([0, 1], front_end=True)
    with tf.GradientTape() as tape:
        output = cascade.call(tf.zeros([4, 1024]), [decision] * 2, decision)
        losses = objective(output, cascade, stage_of("finetune"), TAU, warm_up=False)
    assert np.isfinite(losses.total)
    for gradient in tape.gradient(losses.total, variables):
        assert gradient is None or np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_lsfs_are_left_out_of_penalty_and_entropy_where_they_are_not_counted(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("first"), lsf_terms=False)
    codes = output.codes[0].assignments
    assert quantised_lsf(output).assignments is not None
    assert float(losses.terms["penalty"]) == pytest.approx(penalty(codes), rel=1e-3)
    assert float(losses.entropies[0]) == pytest.approx(entropy(codes), rel=1e-3)


def test_the_flat_histogram_puts_all_lsfs_together(contexts: Array) -> None:
    output, losses = run(contexts, stage_of("first"), lsf_histogram="flat")
    codes, lsf = output.codes[0].assignments, quantised_lsf(output).assignments
    flat = entropy(tf.reshape(lsf, (len(contexts), 16, 1, 256)))
    assert flat > entropy(lsf) + 1
    assert float(losses.entropies[0]) == pytest.approx((256 * entropy(codes) + 16 * flat) / 272, rel=1e-3)


def test_soft_frozen_codecs_cost_a_follower_nothing(contexts: Array) -> None:
    tf.keras.utils.set_random_seed(4)
    cascade, stage = SampleCascade(TINY), stage_of("follower_2")
    soft = objective(cascade.call(tf.constant(contexts), ["soft"] * 2, "soft"), cascade, stage, TAU, warm_up=False)
    assert float(soft.entropies[0]) == 0


def test_a_joint_budget_weighs_entropies_by_counts_of_symbols(contexts: Array) -> None:
    """With taus as the controller keeps them, T times each module's share of the symbols."""
    output, losses = run(contexts, stage_of("finetune"))
    first, second, lsf = (each.assignments for each in (*output.codes, quantised_lsf(output)))
    weighted = (256 * entropy(first) + 16 * entropy(lsf) + 256 * entropy(second)) / 528
    assert np.dot(3.0 * np.array([272, 256]) / 528, losses.entropies) == pytest.approx(3.0 * weighted, rel=1e-3)
