"""A saved model as a folder that `nsc` loads: graphs of its network, tables, and a description with their hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from cmrl import Cascade, count_parameters, multiply_adds
from export.graph import as_litert, symbol_ports
from kinds.graph import Graph, Port, Tensors
from kinds.samples.rate import FRAMES_PER_SECOND, Tables
from kinds.samples.serving import concealed_frames, parts_in_order, settings_of, symbols_of_parts
from kinds.spectral import graphs as spectral_graphs
from kinds.spectral import serving
from kinds.spectral.cascade import SpectralCascade
from nsc.atomic import atomic_write, folder_written_whole
from nsc.errors import UserError
from nsc.format.version_1 import FRAME_LENGTH, FRAMES_PER_GROUP, LPC_WINDOW_LENGTH
from nsc.kinds.samples.network import CONTEXTS, FRAMES, LOST, USED
from nsc.loading.folder import DECODER, DESCRIPTION, ENCODER, ENHANCER, TABLES, Description, write_description
from runs.saved_model import SavedModel


def export_codec(model: SavedModel, target: Path, weights: str = "float32") -> int:
    """Writes a model into a new folder, whole or not at all; the folder's name is the model's.

    Args:
        model: what is exported.
        target: the folder, which does not exist yet.
        weights: 'float32' or 'int8'.

    Returns:
        Bytes of all files together.

    Raises:
        UserError: the folder exists or cannot be written.
    """
    try:
        with folder_written_whole(target) as folder:
            return write_codec(model, folder, target.name, weights)
    except FileExistsError:
        raise UserError(f"expected a folder that does not exist yet, found {target}; name another") from None
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror}); choose another place") from None


def write_codec(model: SavedModel, folder: Path, name: str, weights: str = "float32", kbps: float | None = None) -> int:
    """Writes a model's files into a folder; returns the bytes of all of them.

    Args:
        model: what is exported.
        folder: gets the graphs, tables and description.
        name: by which the model goes.
        weights: 'float32' or 'int8'.
        kbps: of speech on average, where that was measured.
    """
    cascade = model.cascade
    form = _spectral_form(cascade) if isinstance(cascade, SpectralCascade) else _cascade_form(cascade)
    files = {
        ENCODER: as_litert(form.encoder, weights),
        DECODER: as_litert(form.decoder, weights),
        TABLES: _packed(model.tables),
    }
    if form.enhancer:
        files[ENHANCER] = as_litert(form.enhancer, weights)
    description = Description(
        folder,
        form.kind,
        name,
        model.digest,
        weights,
        form.settings,
        form.parameters,
        form.multiply_adds,
        {file: hashlib.sha256(data).hexdigest() for file, data in files.items()},
        kbps,
    )
    contents: dict[str, bytes | str] = {**files, DESCRIPTION: write_description(description)}
    for file, content in contents.items():
        atomic_write(folder / file, content)
    return sum((folder / file).stat().st_size for file in contents)


class Form(NamedTuple):
    """What a folder holds of a kind of cascade, see `Description`."""

    kind: str
    encoder: Graph
    decoder: Graph
    settings: dict[str, Any]
    parameters: list[int]
    multiply_adds: list[int]
    enhancer: Graph | None = None


def _cascade_form(cascade: Cascade) -> Form:
    depths = range(1, len(cascade.codecs) + 1)
    settings = settings_of(cascade)
    described = {
        "parts": [part._asdict() for part in settings.parts],
        "gain": settings.gain,
        "pre_emphasis": settings.pre_emphasis,
        "high_pass": settings.high_pass,
    }
    parameters = [count_parameters(cascade, depth) for depth in depths]
    costs = [round(multiply_adds(cascade, depth) * FRAMES_PER_SECOND) for depth in depths]
    return Form("cascade", encoder_graph(cascade), decoder_graph(cascade), described, parameters, costs)


def _spectral_form(cascade: SpectralCascade) -> Form:
    depths = range(1, len(cascade.codecs) + 1)
    settings = dataclasses.asdict(serving.settings_of(cascade, len(cascade.codecs)))
    parameters = [cascade.count_parameters(depth) for depth in depths]
    costs = [cascade.multiply_adds(depth) for depth in depths]
    encoder, decoder = spectral_graphs.encoder_graph(cascade), spectral_graphs.decoder_graph(cascade)
    enhancer = spectral_graphs.enhancer_graph(cascade.enhancer) if cascade.enhancer else None
    return Form("spectral", encoder, decoder, settings, parameters, costs, enhancer)


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


def _packed(tables: Tables) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **tables)  # type: ignore[arg-type]
    return buffer.getvalue()
