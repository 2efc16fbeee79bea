"""The cascade's Keras layers as the network interface of `nsc`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from constants import LPC_ORDER
from kinds.samples.cascade import SampleCascade, Symbols
from nsc.kinds.samples.network import CascadeSettings, Part
from nsc.kinds.samples.network import Symbols as PartSymbols

FADE = 0.85  # of the residual from frame to frame; a group later it is 22 dB down
WIDENING = 0.98  # radius of all poles from frame to frame: resonances broaden as they are held


class KerasNetwork:
    """Implements `nsc.kinds.samples.network.Network`."""

    def __init__(self, cascade: SampleCascade) -> None:
        self._cascade = cascade
        self._frames = tf.function(
            lambda symbols, lost: concealed_frames(cascade, symbols, lost), reduce_retracing=True, autograph=False
        )

    def symbols(self, contexts: NDArray[np.float32], layers: int) -> list[PartSymbols]:
        found = self._cascade.encode(tf.constant(contexts), layers)
        return [np.asarray(each) for each in parts_in_order(found)]

    def frames(self, symbols: Sequence[PartSymbols], lost: NDArray[np.float32]) -> NDArray[np.float32]:
        tensors = [tf.constant(each) for each in symbols]
        named = symbols_of_parts(tensors, time_domain=self._cascade.config.time_domain)
        return np.asarray(self._frames(named, tf.constant(lost)))


def settings_of(cascade: SampleCascade, depth: int | None = None) -> CascadeSettings:
    """The settings of the first `depth` codecs, None for all, that encoder and decoder need."""
    config = cascade.config
    return CascadeSettings(tuple(cascade.parts(depth)), config.gain, config.pre_emphasis, config.high_pass)


def concealed_frames(
    cascade: SampleCascade, symbols: Symbols, lost: tf.Tensor, used: Sequence[tf.Tensor] | None = None
) -> tf.Tensor:
    """Windowed frames, float32 [batch, 512]; those that were lost repeat the symbols of the last one that arrived.

    Args:
        cascade: which decodes.
        symbols: of each frame.
        lost: float32 [batch], how many frames ago the last one arrived; 0 for a frame that arrived.
        used: 1 for each codec that takes part, 0 for those that do not; None for all.
    """
    ages = lost[:, None]
    front_end, polynomial = cascade.front_end, None
    if symbols.lsf is not None:
        polynomial = front_end.decode(symbols.lsf) * WIDENING ** (ages * tf.range(LPC_ORDER + 1, dtype=tf.float32))
    layers = [codec.decode(code, polynomial) for codec, code in zip(cascade.codecs, symbols.codes, strict=False)]
    if used is not None:
        layers = [share * layer for share, layer in zip(used, layers, strict=True)]
    return front_end.window * front_end.synthesise(tf.add_n(layers) * FADE**ages, polynomial)


def symbols_by_part(parts: Sequence[Part], symbols: Symbols) -> dict[str, PartSymbols]:
    """The symbols of a batch, int32 [frames, positions, channels], under the names of their parts."""
    return {part.name: np.asarray(array) for part, array in zip(parts, parts_in_order(symbols), strict=False)}


def parts_in_order(symbols: Symbols) -> list[tf.Tensor]:
    """The symbols of each part, LPC first."""
    return [*([] if symbols.lsf is None else [symbols.lsf]), *symbols.codes]


def symbols_of_parts(tensors: Sequence[tf.Tensor], *, time_domain: bool) -> Symbols:
    """The inverse of `parts_in_order`."""
    return Symbols(None, list(tensors)) if time_domain else Symbols(tensors[0], list(tensors[1:]))
