"""Encoder and decoder of a cascade on samples as graphs of 16 frames: as `nsc` runs them, and for other machines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from constants import (
    FRAME_LENGTH,
    FRAMES_PER_GROUP,
    GAIN_DECAY_DB,
    GAIN_FLOOR_DB,
    GAIN_LEVELS,
    GAIN_STEP_DB,
    HOP,
    LPC_CONTEXT,
    LPC_WINDOW_LENGTH,
    OVERLAP,
    PRE_EMPHASIS,
)
from kinds.graph import Graph, Port, Tensors
from kinds.kind import DeviceGraphs
from kinds.samples.cascade import SampleCascade
from kinds.samples.serving import concealed_frames, parts_in_order, symbols_of_parts
from nsc.coding.filters import DE_EMPHASIS
from nsc.errors import UserError
from nsc.format.version_1 import delay_samples
from nsc.kinds.samples.analysis import PAST as CONTEXT_PAST
from nsc.kinds.samples.network import CONTEXTS, FRAMES, LOST, USED, Part, port_name
from utilities import GROUP_LENGTH, gains_of

PAST = CONTEXT_PAST + 1  # samples before a span that its frames, their contexts and the pre-emphasis need
INPUT_LENGTH = PAST + GROUP_LENGTH + LPC_CONTEXT
MEMORY = len(DE_EMPHASIS) - 1  # samples that the de-emphasis remembers


def encoder_graph(cascade: SampleCascade) -> Graph:
    """Contexts of 16 frames to the symbols of all parts."""
    contexts = Port(
        CONTEXTS, (FRAMES_PER_GROUP, LPC_WINDOW_LENGTH), "float32", "each frame with its surroundings, at unit level"
    )
    symbols = symbol_ports(cascade.parts())

    def run(contexts: tf.Tensor) -> Tensors:
        found = parts_in_order(cascade.symbols_of(contexts, len(cascade.codecs)))
        return {port.name: values for port, values in zip(symbols, found, strict=True)}

    return Graph("encoder", [contexts], symbols, run)


def decoder_graph(cascade: SampleCascade) -> Graph:
    """Symbols of 16 frames to windowed frames; frames may be lost, the last codecs unused."""
    lost = Port(LOST, (FRAMES_PER_GROUP,), "float32", "how many frames ago the symbols arrived; 0 for those of a frame")
    used = Port(USED, (len(cascade.codecs),), "float32", "1 for each codec that takes part, 0 for the last ones")
    frames = Port(FRAMES, (FRAMES_PER_GROUP, FRAME_LENGTH), "float32", "windowed, at unit level")

    def run(*values: tf.Tensor) -> Tensors:
        *tensors, lost, used = values
        symbols = symbols_of_parts(tensors, time_domain=cascade.config.time_domain)
        return {FRAMES: concealed_frames(cascade, symbols, lost, tf.unstack(used))}

    return Graph("decoder", [*symbol_ports(cascade.parts()), lost, used], [frames], run)


def symbol_ports(parts: Sequence[Part]) -> list[Port]:
    """One port per part, for the symbols of 16 frames."""
    return [
        Port(
            port_name(part),
            (FRAMES_PER_GROUP, *part.shape),
            "int32",
            "symbols by frame, position and channel",
            part.name,
            part.alphabet,
        )
        for part in parts
    ]


def device_graphs(cascade: SampleCascade, layers: int) -> DeviceGraphs:
    """Encoder and decoder of the first `layers` codecs as graphs of a span, for programs on other machines.

    A call of a graph codes one span: 16 frames, 7680 samples, 0.48 s, which share one gain.

    - The encoder begins at samples as they come from the microphone and ends at symbols: pre-emphasis, gain, LPC
      analysis and quantisation are inside.
    - The decoder begins at symbols and ends at samples as they go to the loudspeaker: LPC synthesis, gain, overlap-add
      and de-emphasis are inside. What a span leaves to the next goes through its input and output `state`.
    - Outside are the bytes (header, entropy coder, see docs/bitstream.md), concealment of what was lost, and the 50 Hz
      high-pass, for which no graph is made.

    Raises:
        UserError: the model has a high-pass, whose memory is endless.
    """
    if cascade.config.high_pass:
        raise UserError("expected a model without --high_pass, found one with it; filter outside and train without")
    span = {
        "frames": FRAMES_PER_GROUP,
        "samples": GROUP_LENGTH,
        "frame": FRAME_LENGTH,
        "hop": HOP,
        "overlap": OVERLAP,
        "delay": delay_samples(),
    }
    return DeviceGraphs([_span_encoder(cascade, layers), _span_decoder(cascade, layers)], span)


def _span_encoder(cascade: SampleCascade, layers: int) -> Graph:
    measures_gain = cascade.config.gain == "group"
    gain = Port("gain", (1,), "int32", "gain index of the span", alphabet=GAIN_LEVELS)
    level = Port(
        "level", (1,), "float32", "dB of full scale; the span before gave it as an output", start=GAIN_FLOOR_DB
    )
    samples = Port(
        "samples",
        (INPUT_LENGTH,),
        "float32",
        f"of 16 kHz, full scale 1, from {PAST} before the span to {LPC_CONTEXT} after it; 0 where there are none",
    )
    length = Port(
        "length", (1,), "int32", f"how many of `samples` come before the signal's end, at most {INPUT_LENGTH}"
    )
    symbols = symbol_ports(cascade.parts(layers))

    def run(samples: tf.Tensor, length: tf.Tensor, third: tf.Tensor) -> Tensors:
        samples, emphasised = _prepared(samples, length, pre_emphasis=cascade.config.pre_emphasis)
        outputs = _measured_gain(samples, length, third) if measures_gain else {"gain": third}
        contexts = tf.stack([emphasised[HOP * t : HOP * t + LPC_WINDOW_LENGTH] for t in range(FRAMES_PER_GROUP)])
        found = cascade.symbols_of(contexts / _linear(outputs["gain"]), layers)
        named = {port.name: value for port, value in zip(symbols, parts_in_order(found), strict=True)}
        return named | (outputs if measures_gain else {})

    third, measured = (level, [gain, level]) if measures_gain else (gain, [])
    return Graph("encoder", [samples, length, third], [*measured, *symbols], run)


def _prepared(samples: tf.Tensor, length: tf.Tensor, *, pre_emphasis: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Samples [8225] with silence after the signal's end, and [8224] of them from the second one, emphasised."""
    present = tf.range(INPUT_LENGTH) < length
    samples = tf.where(present, samples, 0.0)
    if not pre_emphasis:
        return samples, samples[1:]
    # the last frames see zeros after the signal, not the filter's response to zeros
    return samples, tf.where(present[1:], samples[1:] - PRE_EMPHASIS * samples[:-1], 0.0)


