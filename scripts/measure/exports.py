"""Comparison of exported graphs with the library on speech: size, speed on one core, quality, differing symbols.

python -m scripts.measure.exports --model ID --data_dir /path/to/speech --files 10

Files are the first of each test speaker, scored through all symbols that an .nsc file would carry. Times are the
processor's, for encoding and decoding without the entropy coder, as shares of the speech's duration.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tabulate import tabulate

from constants import SAMPLE_RATE
from corpus.find import find_test_speech
from export.device import export_model
from export.exported import Exported
from kinds.samples import batch as feed_forward
from kinds.samples.batch import Coded, Signal
from measures.measures import pesq_wb
from nsc import console
from nsc.kinds.samples.network import network_frames, network_symbols
from runs.machine import prepare_machine
from runs.saved_model import SavedModel, load_model
from runs.stages import find_model
from utilities import load_speech

# (encoder, decoder); symbols know no format, so that the two may differ
PAIRS = [
    ("library", "library"),
    ("savedmodel float32", "savedmodel float32"),
    ("litert float32", "litert float32"),
    ("litert float32", "litert int8"),
    ("litert int8", "litert int8"),
]
HEADER = ("encoder", "decoder", "encoder kB", "decoder kB", "encode", "decode", "PESQ-WB", "LSFs, %", "codes, %")


class Way(NamedTuple):
    """One way of coding: both directions and the bytes of each."""

    encode: Callable[[Signal], Coded]
    decode: Callable[[Coded], Signal]
    sizes: tuple[int, int]


class Timed(NamedTuple):
    """The result of coding one file and its processor time in seconds."""

    coded: list[Coded]
    seconds: float


def library(model: SavedModel, model_folder: Path) -> Way:
    """The library's network in batches of one span, as in a stream."""
    cascade, network = model.cascade, model.coding.network

    def encode(signal: Signal) -> Coded:
        prepared = feed_forward.prepare(signal, cascade.config)
        symbols = network_symbols(network, prepared.contexts, model.coding.settings.parts)
        return Coded(symbols, prepared.gain_indices, len(signal))

    def decode(coded: Coded) -> Signal:
        return feed_forward.restore(network_frames(network, coded.symbols), coded, cascade.config)

    size = sum(file.stat().st_size for file in model_folder.iterdir())
    return Way(encode, decode, (size, size))


def exported(model: SavedModel, name: str, place: Path) -> Way:
    """An export such as 'litert int8', written on the way."""
    folder = place / name.replace(" ", "_")
    form, weights = name.split()
    export_model(model, folder, form, weights)
    graphs = Exported(folder)
    sizes = [size_of(folder / graphs.description[side]["file"]) for side in ("encoder", "decoder")]
    return Way(graphs.encode, graphs.decode, (sizes[0], sizes[1]))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def encode_all(way: Way, signals: list[Signal]) -> Timed:
    """Codes all signals, after one to warm up."""
    way.encode(signals[0])
    begun = time.process_time()
    return Timed([way.encode(signal) for signal in signals], time.process_time() - begun)


def line(pair: tuple[str, str], ways: dict[str, Way], encoded: dict[str, Timed], signals: list[Signal]) -> list[object]:
    """The table's line for one encoder and one decoder."""
    encoder, decoder = pair
    coded, decode = encoded[encoder].coded, ways[decoder].decode
    decode(coded[0])
    begun = time.process_time()
    decoded = [decode(each) for each in coded]
    seconds = time.process_time() - begun
    duration = sum(map(len, signals)) / SAMPLE_RATE
    scores = [pesq_wb(signal, each) for signal, each in zip(signals, decoded, strict=True)]
    lsf, codes = differences(coded, encoded["library"].coded)
    sizes = [ways[encoder].sizes[0] / 1000, ways[decoder].sizes[1] / 1000]
    return [*pair, *sizes, encoded[encoder].seconds / duration, seconds / duration, np.nanmean(scores), lsf, codes]


def differences(found: list[Coded], expected: list[Coded]) -> tuple[float, float]:
    """Shares of LSF symbols and of codes that differ, %."""
    shares = []
    for wanted in (True, False):
        pairs = [
            (one.symbols[part] != other.symbols[part]).reshape(-1)
            for one, other in zip(found, expected, strict=True)
            for part in other.symbols
            if (part == "lpc") == wanted
        ]
        shares.append(100 * float(np.concatenate(pairs).mean()) if pairs else float("nan"))
    return shares[0], shares[1]


def test_speech(data_dir: str, count: int) -> list[Signal]:
    """The first file of each of `count` test speakers."""
    first = {file.speaker: file for file in reversed(find_test_speech(data_dir))}
    return [load_speech(first[speaker].path) for speaker in sorted(first)[:: max(1, len(first) // count)][:count]]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cq-9k", help="run id, hash or folder of a model (default %(default)s)")
    parser.add_argument("--check_dir", type=Path, default=Path("check"), help="folder of runs (default check)")
    parser.add_argument("--data_dir", required=True, help="speech with test speakers")
    parser.add_argument("--files", type=int, default=10, help="test speakers (default 10)")
    arguments = parser.parse_args()
    console.show_own_lines()
    prepare_machine(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return console.exit_status("exports.py", lambda: _compare(arguments))


def _compare(arguments: argparse.Namespace) -> None:
    signals = test_speech(arguments.data_dir, arguments.files)
    folder = find_model(arguments.model, arguments.check_dir)
    model = load_model(folder)
    with tempfile.TemporaryDirectory() as place:
        names = sorted({name for pair in PAIRS for name in pair} - {"library"})
        ways = {"library": library(model, folder)} | {name: exported(model, name, Path(place)) for name in names}
        encoded = {name: encode_all(way, signals) for name, way in ways.items()}
        rows = [line(pair, ways, encoded, signals) for pair in PAIRS]
    print(f"model {model.digest}, {len(signals)} files, {sum(map(len, signals)) / SAMPLE_RATE:.0f} s of speech")
    print(tabulate(rows, HEADER, floatfmt=(*["s"] * 2, *[".0f"] * 2, *[".3f"] * 3, *[".3f"] * 2)))


if __name__ == "__main__":
    sys.exit(main())
