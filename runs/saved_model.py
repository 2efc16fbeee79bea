"""Models on disk: weights, probability tables and configuration of one stage, named by their hash."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cmrl import Cascade
from kinds import cascade_of, kind_of
from kinds.kind import Kind, Tables
from nsc.errors import UserError
from options.bounds import check_bounds, check_weights
from options.config import Config, from_dict
from runs.model_file import check_shapes, read_arrays, read_description, sizes_by_layer
from runs.stages import ARRAYS, DESCRIPTION, STAGES
from utilities import atomic_write

TABLE_PREFIX = "table/"
LARGE_WEIGHT = 1024  # numbers in an array that half precision makes worth while: no bias, no codebook


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A loaded model: the cascade, its tables, the stage it comes from and the hash of its contents."""

    cascade: Any  # of the kind that its configuration names
    tables: Tables
    stage: str
    digest: str

    @property
    def kind(self) -> Kind:
        """Of its networks."""
        return kind_of(self.cascade.config)

    @functools.cached_property
    def coding(self) -> Any:
        """The model as `nsc` codes with it, an `nsc.coding.interface.Model`, its network computed by Keras."""
        return self.kind.coding_model(self.cascade, self.tables, self.digest, len(self.cascade.codecs))


def save_model(
    run_folder: Path, stage: str, cascade: Cascade, tables: Tables, depth: int, taus: Sequence[float] = ()
) -> str:
    """Writes the first `depth` codecs of a cascade as a stage of a run.

    Args:
        run_folder: the run's folder.
        stage: the stage's name.
        cascade: gives weights and configuration.
        tables: of every part's symbols.
        depth: how many codecs are written.
        taus: weights of the codecs' entropy at which training has arrived, for a later stage to go on from.

    Returns:
        The first eight hex digits of the SHA-256 of weights, tables and configuration.
    """
    config = dataclasses.replace(
        cascade.config,
        num_modules=depth,
        strides=cascade.config.of_modules("strides")[:depth],
        bins=cascade.config.of_modules("bins")[:depth],
        quantizer=cascade.config.quantizer[:depth],
        target_entropy_per_module=cascade.config.target_entropy_per_module[:depth],
    )
    arrays = weights_of(cascade, depth) | {TABLE_PREFIX + name: table for name, table in tables.items()}
    # without places and displays, which make no other model
    description = {"stage": stage, "config": config.identity(), "tau": [round(float(tau), 4) for tau in taus]}
    return _write(run_folder / STAGES / stage, arrays, description)


def release_model(stage_folder: Path, run_folder: Path, data_dir: str) -> str:
    """Writes a saved stage into another run's folder with its large weights in half precision.

    Another model results, with a hash of its own, that codes alike.

    Args:
        stage_folder: the stage.
        run_folder: the other run's folder.
        data_dir: what the configuration shall say of where the speech lay, without places of a machine.

    Returns:
        The first eight hex digits of its hash.
    """
    arrays, description = _read(stage_folder)
    del description["sha256"]
    description["config"]["data_dir"] = data_dir
    for name, array in arrays.items():
        if array.dtype == np.float32 and array.size >= LARGE_WEIGHT:
            arrays[name] = array.astype(np.float16)
    return _write(run_folder / STAGES / description["stage"], arrays, description)


def load_model(folder: Path) -> SavedModel:
    """Loads a stage's folder.

    Raises:
        UserError: files are missing, damaged, do not have the hash that they carry, or do not fit together.
    """
    arrays, description = _read(folder)
    tables = {name.removeprefix(TABLE_PREFIX): array for name, array in arrays.items() if name.startswith(TABLE_PREFIX)}
    weights = {name: array for name, array in arrays.items() if not name.startswith(TABLE_PREFIX)}
    with _naming(folder):
        cascade = cascade_of(_checked_config(description, weights))
        variables = _named_variables(cascade, len(cascade.codecs))
        check_shapes(weights, {name: tuple(variable.shape) for name, variable in variables.items()})
        kind_of(cascade.config).check_tables(cascade, tables)
    assign_weights(cascade, weights)
    return SavedModel(cascade, tables, description["stage"], description["sha256"][:8])


def saved_config(folder: Path) -> Config:
    """The configuration of a stage's folder."""
    arrays, description = _read(folder)
    with _naming(folder):
        return _checked_config(description, arrays)


def saved_taus(folder: Path) -> list[float]:
    """The weights of the codecs' entropy (tau) at the end of training."""
    return list(_read(folder)[1].get("tau", []))


def saved_weights(folder: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a stage's folder, hash-checked."""
    return _read(folder)[0]


def weights_of(cascade: Cascade, depth: int) -> dict[str, NDArray[np.float32]]:
    """Every weight of the front end and of the first `depth` codecs, under stable names."""
    return {name: np.asarray(variable) for name, variable in _named_variables(cascade, depth).items()}


def assign_weights(cascade: Cascade, arrays: dict[str, NDArray[Any]]) -> None:
    """Puts saved weights into a cascade; codecs that the arrays do not hold keep theirs.

    Raises:
        UserError: a weight has another shape than the network.
    """
    for name, variable in _named_variables(cascade, len(cascade.codecs)).items():
        if name not in arrays:
            continue
        if tuple(arrays[name].shape) != tuple(variable.shape):
            raise UserError(
                f"the saved model's {name} has shape {arrays[name].shape}, the network expects {tuple(variable.shape)};"
                " give the flags with which it was trained"
            )
        variable.assign(arrays[name])


def _named_variables(cascade: Cascade, depth: int) -> dict[str, keras.Variable]:
    layers = cascade.saved_layers(depth)
    return {f"{layer.name}/{number:03d}": variable for layer in layers for number, variable in enumerate(layer.weights)}


def _digest(arrays: dict[str, NDArray[Any]], description: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _write(folder: Path, arrays: dict[str, NDArray[Any]], description: dict[str, Any]) -> str:
    digest = _digest(arrays, description)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    atomic_write(folder / ARRAYS, buffer.getvalue())
    atomic_write(folder / DESCRIPTION, json.dumps(description | {"sha256": digest}, indent=2) + "\n")
    return digest[:8]


def _read(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        description = read_description(folder / DESCRIPTION)
        arrays = read_arrays(folder / ARRAYS)
        expected = description.pop("sha256")
        found = _digest(arrays, description)
    except Exception as error:  # a damaged archive may raise anything
        raise UserError(f"{folder} holds no readable model ({error}); train it again or replace the copy") from None
    if found != expected:
        raise UserError(f"the model in {folder} does not have the hash that it carries; replace the copy")
    return arrays, description | {"sha256": expected}


def _checked_config(description: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Config:
    """A saved configuration that fits the weights next to it."""
    config = from_dict(description["config"], origin=DESCRIPTION)
    check_bounds(config)
    weights = {name: array for name, array in arrays.items() if not name.startswith(TABLE_PREFIX)}
    check_weights(config, sizes_by_layer(weights))
    return config


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Errors inside are reported with the model's folder."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{folder} holds no usable model: {error}; train it again or replace the copy") from None
