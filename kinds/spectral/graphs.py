"""Encoder and decoder of a spectral cascade as graphs of any number of frames."""

from __future__ import annotations

import tensorflow as tf

from constants import LPC_ORDER
from kinds.graph import Graph, Port, Tensors
from kinds.kind import DeviceGraphs
from kinds.spectral.cascade import SpectralBatch, SpectralCascade, SpectralSymbols
from kinds.spectral.decoded.concealment import Concealment
from kinds.spectral.decoded.enhancer import Enhancer
from kinds.spectral.grid import Memory
from kinds.spectral.serving import settings_of
from nsc.kinds.spectral import concealment
from nsc.kinds.spectral.enhancer import CONDITION, CONDITIONS, ENHANCED, LAGGED, PLACE, STATE
from nsc.kinds.spectral.network import GAINS, LEVELS, LSF, NOISE, OFFSETS, SAMPLES, USED, code_port, codec_port
from nsc.kinds.spectral.pitch import SIGNALS

ANY = None  # length of an axis that a caller chooses


def encoder_graph(cascade: SpectralCascade, layers: int) -> Graph:
    """Samples of consecutive frames to the symbols of the first `layers` codecs."""
    samples = Port(SAMPLES, (ANY,), "float32", "emphasised, (spectra + 1) hop")
    kept = _state(cascade.encoder_state(layers))
    inputs = [samples, *_steps(), *kept]
    symbols = _symbols(cascade, layers)
    # only an encoder that does not always take the nearest bin needs to know what was quantised
    codes = _codes(cascade, layers) if cascade.config.rdo_lambda else []
    outputs = [*symbols, *codes, *kept]

    def run(samples: tf.Tensor, levels: tf.Tensor, offsets: tf.Tensor, *state: tf.Tensor) -> Tensors:
        memory = Memory(tf.expand_dims(state[0], 0)) if state else None
        batch = SpectralBatch(*(tf.expand_dims(each, 0) for each in (samples, levels, offsets)))
        found, unquantised = cascade.quantised_of(batch, layers, memory)
        left = [memory.state] if memory else []
        values = (found.lsf, found.gains, *found.codes, *unquantised[: len(codes)], *left)
        return {port.name: tf.squeeze(each, 0) for port, each in zip(outputs, values, strict=True)}

    return Graph("encoder", inputs, outputs, run)


def decoder_graph(cascade: SpectralCascade, layers: int) -> Graph:
    """Symbols of consecutive frames to samples, of those of the first `layers` codecs that are used."""
    used = Port(USED, (layers,), "float32", "1 for each codec that takes part, 0 for the last ones")
    kept = _state(cascade.decoder_state(layers))
    ends = "the end lacks its overlap" if kept else "both ends lack their overlap"
    samples = Port(SAMPLES, (ANY,), "float32", f"emphasised, (spectra + 1) hop; {ends}")
    unit = Port(NOISE, (ANY, cascade.hop), "float32", "white, of unit variance, by spectrum and bin")
    added = [unit] if cascade.config.noise_fill else []

    def run(*values: tf.Tensor) -> Tensors:
        given = dict(zip(names, (tf.expand_dims(each, 0) for each in values), strict=True))
        codes = [given[codec_port(number)] for number in range(1, layers + 1)]
        found = SpectralSymbols(given[LSF], given[GAINS], codes)
        part = tf.unstack(tf.squeeze(given[USED], 0))
        memory = Memory(given[STATE]) if kept else None
        signals = cascade.signals_of(found, given[LEVELS], given[OFFSETS], given.get(NOISE), part, memory)
        left = {STATE: tf.squeeze(memory.state, 0)} if memory else {}
        return {SAMPLES: tf.squeeze(signals[-1], 0)} | left

    inputs = [*_symbols(cascade, layers), *_steps(), *added, used, *kept]
    names = [port.name for port in inputs]
    return Graph("decoder", inputs, [samples, *kept], run)


