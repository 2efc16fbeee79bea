"""What a kind of network is to training, evaluation and export: they ask it through this protocol and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Stage
from constants import LPC_WINDOW_LENGTH
from kinds.control import RateController
from kinds.graph import Graph
from nsc.coding.interface import Model, Signal
from options.config import Config

Tables = dict[str, NDArray[np.int32]]


class Losses(NamedTuple):
    """The objective, its terms by name, scalars without their weights, and entropies [depth] in bits per symbol."""

    total: tf.Tensor
    terms: dict[str, tf.Tensor]
    entropies: tf.Tensor


class Moment(NamedTuple):
    """Where a step is in training, for what it draws at random.

    step: int64 scalar, from 0 in each stage. stage: in training. number: of the stage, other for each of a run's.
    replica, replicas: number of this one, and how many share the batch.
    """

    step: tf.Variable
    stage: Stage
    number: int
    replica: tf.Tensor | int
    replicas: int


class BatchForm(NamedTuple):
    """What of speech makes a batch.

    batch_size: frames in it.
    pre_emphasis, high_pass: filters of the speech, see `corpus.packed.PackedCorpus.contexts`.
    gain_augmentation_db: frames are scaled by random gains within +- this many dB.
    consecutive: it consists of runs of so many neighbouring frames, which divides 16: each has one gain.
    length: samples centred on each frame: with long ones, frames only say where stretches of speech lie.
    """

    batch_size: int
    pre_emphasis: bool
    high_pass: bool
    gain_augmentation_db: float = 0.0
    consecutive: int = 1
    length: int = LPC_WINDOW_LENGTH


class TrainingSpeech(NamedTuple):
    """Speech of training for a model's tables.

    paths: of all training files. batches: so many batches as training takes them, without augmentation.
    minutes: of files to use. batches_used: batches to use. fit_steps: steps in which the rate is fitted once more on
    these files before a model is saved; 0 while training goes on.
    """

    paths: Sequence[Path]
    batches: Callable[[int], Iterator[tf.Tensor]]
    minutes: float
    batches_used: int
    fit_steps: int = 0


class Form(NamedTuple):
    """What a folder for `nsc` holds of a cascade.

    kind: by which `nsc` knows it. encoder, decoder, enhancer, concealment: graphs that `nsc` runs.
    settings: of a folder's description.
    parameters, multiply_adds: of the first codecs 1, 2, ...; multiply-adds for a second of speech.
    frame_seconds: new speech of a frame.
    """

    kind: str
    encoder: Graph
    decoder: Graph
    settings: dict[str, Any]
    parameters: list[int]
    multiply_adds: list[int]
    frame_seconds: float
    enhancer: Graph | None = None
    concealment: Graph | None = None


class DeviceGraphs(NamedTuple):
    """Encoder and decoder for programs on other machines, and what their description says of a call."""

    graphs: list[Graph]
    span: dict[str, int]


class Kind(Protocol):
    """A kind of network, from its cascade to the models that code with it.

    second_moment: share of Adam's second moment that survives a step.
    step_share: of a matrix product's speed that a training step reaches at best, for the benchmark.
    """

    second_moment: float
    step_share: float

    def cascade(self, config: Config) -> Any:
        """A cascade with fresh weights."""
        ...

    def controller(self, cascade: Any, stage: Stage) -> RateController:
        """What steers the rate in a stage."""
        ...

    def batch_form(self, config: Config, *, augmented: bool) -> BatchForm:
        """What of speech makes a batch, with random levels where it is augmented."""
        ...

    def batch(self, speech: tf.Tensor, config: Config, moment: Moment) -> Any:
        """What the cascade codes of a replica's share of speech."""
        ...

    def losses(self, output: Any, batch: Any, cascade: Any, stage: Stage, tau: tf.Tensor, *, warm_up: bool) -> Losses:
        """The objective of a batch that went through the cascade."""
        ...

    def observed(self, output: Any, batch: Any) -> Any:
        """What of a batch the controller observes."""
        ...

    def tables(self, cascade: Any, stage: Stage, speech: TrainingSpeech) -> Tables:
        """Probability tables of the first codecs of a cascade, up to the stage's depth."""
        ...

    def check_tables(self, cascade: Any, tables: Tables) -> None:
        """Raises UserError where tables are not those of a coder of the cascade's symbols."""
        ...

    def coding_model(self, cascade: Any, tables: Tables, digest: str, depth: int) -> Model:
        """The first codecs of a cascade as `nsc` codes with them, computed by Keras."""
        ...

    def diagnostics(self, cascade: Any, signal: Signal, depth: int) -> dict[str, float]:
        """What a validation notes beside scores, such as how far soft decisions are from hard ones."""
        ...

    def estimate(self, model: Any) -> Estimate:
        """Training's estimate of the rate of files, to compare with what they cost."""
        ...

    def paper_style_kbps(self, codes: Sequence[NDArray[np.int32]]) -> float:
        """The rate as the papers counted it, of symbols [frames, positions, channels]; nan where that means nothing."""
        ...

    def codebooks(self, cascade: Any) -> dict[str, NDArray[np.float32]]:
        """Where the values of each part's symbols lie: [alphabet], or [alphabet, dimensions] of vectors."""
        ...

    def form(self, cascade: Any) -> Form:
        """For a folder of `nsc`."""
        ...

    def device_graphs(self, cascade: Any, layers: int) -> DeviceGraphs:
        """Graphs of the first `layers` codecs for LiteRT or TensorFlow's SavedModel.

        Raises:
            UserError: there are none for this model.
        """
        ...


class Estimate(Protocol):
    """Training's estimate of the rate of files, collected file by file."""

    def add(self, signal: Signal, data: bytes, depth: int) -> Callable[[], float]:
        """Takes in a file; what it returns gives bits of all its parts, once all files were added."""
        ...
