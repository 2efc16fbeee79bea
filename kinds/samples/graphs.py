"""Encoder and decoder of a cascade on samples as graphs of 16 frames, as `nsc` runs them."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from cmrl import Cascade
from kinds.graph import Graph, Port, Tensors
from kinds.samples.serving import concealed_frames, parts_in_order, symbols_of_parts
from nsc.format.version_1 import FRAME_LENGTH, FRAMES_PER_GROUP, LPC_WINDOW_LENGTH
from nsc.kinds.samples.network import CONTEXTS, FRAMES, LOST, USED, Part, port_name


def encoder_graph(cascade: Cascade) -> Graph:
    """Contexts of 16 frames to the symbols of all parts."""
    contexts = Port(
        CONTEXTS, (FRAMES_PER_GROUP, LPC_WINDOW_LENGTH), "float32", "each frame with its surroundings, at unit level"
    )
    symbols = symbol_ports(cascade.parts())

    def run(contexts: tf.Tensor) -> Tensors:
        found = parts_in_order(cascade.symbols_of(contexts, len(cascade.codecs)))
        return {port.name: values for port, values in zip(symbols, found, strict=True)}

    return Graph("encoder", [contexts], symbols, run)


def decoder_graph(cascade: Cascade) -> Graph:
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
