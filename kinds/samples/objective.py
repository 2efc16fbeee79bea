"""Training objective: the weighted losses of one stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

import lpc_utilities as lpc
from cmrl import Stage
from constants import FRAME_LENGTH, HOP, OVERLAP
from kinds.kind import Losses
from kinds.samples.cascade import CascadeOutput, SampleCascade
from loss_terms_and_measures import assignment_entropy, mel_loss, quantisation_penalty, time_loss
from nn_core_operator import Quantised
from options.config import Config
from training.losses.loudness import loudness_loss


def objective(output: CascadeOutput, cascade: SampleCascade, stage: Stage, tau: tf.Tensor, *, warm_up: bool) -> Losses:
    """The losses of a batch in one stage.

    Args:
        output: the batch after the cascade.
        cascade: gives the synthesis filter and the configuration.
        stage: says which depth the losses compare and whose codes are paid for.
        tau: float32 [modules], weight of every module's entropy.
        warm_up: quantisers are bypassed, so that their terms do not count.
    """
    config = cascade.config
    time, mel, loudness = _distortion(
        output, cascade, layer_loss=config.layer_loss if stage.name == "finetune" else 0.0
    )
    penalties, entropies = zip(
        *[_code_terms(output, module, stage, config) for module in range(stage.depth)], strict=True
    )
    penalty, entropy = tf.add_n(penalties), tf.stack(entropies)

    time_weight, mel_weight, penalty_weight, _ = config.coefficients
    total = time_weight * time + mel_weight * mel + config.loudness_weight * loudness
    if not warm_up:
        total += penalty_weight * penalty + tf.reduce_sum(tau[: stage.depth] * entropy)
    return Losses(total, {"time": time, "mel": mel, "loudness": loudness, "penalty": penalty}, entropy)


def _distortion(output: CascadeOutput, cascade: SampleCascade, *, layer_loss: float) -> list[tf.Tensor]:
    """Time, mel and loudness loss at full depth, plus `layer_loss` times the mean over the shallower depths."""
    target, *decoded = _compared_signals(output, cascade, deepest_only=layer_loss == 0.0)
    losses = [
        tf.stack([time_loss(target, signal), mel_loss(target, signal), loudness])
        for signal, loudness in zip(decoded, _loudness_losses(target, decoded, cascade), strict=True)
    ]
    combined = losses[-1]
    if len(losses) > 1:
        combined += layer_loss * tf.add_n(losses[:-1]) / (len(losses) - 1)
    return tf.unstack(combined)


def _loudness_losses(target: tf.Tensor, decoded: Sequence[tf.Tensor], cascade: SampleCascade) -> list[tf.Tensor]:
    """The loss on loudness at each depth, 0 where it has no weight."""
    if not cascade.config.loudness_weight:
        return [tf.zeros([])] * len(decoded)
    heard = _as_heard(target, cascade)
    return [loudness_loss(heard, _as_heard(signal, cascade)) for signal in decoded]


def _compared_signals(output: CascadeOutput, cascade: SampleCascade, *, deepest_only: bool) -> list[tf.Tensor]:
    """The target and what is compared with it, float32 [batch, 512] each, in the loss's domain."""
    config, analysis = cascade.config, output.analysis
    sums = output.sums[-1:] if deepest_only else output.sums
    if config.loss_domain == "residual":
        return [analysis.residual, *sums]
    decoded = [cascade.front_end.synthesise(each, analysis.polynomial) for each in sums]
    signals = [analysis.frames, *decoded]
    if config.pre_emphasis and config.loss_after_de_emphasis:
        signals = [lpc.de_emphasise(signal) for signal in signals]
    return signals


def _as_heard(frames: tf.Tensor, cascade: SampleCascade) -> tf.Tensor:
    """Runs of consecutive frames [batch, 512] overlap-added, pre-emphasis undone: [batch / run, 480 run + 32]."""
    config = cascade.config
    runs = tf.reshape(cascade.front_end.window * frames, [-1, config.consecutive_frames, FRAME_LENGTH])
    signals = tf.signal.overlap_and_add(runs, HOP)[:, : HOP * config.consecutive_frames + OVERLAP]
    emphasised = config.pre_emphasis and not config.loss_after_de_emphasis
    return lpc.de_emphasise(signals) if emphasised else signals


class _Term(NamedTuple):
    """Assignments that penalty and entropy are taken of, the latter perhaps laid out otherwise; symbols per frame."""

    assignments: tf.Tensor
    histograms_of: tf.Tensor
    per_frame: float


def _code_terms(output: CascadeOutput, module: int, stage: Stage, config: Config) -> tuple[tf.Tensor, tf.Tensor]:
    """Penalty and entropy of a module; the first stage's and finetuning's count LSFs by their number with the codes."""
    if module not in stage.trained:
        return tf.zeros([]), tf.zeros([])
    found = [_term(output.codes[module])]
    if module == 0 and output.analysis.lsf is not None and stage.trains_front_end and config.lsf_terms:
        found.append(_term(output.analysis.lsf, flat=config.lsf_histogram == "flat"))
    terms = [term for term in found if term is not None]
    if not terms:
        return tf.zeros([]), tf.zeros([])
    total = sum(term.per_frame for term in terms)
    return (
        tf.add_n([term.per_frame * quantisation_penalty(term.assignments) for term in terms]) / total,
        tf.add_n([term.per_frame * assignment_entropy(term.histograms_of) for term in terms]) / total,
    )


def _term(quantised: Quantised, *, flat: bool = False) -> _Term | None:
    """A part's term, None where its decision was hard; `flat` puts all its channels into one histogram."""
    assignments = quantised.assignments
    if assignments is None:
        return None
    _, positions, channels, bins = assignments.shape
    layout = tf.reshape(assignments, [-1, positions * channels, 1, bins]) if flat else assignments
    return _Term(assignments, layout, float(positions * channels))