def _measured_gain(samples: tf.Tensor, length: tf.Tensor, level_before: tf.Tensor) -> Tensors:
    """As `utilities.group_level` and `level_indices`, of a span and the level [1] before it."""
    count = tf.clip_by_value(length - PAST, 1, GROUP_LENGTH)
    energy = tf.reduce_sum(tf.square(samples[PAST : PAST + GROUP_LENGTH]), keepdims=True)
    power = tf.maximum(energy / tf.cast(count, tf.float32), 10.0 ** (GAIN_FLOOR_DB / 10))
    level = tf.maximum(tf.math.log(power) * (10.0 / np.log(10.0)), level_before - GAIN_DECAY_DB)
    steps = tf.round((level - GAIN_FLOOR_DB) / GAIN_STEP_DB)
    return {"gain": tf.cast(tf.clip_by_value(steps, 0.0, GAIN_LEVELS - 1.0), tf.int32), "level": level}


def _linear(gain: tf.Tensor) -> tf.Tensor:
    return tf.gather(gains_of(np.arange(GAIN_LEVELS)), gain)


def _span_decoder(cascade: SampleCascade, layers: int) -> Graph:
    gain = Port("gain", (1,), "int32", "gain index of the span", alphabet=GAIN_LEVELS)
    size = OVERLAP + 1 + (MEMORY if cascade.config.pre_emphasis else 0)
    state = Port("state", (size,), "float32", "what the span before gave as an output", start=0.0)
    samples = Port(
        "samples",
        (GROUP_LENGTH,),
        "float32",
        f"of 16 kHz, full scale 1, {OVERLAP} samples behind: the first {OVERLAP} of a signal come before its start",
    )
    symbols = symbol_ports(cascade.parts(layers))

    def run(gain: tf.Tensor, *values: tf.Tensor) -> Tensors:
        *found, state = values
        symbols = symbols_of_parts(found, time_domain=cascade.config.time_domain)
        frames = cascade.frames_of(symbols)[-1] * _linear(gain)
        signal, seam = _overlap_added(frames, state[:OVERLAP], begun=state[OVERLAP])
        state = tf.concat([seam, [1.0], state[OVERLAP + 1 :]], 0)
        return _de_emphasised(signal, state) if cascade.config.pre_emphasis else {"samples": signal, "state": state}

    return Graph("decoder", [gain, *symbols, state], [samples, state], run)


def _overlap_added(frames: tf.Tensor, seam: tf.Tensor, begun: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The signal [7680] of frames [16, 512] after a seam [32], and the next seam; silence before a signal's start."""
    seams = tf.concat([seam[None], frames[:-1, HOP:]], 0)
    starts = frames[:, :OVERLAP] + seams
    begun_frames = tf.concat([begun[None], tf.ones(FRAMES_PER_GROUP - 1)], 0)
    signal = tf.reshape(tf.concat([starts * begun_frames[:, None], frames[:, OVERLAP:HOP]], 1), [GROUP_LENGTH])
    return signal, frames[-1, HOP:]


def _de_emphasised(signal: tf.Tensor, state: tf.Tensor) -> Tensors:
    """Filters by 1 / (1 - 0.68 z^-1); the end of `state` holds the last samples before the filter."""
    samples = tf.concat([state[-MEMORY:], signal], 0)
    taps = tf.constant(DE_EMPHASIS[::-1, None, None], tf.float32)
    filtered = tf.nn.conv1d(samples[None, :, None], taps, 1, "VALID")
    return {"samples": filtered[0, :, 0], "state": tf.concat([state[:-MEMORY], samples[-MEMORY:]], 0)}
