"""Models on disk: description, graphs and tables in one folder, checked by their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsc.errors import UserError
from nsc.kinds import KINDS
from nsc.loading.check import MOST_BYTES, check_description

if TYPE_CHECKING:
    from nsc.coding.interface import Model

DESCRIPTION = "codec.json"
LAYOUT = 1  # of the folder; raised when what it holds changes
ENCODER, DECODER, TABLES, CARD = "encoder.tflite", "decoder.tflite", "tables.npz", "README.md"
MOST_FILE_BYTES = 1 << 28  # of a graph or of tables
ENHANCER = "enhancer.tflite"  # of models that enhance what they decode
CONCEALMENT = "concealment.tflite"  # of models in which a network conceals what was lost
LONGEST_REASON = 300  # characters
TRAINED = "model.json"  # what a training run leaves; it has to be exported first


@dataclass(frozen=True)
class Description:
    """Description of a model, read without loading it.

    kind: "cascade" or "spectral".
    name: by which it is found.
    digest: first eight hex digits of its hash, which files carry.
    settings: of its kind.
    parameters, multiply_adds: of so many layers; multiply-adds per second of speech.
    files: SHA-256 of each file.
    kbps: of speech on average, where that was measured.
    """

    folder: Path
    kind: str
    name: str
    digest: str
    weights: str
    settings: Mapping[str, Any]
    parameters: Sequence[int]
    multiply_adds: Sequence[int]
    files: Mapping[str, str]
    kbps: float | None = None

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.parameters)

    @property
    def any_rate(self) -> bool:
        """Whether it codes at any rate: its settings then name the step offset that it takes where none is asked."""
        return "offset" in self.settings

    @property
    def encodes(self) -> bool:
        """Whether it codes speech; earlier models are kept for the files that they coded, and only decode."""
        return ENCODER in self.files


def read_description(folder: Path) -> Description:
    """Reads what a folder holds.

    Raises:
        UserError: no model, one that has not been exported, or one of another layout.
    """
    if not (folder / DESCRIPTION).is_file():
        if (folder / TRAINED).is_file():
            raise UserError(
                f"{folder} holds a trained model without graphs; python -m export FOLDER --model {folder} writes them"
            )
        raise UserError(f"expected a model in {folder}, found no {DESCRIPTION}; check the path")
    try:
        with (folder / DESCRIPTION).open("rb") as file:
            values = json.loads(file.read(MOST_BYTES))
        if values.pop("layout") != LAYOUT:
            raise UserError(f"{folder} holds a model of another layout than this nsc reads; export it again")
        with naming(folder):
            check_description(values)
        return Description(folder, **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{folder} holds no readable model ({_cut(error)}); copy or export it again") from None


def write_description(description: Description) -> str:
    """The text of `DESCRIPTION`."""
    values = {name: value for name, value in vars(description).items() if name != "folder"}
    return json.dumps({"layout": LAYOUT} | values, indent=2) + "\n"


def load(folder: Path, threads: int = 1) -> Model:
    """Loads a model's folder; its graphs are checked at once and made ready to run when they are first needed.

    Args:
        folder: with codec.json.
        threads: that LiteRT may use.

    Raises:
        UserError: files are missing, damaged, of another model, or do not have the hash that the description says.
    """
    description = read_description(folder)
    if description.kind not in KINDS:
        raise UserError(f"{folder} holds a model of kind {description.kind}, which this nsc does not know; update it")
    try:
        model: Model = import_module(KINDS[description.kind]).load(description, threads)
        return model
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{folder} holds no readable model ({_cut(error)}); copy or export it again") from None


def read_graph(description: Description, graph: str) -> bytes:
    """A model's graph, "encoder", "decoder", "enhancer" or "concealment"."""
    if graph == "encoder" and not description.encodes:
        raise UserError(f"model {description.name} only decodes the files that it coded; encode with another")
    names = {"encoder": ENCODER, "decoder": DECODER, "enhancer": ENHANCER, "concealment": CONCEALMENT}
    return read_checked(description, names[graph])


def read_tables(description: Description) -> dict[str, Any]:
    """The probability tables of a model."""
    import io

    from nsc.loading.arrays import read_arrays

    data = read_checked(description, TABLES)
    try:
        return read_arrays(io.BytesIO(data))
    except Exception as error:  # a damaged archive may raise anything
        path = description.folder / TABLES
        raise UserError(f"{path} holds no readable tables ({_cut(error)}); copy or export the model again") from None


def read_checked(description: Description, name: str) -> bytes:
    """The content of a file of the folder.

    Raises:
        UserError: it is missing, or its hash is another.
    """
    path = description.folder / name
    try:
        if not path.is_file():  # a pipe would be waited for
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if path.stat().st_size > MOST_FILE_BYTES:
            raise UserError(f"{path} is larger than {MOST_FILE_BYTES} bytes, which no model's file is; copy it again")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); copy the model again") from None
    if hashlib.sha256(data).hexdigest() != description.files.get(name):
        raise UserError(f"{path} does not have the hash that the model's description says; copy the model again")
    return data


@contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Errors inside are reported with the model's folder, where they do not name it themselves."""
    try:
        yield
    except UserError as error:
        if str(folder) in str(error):
            raise
        raise UserError(f"{folder} holds no usable model: {_cut(error)}; copy or export it again") from None


def _cut(error: Exception) -> str:
    """What an error says, in one line of bounded length: some show all of a value."""
    text = " ".join((str(error) if isinstance(error, UserError) else repr(error)).split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."
