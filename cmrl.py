"""The cascade (CMRL): an optional LPC front end and neural codecs, each coding what the earlier ones left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from constants import LPC_ORDER
from kinds.samples.front_end import Analysis, LpcFrontEnd, TimeDomainFrontEnd
from neural_speech_coding_module import NeuralSpeechCodec
from nn_core_operator import Film, Quantised
from nsc.format.version_1 import CODEC_PART, LPC_PART
from nsc.kinds.samples.network import Part
from options.common import ENHANCER
from options.config import Config


def residual_layers(
    target: tf.Tensor, coders: Sequence[Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]]]
) -> Iterator[tuple[tf.Tensor, Any]]:
    """Cross-module residual learning, the loop of every cascade: each codec codes what the earlier ones left.

    Args:
        target: what all of them together should decode to.
        coders: of each codec, a function of what is left and of what the codec before made of its code (None for the
            first one), which gives what is decoded of it and what it made of its own code.

    Yields:
        The sum of what was decoded so far, and what the codec made of its code.
    """
    decoded, code = tf.zeros_like(target), None
    for coder in coders:
        layer, code = coder(target - decoded, code)
        decoded += layer
        yield decoded, code


class CascadeOutput(NamedTuple):
    """One pass of a batch through the cascade.

    analysis: what the front end found.
    codes: what each codec's quantiser made of its code.
    sums: float32 [batch, 512] each: the residual decoded by the first codec, by the first two, ...
    """

    analysis: Analysis
    codes: list[Quantised]
    sums: list[tf.Tensor]


class Symbols(NamedTuple):
    """All that a batch of frames sends, except the gain.

    lsf: int32 [batch, 1, 16]; None without LPC.
    codes: int32 [batch, positions, channels] of each codec.
    """

    lsf: tf.Tensor | None
    codes: list[tf.Tensor]


class Cascade(keras.Model):
    """Front end and codecs. Every depth of the cascade is a codec by itself."""

    def __init__(self, config: Config, codecs: Sequence[Any] | None = None) -> None:
        """Makes the front end that a configuration describes, and its codecs unless others are given."""
        super().__init__(name="cascade")
        self.config = config
        self.front_end = TimeDomainFrontEnd(config) if config.time_domain else LpcFrontEnd(config)
        own = range(config.num_modules) if codecs is None else ()
        self.codecs = [*(codecs or ()), *(NeuralSpeechCodec(config, module) for module in own)]
        self.built = True

    def call(self, contexts: tf.Tensor, decisions: Sequence[str], lsf_decision: str) -> CascadeOutput:
        """Codes and decodes a batch, up to the depth that `decisions` reaches.

        Args:
            contexts: float32 [batch, 1024], each frame with 256 samples on both sides.
            decisions: how each codec's quantiser decides, see `SoftToHardQuantizer.call`.
            lsf_decision: how the LSF quantiser decides.
        """
        analysis = self.front_end(contexts, decision=lsf_decision)

        def coder(codec: NeuralSpeechCodec, decision: str) -> Callable[[tf.Tensor, Any], tuple[tf.Tensor, Quantised]]:
            return lambda left, _: codec(left, polynomial=analysis.polynomial, decision=decision)

        coders = [coder(*each) for each in zip(self.codecs, decisions, strict=False)]
        layers = list(residual_layers(analysis.residual, coders))
        return CascadeOutput(analysis, [code for _, code in layers], [decoded for decoded, _ in layers])

    @tf.function(reduce_retracing=True, autograph=False)
    def encode(self, contexts: tf.Tensor, depth: int) -> Symbols:
        """As `symbols_of`, compiled."""
        return self.symbols_of(contexts, depth)

    def symbols_of(self, contexts: tf.Tensor, depth: int) -> Symbols:
        """The hard symbols of float32 [batch, 1024] up to `depth` codecs."""
        output = self.call(contexts, ["hard"] * depth, "hard")
        lsf = output.analysis.lsf
        return Symbols(None if lsf is None else lsf.symbols, [code.symbols for code in output.codes])

    @tf.function(reduce_retracing=True, autograph=False)
    def decode(self, symbols: Symbols) -> list[tf.Tensor]:
        """As `frames_of`, compiled."""
        return self.frames_of(symbols)

    def frames_of(self, symbols: Symbols) -> list[tf.Tensor]:
        """Windowed frames, float32 [batch, 512], at every depth, ready for plain overlap-add. Uses symbols only."""
        polynomial = None if symbols.lsf is None else self.front_end.decode(symbols.lsf)
        layers = [codec.decode(code, polynomial) for codec, code in zip(self.codecs, symbols.codes, strict=False)]
        sums = [tf.add_n(layers[:depth]) for depth in range(1, len(layers) + 1)]
        return [self.front_end.window * self.front_end.synthesise(each, polynomial) for each in sums]

    def parts(self, depth: int | None = None) -> list[Part]:
        """The parts of the rate up to `depth` codecs, LPC first."""
        lpc = [] if self.config.time_domain else [Part(LPC_PART, (1, LPC_ORDER), self.config.lsf_levels)]
        return lpc + [
            Part(f"{CODEC_PART} {number}", codec.symbols_shape, codec.quantizer.codebook.shape[0])
            for number, codec in enumerate(self.codecs[:depth], start=1)
        ]

    def soft_hard_gaps(self, contexts: tf.Tensor, depth: int) -> dict[str, float]:
        """How far each part's soft mixture is from its hard decision, on float32 [batch, 1024]."""
        output = self.call(contexts, ["straight_through"] * depth, "straight_through")
        lsf = [] if output.analysis.lsf is None else [(self.front_end, output.analysis.lsf)]
        pairs = lsf + list(zip(self.codecs, output.codes, strict=False))
        return {
            part.name: float(layer.quantizer.soft_hard_gap(quantised))
            for part, (layer, quantised) in zip(self.parts(depth), pairs, strict=True)
        }

    @tf.function(reduce_retracing=True, autograph=False)
    def soft_counts(self, contexts: tf.Tensor, depth: int) -> list[tf.Tensor]:
        """How often each part's channels take each value, float32 [channels, alphabet], by soft assignments."""
        output = self.call(contexts, ["straight_through"] * depth, "straight_through")
        quantised = ([] if output.analysis.lsf is None else [output.analysis.lsf]) + output.codes
        return [tf.reduce_sum(each.assignments, axis=(0, 1)) for each in quantised]

    def saved_layers(self, depth: int) -> list[keras.layers.Layer]:
        """The layers whose weights make the model of the first `depth` codecs, in the order of a saved model."""
        return [self.front_end, *self.codecs[:depth]]

    def variables_of(self, modules: Sequence[int], *, front_end: bool) -> list[keras.Variable]:
        """The trainable variables of the named modules (from 0) and, if asked for, of the front end."""
        layers: list[keras.layers.Layer] = [self.codecs[module] for module in modules]
        return [variable for layer in [self.front_end] * front_end + layers for variable in layer.trainable_variables]


