"""Encoder and decoder of a saved model as graphs for other machines: LiteRT, or TensorFlow's SavedModel.

What a call of a graph takes and gives is of the model's kind (`graphs.py`) and
written into export.json. Bytes and concealment stay outside of the graphs.

LiteRT has no inverse FFT, no complex addition and hardly any float64, so that its graphs filter by the same real
recursion as the library, in float32 (`lpc_utilities.without_float64`). A SavedModel computes what the library computes.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from constants import SAMPLE_RATE
from export.graph import as_litert, new_folder, save_model_of
from kinds import kind_of
from kinds.graph import Graph, Port
from kinds.kind import DeviceGraphs
from nsc.coding.interface import check_layers
from nsc.errors import UserError
from nsc.loading.litert import SIGNATURE
from runs.saved_model import SavedModel

DESCRIPTION = "export.json"


def export_model(
    model: SavedModel, target: Path, form: str, weights: str = "float32", layers: int | None = None
) -> int:
    """Writes encoder, decoder and their description into a new folder, whole or not at all.

    Args:
        model: what is exported.
        target: the folder, which does not exist yet: encoder.tflite and decoder.tflite, or folders encoder and decoder,
            and export.json.
        form: 'litert' or 'savedmodel'.
        weights: 'float32', or 'int8' for LiteRT.
        layers: codecs of the cascade; None for all.

    Returns:
        Bytes of all files together.

    Raises:
        UserError: the folder exists or cannot be written, or the model cannot be exported in this way.
    """
    layers = check_layers(layers, len(model.cascade.codecs), "model")
    if form == "savedmodel" and weights != "float32":
        raise UserError(f"expected float32 weights in a SavedModel, found {weights}; int8 goes with --format litert")
    made = kind_of(model.cascade.config).device_graphs(model.cascade, layers)
    graphs = made.graphs
    with new_folder(target) as folder:
        files = {graph.name: _write(graph, model.cascade, folder, form, weights) for graph in graphs}
        description = _description(model, made, files, form, weights, layers)
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _write(graph: Graph, cascade: Any, folder: Path, form: str, weights: str) -> str:
    """Writes a graph and gives its name in the folder."""
    if form == "savedmodel":
        save_model_of(graph, cascade, folder / graph.name)
        return graph.name
    name = f"{graph.name}.tflite"
    (folder / name).write_bytes(as_litert(graph, weights))
    return name


def _description(
    model: SavedModel, made: DeviceGraphs, files: dict[str, str], form: str, weights: str, layers: int
) -> dict[str, Any]:
    return {
        "model": model.digest,
        "stage": model.stage,
        "layers": layers,
        "format": form,
        "weights": weights,
        "sample_rate": SAMPLE_RATE,
        "span": made.span,
    } | {
        graph.name: {
            "file": files[graph.name],
            "signature": SIGNATURE,
            "inputs": [_as_json(port) for port in graph.inputs],
            "outputs": [_as_json(port) for port in graph.outputs],
        }
        for graph in made.graphs
    }


def _as_json(port: Port) -> dict[str, Any]:
    return {name: value for name, value in asdict(port).items() if value is not None}
