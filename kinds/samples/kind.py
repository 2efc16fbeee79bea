"""Networks on frames of samples as a kind: see `kinds.kind.Kind`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Cascade, CascadeOutput, Stage, count_parameters, multiply_adds
from kinds.kind import DeviceGraphs, Form, Losses, Moment, Tables, TrainingSpeech
from kinds.samples import batch as whole_files
from kinds.samples import rate, spans
from kinds.samples.control import RateController
from kinds.samples.estimate import HistogramEstimate
from kinds.samples.graphs import decoder_graph, encoder_graph
from kinds.samples.objective import objective
from kinds.samples.serving import KerasNetwork, settings_of, symbols_by_part
from kinds.samples.tables import fit_models, training_symbols
from nsc.coding.interface import Signal
from nsc.entropy.check import check_tables
from nsc.kinds.samples.model import CascadeModel
from options.config import Config


class SamplesKind:
    """Implements `kinds.kind.Kind`."""

    second_moment = 0.999
    step_share = 1.0

    def cascade(self, config: Config) -> Cascade:
        """See `Kind`."""
        return Cascade(config)

    def controller(self, cascade: Cascade, stage: Stage) -> RateController:
        """See `Kind`."""
        return RateController(cascade.config, stage, cascade.parts())

    def batch_form(self, config: Config, *, augmented: bool) -> dict[str, Any]:
        """See `Kind`; frames of a random level."""
        return {
            "batch_size": config.batch_size,
            "consecutive": config.consecutive_frames,
            "gain_augmentation_db": config.gain_augmentation_db if augmented else 0.0,
        }

    def batch(self, speech: tf.Tensor, config: Config, moment: Moment) -> tf.Tensor:
        """See `Kind`; contexts float32 [batch, 1024] as they come from the corpus."""
        return speech

    def losses(
        self, output: CascadeOutput, batch: tf.Tensor, cascade: Cascade, stage: Stage, tau: tf.Tensor, *, warm_up: bool
    ) -> Losses:
        """See `Kind`."""
        return objective(output, cascade, stage, tau, warm_up=warm_up)

    def observed(self, output: CascadeOutput, batch: tf.Tensor) -> list[tf.Tensor]:
        """See `Kind`; the symbols of each part, LPC first."""
        lsf = output.analysis.lsf
        return ([] if lsf is None else [lsf.symbols]) + [code.symbols for code in output.codes]

    def tables(self, cascade: Cascade, stage: Stage, speech: TrainingSpeech) -> Tables:
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

    def check_tables(self, cascade: Cascade, tables: Tables) -> None:
        """See `Kind`."""
        parts = cascade.parts()
        check_tables(tables, {part.name: part.shape for part in parts}, {part.name: part.alphabet for part in parts})

    def coding_model(self, cascade: Cascade, tables: Tables, digest: str, depth: int) -> CascadeModel:
        """See `Kind`."""
        return CascadeModel(digest, settings_of(cascade, depth), tables, KerasNetwork(cascade))

    def diagnostics(self, cascade: Cascade, signal: Signal, depth: int) -> dict[str, float]:
        """See `Kind`; RMS of soft mixture less hard decision of each part's values."""
        contexts = whole_files.prepare(signal, cascade.config).contexts
        gaps = cascade.soft_hard_gaps(tf.constant(contexts), depth)
        return {f"gap {name}": value for name, value in gaps.items()}

    def estimate(self, model: Any) -> HistogramEstimate:
        """See `Kind`."""
        return HistogramEstimate(model.cascade)

    def paper_style_kbps(self, codes: Sequence[NDArray[np.int32]]) -> float:
        """See `Kind`."""
        return rate.paper_style_kbps(codes)

    def codebooks(self, cascade: Cascade) -> dict[str, NDArray[np.float32]]:
        """See `Kind`."""
        layers = [*([] if cascade.config.time_domain else [cascade.front_end]), *cascade.codecs]
        pairs = zip(cascade.parts(), layers, strict=True)
        return {part.name: np.asarray(layer.quantizer.codebook) for part, layer in pairs}

    def form(self, cascade: Cascade) -> Form:
        """See `Kind`."""
        depths = range(1, len(cascade.codecs) + 1)
        settings = settings_of(cascade)
        described = {
            "parts": [part._asdict() for part in settings.parts],
            "gain": settings.gain,
            "pre_emphasis": settings.pre_emphasis,
            "high_pass": settings.high_pass,
        }
        costs = [round(multiply_adds(cascade, depth) * rate.FRAMES_PER_SECOND) for depth in depths]
        parameters = list(map(partial(count_parameters, cascade), depths))
        return Form(
            "cascade",
            encoder_graph(cascade),
            decoder_graph(cascade),
            described,
            parameters,
            costs,
            1 / rate.FRAMES_PER_SECOND,
        )

    def device_graphs(self, cascade: Cascade, layers: int) -> DeviceGraphs:
        """See `Kind`."""
        return spans.device_graphs(cascade, layers)


KIND = SamplesKind()