@dataclass(frozen=True)
class Stage:
    """One step of the training schedule.

    name: "first", "follower_2" ..., or "finetune".
    depth: number of codecs in use.
    trained: modules (from 0) whose weights move; none where the enhancer of decoded speech is trained alone.
    trains_front_end: whether the LSF codebook moves with them.
    epochs, learning_rate: as the flags of this stage say.
    warm_up: first epochs without quantisers.
    """

    name: str
    depth: int
    trained: tuple[int, ...]
    trains_front_end: bool
    epochs: int
    learning_rate: float
    warm_up: int = 0


def stages_of(config: Config) -> list[Stage]:
    """The stages that the training mode runs, in order."""
    first = Stage(
        "first",
        1,
        (0,),
        config.train_lsf_codebook,
        config.epochs,
        config.learning_rate,
        config.pretrain_epochs,
    )
    followers = [_follower_stage(config, module) for module in range(1, config.num_modules)]
    finetune = Stage(
        "finetune",
        config.num_modules,
        () if config.finetuned == ENHANCER else tuple(range(config.num_modules)),
        config.train_lsf_codebook and config.finetuned != ENHANCER,
        int(config.follower_setting(config.follower_epochs, None)),
        config.follower_setting(config.follower_learning_rates, None),
    )
    greedy = [first, *followers]
    third = [first] if config.original_modes else greedy
    return {1: [first], 2: followers, 3: third, 4: greedy, 5: [finetune]}[config.training_mode]


def _follower_stage(config: Config, module: int) -> Stage:
    """The stage of follower `module` (1 is the first one); its last epoch is always quantised."""
    epochs = int(config.follower_setting(config.follower_epochs, module))
    return Stage(
        f"follower_{module + 1}",
        module + 1,
        (module,),
        False,
        epochs,
        config.follower_setting(config.follower_learning_rates, module),
        warm_up=min(config.follower_pretrain_epochs, epochs - 1),
    )


def count_parameters(cascade: Cascade, depth: int | None = None) -> int:
    """Weights of the front end and of the first `depth` codecs, None for all."""
    return sum(layer.count_params() for layer in [cascade.front_end, *cascade.codecs[:depth]])


def multiply_adds(cascade: Cascade, depth: int | None = None) -> int:
    """Multiply-adds of the networks of the first `depth` codecs for one frame, encoder and decoder, by shapes."""
    total = 0
    for codec in cascade.codecs[:depth]:
        for network in (codec.encoder, codec.decoder):
            total += _multiply_adds(network)
    return total


def _multiply_adds(network: keras.Model) -> int:
    total = 0
    for layer in network.layers:
        kernels = [np.prod(weight.shape) for weight in layer.weights if len(weight.shape) > 1]
        times = 1 if isinstance(layer, Film) else layer.output.shape[1]
        total += int(times * sum(kernels))
    return total
