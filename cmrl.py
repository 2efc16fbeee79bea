"""The cascade (CMRL): a front end and neural codecs, each coding what the earlier ones left, and its stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from nsc.kinds.samples.network import Part
from options.common import CONCEALMENT, ENHANCER
from options.config import Config


class Cascade(keras.Model):
    """Front end and codecs of any kind of network. Every depth of the cascade is a codec by itself."""

    frames_per_second: float

    def __init__(self, config: Config, front_end: keras.layers.Layer, codecs: Sequence[Any]) -> None:
        """Puts together what a configuration describes."""
        super().__init__(name="cascade")
        self.config, self.front_end, self.codecs = config, front_end, list(codecs)
        self.built = True

    def call(self, batch: Any, decisions: Sequence[str], lsf_decision: str) -> Any:
        """Codes and decodes a batch, up to the depth that `decisions` reaches.

        Args:
            batch: as the kind's `batch` gives it.
            decisions: how each codec's quantiser decides.
            lsf_decision: how the LSF quantiser decides.
        """
        raise NotImplementedError

    def parts(self, depth: int | None = None) -> list[Part]:
        """The parts of the rate up to `depth` codecs, None for all, side information first."""
        raise NotImplementedError

    def saved_layers(self, depth: int) -> list[keras.layers.Layer]:
        """The layers whose weights make the model of the first `depth` codecs, in the order of a saved model."""
        return [self.front_end, *self.codecs[:depth]]

    def variables_of(self, modules: Sequence[int], *, front_end: bool) -> list[keras.Variable]:
        """The trainable variables of the named modules (from 0) and, if asked for, of the front end."""
        layers = [self.front_end] * front_end + self.trained_layers(modules)
        return [variable for layer in layers for variable in layer.trainable_variables]

    def trained_layers(self, modules: Sequence[int]) -> list[keras.layers.Layer]:
        """The layers that are trained with the named modules (from 0)."""
        return [self.codecs[module] for module in modules]

    def coding_layers(self, depth: int | None) -> list[keras.layers.Layer]:
        """The layers by which the first `depth` codecs code."""
        return [self.front_end, *self.codecs[:depth]]

    def count_parameters(self, depth: int | None = None) -> int:
        """Weights by which the first `depth` codecs code, None for all."""
        return sum(layer.count_params() for layer in self.coding_layers(depth))

    def multiply_adds(self, depth: int | None = None) -> int:
        """Multiply-adds of the first `depth` codecs, None for all, for a second of speech, both ways, by shapes."""
        raise NotImplementedError


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


@dataclass(frozen=True)
class Stage:
    """One step of the training schedule.

    name: "first", "follower_2" ..., or "finetune".
    depth: number of codecs in use.
    trained: modules (from 0) whose weights move; none where a part behind the codecs is trained alone.
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
    alone = config.finetuned in (ENHANCER, CONCEALMENT)
    finetune = Stage(
        "finetune",
        config.num_modules,
        () if alone else tuple(range(config.num_modules)),
        config.train_lsf_codebook and not alone,
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