def enhancer_graph(enhancer: Enhancer) -> Graph:
    """Decoded samples beside their past to enhanced ones, and what the next samples depend on."""
    size = enhancer.state_size
    inputs = [
        Port(LAGGED, (ANY, PLACE, SIGNALS), "float32", "by ms and sample: now, one and two lags ago, and after these"),
        Port(CONDITION, (ANY, CONDITIONS), "float32", "of each ms: level, step offset, codecs, correlation, lag"),
        Port(STATE, (size,), "float32", "what the call before gave as an output", start=0.0),
    ]
    outputs = [Port(ENHANCED, (ANY,), "float32", "enhanced"), Port(STATE, (size,), "float32", "for the next call")]

    def run(signals: tf.Tensor, conditions: tf.Tensor, state: tf.Tensor) -> Tensors:
        shapes = [1, -1, SIGNALS], [1, -1, CONDITIONS], [1, size]
        given = zip((signals, conditions, state), shapes, strict=True)
        found = enhancer.call(*(tf.reshape(values, shape) for values, shape in given))
        return {ENHANCED: tf.squeeze(found.samples, 0), STATE: tf.squeeze(found.state, 0)}

    return Graph("enhancer", inputs, outputs, run)


def concealment_graph(layer: Concealment) -> Graph:
    """What was decoded before a loss to samples in place of lost spectra."""
    size = concealment.past_samples(layer.hop)
    facts = "level, correlation, period in samples, spectra since the loss began"
    inputs = [
        Port(concealment.PAST, (size,), "float32", "emphasised, up to the loss"),
        Port(concealment.CONDITION, (concealment.CONDITIONS,), "float32", facts),
        Port(concealment.NOISE, (ANY, layer.hop), "float32", "white, of unit variance, by spectrum and bin"),
    ]
    outputs = [Port(concealment.CONCEALED, (ANY,), "float32", "emphasised; both ends lack their overlap")]

    def run(past: tf.Tensor, conditions: tf.Tensor, noise: tf.Tensor) -> Tensors:
        found = layer.call(*(tf.expand_dims(each, 0) for each in (past, conditions, noise)))
        return {concealment.CONCEALED: tf.squeeze(found, 0)}

    return Graph("concealment", inputs, outputs, run)


def _steps() -> list[Port]:
    return [
        Port(LEVELS, (ANY,), "float32", "amplitude that counts as 1, of each spectrum"),
        Port(OFFSETS, (ANY,), "float32", "of the logarithm of the step, of each spectrum"),
    ]


def _state(size: int) -> list[Port]:
    """What a graph remembers, as input and as output; nothing where it is given past frames instead."""
    meaning = "what the call before gave as an output"
    return [Port(STATE, (size,), "float32", meaning, start=0.0)] if size else []


def _codes(cascade: SpectralCascade, layers: int) -> list[Port]:
    numbers = range(1, layers + 1)
    return [Port(code_port(number), (ANY, cascade.hop), "float32", "what the codec quantised") for number in numbers]


def _symbols(cascade: SpectralCascade, layers: int) -> list[Port]:
    lpc, gain, *codecs = cascade.parts(layers)
    return [
        Port(LSF, (ANY, LPC_ORDER), "int32", "LSFs of each frame", lpc.name, lpc.alphabet),
        Port(GAINS, (ANY,), "int32", "gain of each spectrum", gain.name, gain.alphabet),
        *(
            Port(codec_port(number), (ANY, cascade.hop), "int32", "by spectrum and bin", part.name, part.alphabet)
            for number, part in enumerate(codecs, start=1)
        ),
    ]


def device_graphs(cascade: SpectralCascade, layers: int) -> DeviceGraphs:
    """Encoder, decoder, enhancer and concealment, if there are any: graphs of any number of frames, as `nsc` runs them.

    Their program filters (pre-emphasis), measures levels of groups, and hands over the past frames that networks see.
    """
    settings = settings_of(cascade, layers)
    span = {
        "hop": settings.hop,
        "spectra_per_frame": settings.spectra_per_frame,
        "past_frames": settings.history,
        "look_ahead": settings.look_ahead,
    }
    parts = [enhancer_graph(cascade.enhancer)] if cascade.enhancer else []
    parts += [concealment_graph(cascade.concealment)] if cascade.concealment else []
    return DeviceGraphs([encoder_graph(cascade, layers), decoder_graph(cascade, layers), *parts], span)
