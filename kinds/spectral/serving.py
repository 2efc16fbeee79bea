"""A spectral cascade as the codec's encoder and decoder see it, computed by its Keras layers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kinds.spectral.cascade import SpectralBatch, SpectralCascade
from kinds.spectral.cascade import SpectralSymbols as Tensors
from kinds.spectral.decoded.concealment import Concealment
from kinds.spectral.decoded.enhancer import Enhanced, Enhancer
from kinds.spectral.grid import memory_of
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.kinds.spectral.level import offset_index
from nsc.kinds.spectral.model import SpectralModel
from nsc.kinds.spectral.network import Quantised, SpectralSettings, in_all_codecs

Floats = NDArray[np.float32]


class KerasSpectralNetwork:
    """Implements `nsc.kinds.spectral.network.SpectralNetwork`."""

    def __init__(self, cascade: SpectralCascade, depth: int) -> None:
        """Takes a cascade, of which the first `depth` codecs make the model."""
        self._cascade, self._depth = cascade, depth

    def quantised(self, samples: Floats, levels: Floats, offsets: Floats, layers: int, state: Floats) -> Quantised:
        batch = SpectralBatch(*(tf.constant(each[None]) for each in (samples, levels, offsets)))
        found, codes, left = self._quantised_of(batch, self._depth, tf.constant(state[None]))
        indices = tuple(code[0].numpy() for code in found.codes[:layers])
        symbols = SpectralSymbols(found.lsf[0].numpy(), found.gains[0].numpy(), indices)
        return Quantised(symbols, tuple(code[0].numpy() for code in codes[:layers]), left[0].numpy())

    def samples(
        self, symbols: SpectralSymbols, levels: Floats, offsets: Floats, noise: Floats | None, state: Floats
    ) -> tuple[Floats, Floats]:
        whole, used = in_all_codecs(symbols, self._depth, self._cascade.hop)
        codes = [tf.constant(code[None]) for code in whole.indices]
        found = Tensors(tf.constant(whole.lsf[None]), tf.constant(whole.gains[None]), codes)
        added = None if noise is None else tf.constant(noise[None])
        given = map(tf.constant, (levels[None], offsets[None], used, state[None]))
        signal, left = self._signal_of(found, *given, added)
        return signal[0].numpy(), left[0].numpy()

    @tf.function(reduce_retracing=True, autograph=False)
    def _quantised_of(
        self, batch: SpectralBatch, depth: int, state: tf.Tensor
    ) -> tuple[Tensors, list[tf.Tensor], tf.Tensor]:
        memory = memory_of(state)
        found, codes = self._cascade.quantised_of(batch, depth, memory)
        return found, codes, memory.state if memory else state

    @tf.function(reduce_retracing=True, autograph=False)
    def _signal_of(
        self,
        symbols: Tensors,
        levels: tf.Tensor,
        offsets: tf.Tensor,
        used: tf.Tensor,
        state: tf.Tensor,
        noise: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        memory = memory_of(state)
        signals = self._cascade.signals_of(symbols, levels, offsets, noise, tf.unstack(used), memory)
        return signals[-1], memory.state if memory else state


class KerasEnhancerNetwork:
    """Implements `nsc.kinds.spectral.enhancer.EnhancerNetwork`."""

    def __init__(self, enhancer: Enhancer) -> None:
        self._enhancer = enhancer

    def enhanced(self, signals: Floats, conditions: Floats, state: Floats) -> tuple[Floats, Floats]:
        found = self._enhanced(*(tf.constant(each[None]) for each in (signals, conditions, state)))
        return found.samples[0].numpy(), found.state[0].numpy()

    @tf.function(reduce_retracing=True, autograph=False)
    def _enhanced(self, signals: tf.Tensor, conditions: tf.Tensor, state: tf.Tensor) -> Enhanced:
        return self._enhancer.call(signals, conditions, state)


class KerasConcealmentNetwork:
    """Implements `nsc.kinds.spectral.concealment.ConcealmentNetwork`."""

    def __init__(self, concealment: Concealment) -> None:
        self._concealment = concealment

    def concealed(self, past: Floats, conditions: Floats, noise: Floats) -> Floats:
        samples: Floats = self._concealed(*(tf.constant(each[None]) for each in (past, conditions, noise)))[0].numpy()
        return samples

    @tf.function(reduce_retracing=True, autograph=False)
    def _concealed(self, past: tf.Tensor, conditions: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        return self._concealment.call(past, conditions, noise)


def settings_of(cascade: SpectralCascade, depth: int) -> SpectralSettings:
    """What encoder and decoder have to know of the first `depth` codecs."""
    config = cascade.config
    return SpectralSettings(
        depth=depth,
        hop=config.hop,
        history=-(-(cascade.past + 1) // config.spectra_per_frame),
        look_ahead=config.look_ahead,
        offset=offset_index(config.default_offset),
        pre_emphasis=config.pre_emphasis,
        spectra_per_frame=config.spectra_per_frame,
        rdo_lambda=config.rdo_lambda,
        noise_fill=config.noise_fill,
        enhancer_state=cascade.enhancer.state_size if cascade.enhancer else 0,
        conceals=cascade.concealment is not None,
        encoder_state=cascade.encoder_state(depth),
        decoder_state=cascade.decoder_state(depth),
    )


def coding_model(cascade: SpectralCascade, coder: SpectralCoder, digest: str) -> SpectralModel:
    """The codecs of a cascade for which there is a coder as a model that encodes and decodes files."""
    enhancer = KerasEnhancerNetwork(cascade.enhancer) if cascade.enhancer else None
    concealment = KerasConcealmentNetwork(cascade.concealment) if cascade.concealment else None
    settings = settings_of(cascade, len(coder.codecs))
    network = KerasSpectralNetwork(cascade, settings.depth)
    return SpectralModel(digest, settings, coder, network, enhancer, concealment)
