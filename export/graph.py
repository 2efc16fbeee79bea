"""Functions of tensors as graphs on disk: LiteRT, or TensorFlow's SavedModel."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from cmrl import Cascade
from export.half_weights import with_half_weights
from kinds.graph import Graph, Tensors
from lpc_utilities import without_float64
from nsc.atomic import folder_written_whole
from nsc.errors import UserError
from nsc.loading.litert import SIGNATURE


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder that becomes `target`, which does not exist yet, at the end: whole or not at all.

    Raises:
        UserError: the folder exists or cannot be written.
    """
    try:
        with folder_written_whole(target) as folder:
            yield folder
    except FileExistsError:
        raise UserError(f"expected a folder that does not exist yet, found {target}; name another") from None
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror}); choose another place") from None


def as_litert(graph: Graph, weights: str) -> bytes:
    """A graph in LiteRT's format, in float32 alone; weights 'float32' or 'int8'.

    Weights that half precision holds exactly, as those of released models, take half the space.
    """
    with without_float64():
        function = tf.function(graph.run, [port.spec for port in graph.inputs], autograph=False)
        # else the converter would write Keras's variables without their values
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())

    def run(*values: tf.Tensor) -> Tensors:
        return dict(zip(sorted(port.name for port in graph.outputs), frozen(*values), strict=True))

    with tempfile.TemporaryDirectory() as folder:
        # only a SavedModel's signature keeps the names of inputs and outputs
        _save(graph, run, Path(folder), frozen)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if weights == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return with_half_weights(bytes(converter.convert()))


def save_model_of(graph: Graph, cascade: Cascade, folder: Path) -> None:
    """Writes a graph as a SavedModel, with the cascade's variables."""
    _save(graph, graph.run, folder, cascade)


def _save(graph: Graph, run: Callable[..., Tensors], folder: Path, tracked: Any) -> None:
    module = tf.Module()
    module.tracked = tracked
    module.run = tf.function(run, [port.spec for port in graph.inputs], autograph=False)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.run}, options=options)
