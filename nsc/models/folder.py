"""Models on disk: description, graphs and tables in one folder, checked by their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsc.errors import UserError
from nsc.format.version_2 import OFFSETS
from nsc.models.check import MOST_BYTES, check_description, check_parts, check_whole_numbers

if TYPE_CHECKING:
    from nsc.coding.interface import Model

DESCRIPTION = "codec.json"
LAYOUT = 1  # of the folder; raised when what it holds changes
ENCODER, DECODER, TABLES, CARD = "encoder.tflite", "decoder.tflite", "tables.npz", "README.md"
TRAINED = "model.json"  # what a training run leaves; it has to be exported first

SPECTRAL_BOUNDS = {
    "depth": (1, 63),
    "hop": (32, 512),
    "history": (0, 64),
    "look_ahead": (0, 1),
    "group_frames": (1, 16),
    "offset": (0, OFFSETS - 1),
    "pre_emphasis": (0, 1),
}


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
        with _naming(folder):
            check_description(values)
        return Description(folder, **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{folder} holds no readable model ({error}); copy or export it again") from None


def write_description(description: Description) -> str:
    """The text of `DESCRIPTION`."""
    values = {name: value for name, value in vars(description).items() if name != "folder"}
    return json.dumps({"layout": LAYOUT} | values, indent=2) + "\n"


def load(folder: Path, threads: int = 1) -> Model:
    """Loads a model's folder; the graphs are read when they are first needed.

    Args:
        folder: with codec.json.
        threads: that LiteRT may use.

    Raises:
        UserError: files are missing, damaged, or do not have the hash that the description says.
    """
    description = read_description(folder)
    loaders = {"cascade": _load_cascade, "spectral": _load_spectral}
    if description.kind not in loaders:
        raise UserError(f"{folder} holds a model of kind {description.kind}, which this nsc does not know; update it")
    try:
        return loaders[description.kind](description, threads)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{folder} holds no readable model ({error!r}); copy or export it again") from None


def _load_cascade(description: Description, threads: int) -> Model:
    from nsc.entropy.check import check_tables
    from nsc.kinds.samples.model import CascadeModel
    from nsc.kinds.samples.network import CascadeSettings, Part
    from nsc.models.litert import LiteRtNetwork

    settings = dict(description.settings)
    with _naming(description.folder):
        check_parts(settings.get("parts"))
    parts = tuple(Part(each["name"], tuple(each["shape"]), each["alphabet"]) for each in settings.pop("parts"))
    known = CascadeSettings(parts, **settings)

    tables = read_tables(description)
    with _naming(description.folder):
        if known.depth != description.depth:
            raise UserError(f"parts: expected {description.depth} codecs, found {known.depth}")
        check_tables(tables, {part.name: part.shape for part in parts}, {part.name: part.alphabet for part in parts})
    network = LiteRtNetwork(partial(_read_graph, description), parts, known.depth, threads)
    return CascadeModel(description.digest, known, tables, network)


def _load_spectral(description: Description, threads: int) -> Model:
    from nsc.entropy.spectral_coder import SpectralCoder
    from nsc.kinds.spectral.litert import LiteRtSpectralNetwork
    from nsc.kinds.spectral.model import SpectralModel
    from nsc.kinds.spectral.network import SpectralSettings, check_coder, check_settings

    with _naming(description.folder):
        check_whole_numbers(description.settings, SPECTRAL_BOUNDS)
    settings = SpectralSettings(**description.settings)
    with _naming(description.folder):
        if settings.depth != description.depth:
            raise UserError(f"depth: expected {description.depth} codecs, found {settings.depth}")
        check_settings(settings)
        coder = SpectralCoder.read(read_tables(description))
        check_coder(settings, coder)
    network = LiteRtSpectralNetwork(partial(_read_graph, description), settings.depth, settings.hop, threads)
    return SpectralModel(description.digest, settings, coder, network)


def _read_graph(description: Description, graph: str) -> bytes:
    if graph == "encoder" and not description.encodes:
        raise UserError(f"model {description.name} only decodes the files that it coded; encode with another")
    return read_checked(description, {"encoder": ENCODER, "decoder": DECODER}[graph])


def read_tables(description: Description) -> dict[str, Any]:
    """The probability tables of a model."""
    import io

    from nsc.models.arrays import read_arrays

    data = read_checked(description, TABLES)
    try:
        return read_arrays(io.BytesIO(data))
    except Exception as error:  # a damaged archive may raise anything
        path = description.folder / TABLES
        raise UserError(f"{path} holds no readable tables ({error}); copy or export the model again") from None


def read_checked(description: Description, name: str) -> bytes:
    """The content of a file of the folder.

    Raises:
        UserError: it is missing, or its hash is another.
    """
    path = description.folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); copy the model again") from None
    if hashlib.sha256(data).hexdigest() != description.files.get(name):
        raise UserError(f"{path} does not have the hash that the model's description says; copy the model again")
    return data


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Errors inside are reported with the model's folder."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{folder} holds no usable model: {error}; copy or export it again") from None
