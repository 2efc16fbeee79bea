"""Networks on the lapped spectrum as a kind: see `kinds.kind.Kind`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import nsc
from cmrl import Stage
from kinds.kind import BatchForm, Form, Moment, Tables, TrainingSpeech
from kinds.spectral import graphs
from kinds.spectral.batch import file_batch
from kinds.spectral.cascade import SpectralBatch, SpectralCascade, SpectralOutput
from kinds.spectral.control import SpectralRateController
from kinds.spectral.fitting.rate_fit import fit_rates
from kinds.spectral.fitting.training_symbols import coder_of, offsets_of_format, trained_offsets, training_symbols
from kinds.spectral.objective import WIDENING_STEPS, Draw, spectral_objective, stretch_samples, training_batch
from kinds.spectral.serving import coding_model, settings_of
from nsc.coding.interface import Signal
from nsc.entropy.spectral_coder import SpectralCoder
from nsc.entropy.spectral_envelope import GAIN_FLOOR_DB
from nsc.format.version_2 import GAIN_STEP_DB
from nsc.kinds.spectral.level import offset_of
from nsc.kinds.spectral.model import SpectralModel, file_groups
from nsc.kinds.spectral.network import check_coder
from options.config import Config


class SpectralKind:
    """Implements `kinds.kind.Kind`."""

    second_moment = 0.99  # gradients grow and shrink with the offsets that a step draws
    step_share = 0.45  # two-dimensional convolutions with few channels, and a rate for every coefficient
    cascade = staticmethod(SpectralCascade)
    controller = staticmethod(SpectralRateController)
    losses = staticmethod(spectral_objective)
    device_graphs = staticmethod(graphs.device_graphs)

    def batch_form(self, config: Config, *, augmented: bool) -> BatchForm:
        """See `Kind`; stretches of speech, whose levels are drawn in the step itself."""
        return BatchForm(_stretches(config), config.pre_emphasis, config.high_pass, length=stretch_samples(config))

    def batch(self, speech: tf.Tensor, config: Config, moment: Moment) -> SpectralBatch:
        """See `Kind`; speech float32 [stretches, stretch_samples]."""
        seed = tf.stack([tf.cast(moment.step, tf.int32), config.seed % 2**31 + 1000 * moment.number])
        first, total = moment.replica * (_stretches(config) // moment.replicas), _stretches(config)
        return training_batch(speech, config, Draw(seed, _offset_range(config, moment), first, total))

    def observed(self, output: SpectralOutput, batch: SpectralBatch) -> tuple[Sequence[tf.Tensor], tf.Tensor]:
        """See `Kind`; estimated bits of every part, and the offsets at which they came."""
        return output.bits, batch.offsets

    def tables(self, cascade: SpectralCascade, stage: Stage, speech: TrainingSpeech) -> Tables:
        """See `Kind`; the coder's.

        The rate networks of the codecs that were trained are fitted first: they lag while everything else moves.
        """
        seed, files = cascade.config.seed, (speech.paths, speech.minutes)
        if speech.fit_steps and stage.trained:
            symbols = training_symbols(cascade, stage.depth, *files, seed)
            fit_rates(cascade, symbols, offsets_of_format(), stage.trained, speech.fit_steps, seed)
        return coder_of(cascade, stage.depth, training_symbols(cascade, stage.depth, *files, seed)).arrays()

    def check_tables(self, cascade: SpectralCascade, tables: Tables) -> None:
        check_coder(settings_of(cascade, len(cascade.codecs)), SpectralCoder.read(tables))

    def coding_model(self, cascade: SpectralCascade, tables: Tables, digest: str, depth: int) -> SpectralModel:
        """See `Kind`; the tables are those of as many codecs."""
        return coding_model(cascade, SpectralCoder.read(tables), digest)

    def diagnostics(self, cascade: SpectralCascade, signal: Signal, depth: int) -> dict[str, float]:
        """See `Kind`; nothing, since the codes' decisions are hard in training, too."""
        return {}

    def estimate(self, model: Any) -> ContextEstimate:
        return ContextEstimate(model.cascade, model.coding.coder)

    def paper_style_kbps(self, codes: Sequence[NDArray[np.int32]]) -> float:
        """See `Kind`; contexts know too much for the papers' histograms to mean anything."""
        return math.nan

    def codebooks(self, cascade: SpectralCascade) -> dict[str, NDArray[np.float32]]:
        lpc, gain, *codecs = cascade.parts()
        levels = (GAIN_FLOOR_DB + GAIN_STEP_DB * np.arange(gain.alphabet)).astype(np.float32)
        books = {lpc.name: np.asarray(cascade.front_end.quantizer.codebook), gain.name: levels}
        pairs = zip(codecs, cascade.codecs, strict=True)
        return books | {part.name: np.asarray(codec.quantizer.codebook) for part, codec in pairs}

    def form(self, cascade: SpectralCascade) -> Form:
        depth = len(cascade.codecs)
        depths = range(1, depth + 1)
        return Form(
            "spectral",
            graphs.encoder_graph(cascade, depth),
            graphs.decoder_graph(cascade, depth),
            dataclasses.asdict(settings_of(cascade, depth)),
            [cascade.count_parameters(layers) for layers in depths],
            [cascade.multiply_adds(layers) for layers in depths],
            1 / cascade.frames_per_second,
            graphs.enhancer_graph(cascade.enhancer) if cascade.enhancer else None,
            graphs.concealment_graph(cascade.concealment) if cascade.concealment else None,
        )


@dataclasses.dataclass(frozen=True)
class ContextEstimate:
    """Implements `kinds.kind.Estimate`: what the context model expects at the step offset that a file has."""

    cascade: SpectralCascade
    coder: SpectralCoder

    def add(self, signal: Signal, data: bytes, depth: int) -> Callable[[], float]:
        offset = next(iter(file_groups(data, self.coder))).steps.offset
        frames = nsc.info(data).header.group_frames
        bits = float(
            _estimated_bits(self.cascade, file_batch(signal, self.cascade.config, offset_of(offset), frames), depth)
        )
        return lambda: bits


@tf.function(reduce_retracing=True, autograph=False)
def _estimated_bits(cascade: SpectralCascade, batch: SpectralBatch, depth: int) -> tf.Tensor:
    return tf.add_n(cascade.bits_of(batch, depth))[0]


def _stretches(config: Config) -> int:
    return config.batch_size // config.consecutive_frames


def _offset_range(config: Config, moment: Moment) -> tf.Tensor:
    """Fresh networks learn one rate first; later stages begin with all of them."""
    whole = tf.constant(trained_offsets(config))
    if moment.stage.name == "finetune":
        return whole
    return whole * tf.minimum(1.0, tf.cast(moment.step, tf.float32) / WIDENING_STEPS)


KIND = SpectralKind()
