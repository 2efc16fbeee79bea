"""A saved model as a folder that `nsc` loads: graphs of its network, tables, and a description with their hashes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from export.graph import as_litert, new_folder
from kinds import kind_of
from kinds.kind import Tables
from nsc.atomic import atomic_write
from nsc.loading.folder import (
    CONCEALMENT,
    DECODER,
    DESCRIPTION,
    ENCODER,
    ENHANCER,
    TABLES,
    Description,
    write_description,
)
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
    with new_folder(target) as folder:
        return write_codec(model, folder, target.name, weights)


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
    form = kind_of(cascade.config).form(cascade)
    files = {
        ENCODER: as_litert(form.encoder, weights),
        DECODER: as_litert(form.decoder, weights),
        TABLES: _packed(model.tables),
    }
    parts = {ENHANCER: form.enhancer, CONCEALMENT: form.concealment}
    files |= {file: as_litert(graph, weights) for file, graph in parts.items() if graph}
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


def _packed(tables: Tables) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **tables)  # type: ignore[arg-type]
    return buffer.getvalue()
