"""Networks on frames of samples as a kind: see `kinds.kind.Kind`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Stage
from kinds.kind import BatchForm, Form, Losses, Moment, Tables, TrainingSpeech
from kinds.samples import batch as whole_files
from kinds.samples import graphs, rate
from kinds.samples.cascade import CascadeOutput, SampleCascade
from kinds.samples.control import SymbolRateController
from kinds.samples.objective import objective
from kinds.samples.serving import KerasNetwork, settings_of, symbols_by_part
from kinds.samples.tables import fit_models, training_symbols
from nsc.coding.interface import Signal
from nsc.entropy.check import check_tables
from nsc.kinds.samples.model import CascadeModel
from options.config import Config
from utilities import number_of_frames


class SamplesKind:
    """Implements `kinds.kind.Kind`."""

    second_moment = 0.999
    step_share = 1.0
    paper_style_kbps = staticmethod(rate.paper_style_kbps)
    device_graphs = staticmethod(graphs.device_graphs)

    def cascade(self, config: Config) -> SampleCascade:
        return SampleCascade(config)

    def controller(self, cascade: SampleCascade, stage: Stage) -> SymbolRateController:
        return SymbolRateController(cascade.config, stage, cascade.parts(), cascade.move_steps)

    def batch_form(self, config: Config, *, augmented: bool) -> BatchForm:
        """See `Kind`; frames of a random level."""
        decibels = config.gain_augmentation_db if augmented else 0.0
        return BatchForm(config.batch_size, config.pre_emphasis, config.high_pass, decibels, config.consecutive_frames)

    def batch(self, speech: tf.Tensor, config: Config, moment: Moment) -> tf.Tensor:
        """See `Kind`; contexts float32 [batch, 1024] as they come from the corpus."""
        return speech

    def losses(self, output: CascadeOutput, batch: tf.Tensor, *rest: Any, warm_up: bool) -> Losses:
        """See `Kind`; `objective`, which finds the frames in the output."""
        return objective(output, *rest, warm_up=warm_up)

    def observed(self, output: CascadeOutput, batch: tf.Tensor) -> list[tf.Tensor]:
        """See `Kind`; the symbols of each part, LPC first."""
        lsf = output.analysis.lsf
        return ([] if lsf is None else [lsf.symbols]) + [code.symbols for code in output.codes]

    def tables(self, cascade: SampleCascade, stage: Stage, speech: TrainingSpeech) -> Tables:
        """See `Kind`; a table for each channel and, of files, context models, none from 0 minutes."""
        parts = cascade.parts(stage.depth)
        counts = {part.name: np.zeros((part.shape[1], part.alphabet), np.int64) for part in parts}
        for contexts in speech.batches(speech.batches_used):
            symbols = symbols_by_part(parts, cascade.encode(contexts, stage.depth))
            for part in parts:
                counts[part.name] += rate.count_symbols(part, symbols[part.name])
        tables = rate.integer_tables(counts)
        if not speech.minutes:
            return tables
        of_files = training_symbols(cascade, stage.depth, speech.paths, speech.minutes, cascade.config.seed)
        models = fit_models(cascade, stage.depth, of_files)
        return tables | {key: array for name, model in models.items() for key, array in model.arrays(name).items()}

    def check_tables(self, cascade: SampleCascade, tables: Tables) -> None:
        parts = cascade.parts()
        check_tables(tables, {part.name: part.shape for part in parts}, {part.name: part.alphabet for part in parts})

    def coding_model(self, cascade: SampleCascade, tables: Tables, digest: str, depth: int) -> CascadeModel:
        return CascadeModel(digest, settings_of(cascade, depth), tables, KerasNetwork(cascade))

    def diagnostics(self, cascade: SampleCascade, signal: Signal, depth: int) -> dict[str, float]:
        """See `Kind`; RMS of soft mixture less hard decision of each part's values."""
        contexts = whole_files.prepare(signal, cascade.config).contexts
        gaps = cascade.soft_hard_gaps(tf.constant(contexts), depth)
        return {f"gap {name}": value for name, value in gaps.items()}

    def estimate(self, model: Any) -> HistogramEstimate:
        return HistogramEstimate(model.cascade)

    def codebooks(self, cascade: SampleCascade) -> dict[str, NDArray[np.float32]]:
        layers = [*([] if cascade.config.time_domain else [cascade.front_end]), *cascade.codecs]
        pairs = zip(cascade.parts(), layers, strict=True)
        return {part.name: np.asarray(layer.quantizer.codebook) for part, layer in pairs}

    def form(self, cascade: SampleCascade) -> Form:
        depths = range(1, len(cascade.codecs) + 1)
        settings = settings_of(cascade)
        described = {
            "parts": [part._asdict() for part in settings.parts],
            "gain": settings.gain,
            "pre_emphasis": settings.pre_emphasis,
            "high_pass": settings.high_pass,
        }
        return Form(
            "cascade",
            graphs.encoder_graph(cascade),
            graphs.decoder_graph(cascade),
            described,
            [cascade.count_parameters(depth) for depth in depths],
            [cascade.multiply_adds(depth) for depth in depths],
            1 / rate.FRAMES_PER_SECOND,
        )


class HistogramEstimate:
    """Implements `kinds.kind.Estimate`: the entropy of soft histograms, with all speech in one batch."""

    def __init__(self, cascade: SampleCascade) -> None:
        self._cascade = cascade
        self._parts = cascade.parts()
        self._counts = [np.zeros((part.shape[1], part.alphabet)) for part in self._parts]
        self._counted: Signal | None = None

    def add(self, signal: Signal, data: bytes, depth: int) -> Callable[[], float]:
        """Counts the soft assignments of a signal [n] of 16 kHz; its depths come one after the other and count once."""
        if signal is not self._counted:
            self._count(signal)
        self._counted = signal
        side = len(self._parts) - len(self._cascade.codecs)
        frames = number_of_frames(len(signal))
        return lambda: frames * sum(list(self.bits().values())[: side + depth])

    def bits(self) -> dict[str, float]:
        """Bits per frame of each part."""
        pairs = zip(self._parts, self._counts, strict=True)
        return {part.name: part.shape[0] * rate.channels_entropy(counts) for part, counts in pairs}

    def _count(self, signal: Signal) -> None:
        contexts = whole_files.prepare(signal, self._cascade.config).contexts
        depth = len(self._cascade.codecs)
        for start in range(0, len(contexts), whole_files.SIGNAL_BATCH):
            batch = tf.constant(contexts[start : start + whole_files.SIGNAL_BATCH])
            for counts, found in zip(self._counts, self._cascade.soft_counts(batch, depth), strict=True):
                counts += found.numpy()


KIND = SamplesKind()
