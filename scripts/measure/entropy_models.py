"""Savings of better probability models of the symbols: bits per frame of a saved model on test speech.

python -m scripts.measure.entropy_models check/RUN/stages/first --data_dir SPEECH

static        one table per channel
position      one table per channel and position
adaptive      a channel's table, mixed with the counts of the group so far
context       tables chosen by the symbols around, those before in the group, the part before (nsc/entropy)
file          bytes of the coded parts under `context`

Tables are estimated on training speech in every case, and every group of 16 frames is coded for itself.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from constants import FRAMES_PER_GROUP, HOP, SAMPLE_RATE
from corpus.find import find_speech
from kinds.samples.tables import fit_models, training_symbols
from nsc.console import exit_status
from nsc.entropy.context_model import Symbols, code_lengths
from nsc.entropy.symbol_coding import SymbolCoder
from runs.saved_model import SavedModel, load_model

POSITION_PRIOR = 64.0  # observations that a channel's table counts for, added to a position's own
GROUP_PRIOR = 64.0  # observations that a channel's table counts for, added to the group's own

Tables = NDArray[np.float64]


def shares(counts: Tables) -> Tables:
    """Counts [..., alphabet] as probabilities."""
    return counts / counts.sum(-1, keepdims=True)


def channel_tables(train: Symbols, alphabet: int) -> Tables:
    """Probabilities [channels, alphabet]."""
    channels = train.shape[3]
    flat = (train + alphabet * np.arange(channels)).reshape(-1)
    counts = np.bincount(flat, minlength=channels * alphabet).reshape(channels, alphabet)
    return shares(counts.astype(np.float64) + 1 / alphabet)


def static_bits(train: Symbols, test: Symbols, alphabet: int) -> float:
    """Bits of all test symbols under one table per channel."""
    tables = channel_tables(train, alphabet)
    return float(-np.log2(tables[np.arange(test.shape[3]), test]).sum())


def position_bits(train: Symbols, test: Symbols, alphabet: int) -> float:
    """Bits of all test symbols under one table per position and channel."""
    prior = channel_tables(train, alphabet)
    places = train.shape[2] * train.shape[3]
    flat = (train.reshape(-1, places) + alphabet * np.arange(places)).reshape(-1)
    counts = np.bincount(flat, minlength=places * alphabet).reshape(train.shape[2], train.shape[3], alphabet)
    tables = shares(counts + POSITION_PRIOR * prior)
    return float(-np.log2(tables[np.arange(train.shape[2])[:, None], np.arange(train.shape[3]), test]).sum())


def adaptive_bits(train: Symbols, test: Symbols, alphabet: int) -> float:
    """Bits of all test symbols under a channel's table and the counts of the group so far."""
    prior, bits = channel_tables(train, alphabet), 0.0
    for group in test:
        for channel in range(group.shape[2]):
            symbols = group[..., channel].reshape(-1)
            seen = np.zeros((len(symbols) + 1, alphabet))
            seen[np.arange(1, len(symbols) + 1), symbols] = 1
            counts = np.cumsum(seen, 0)[:-1]
            tables = shares(counts + GROUP_PRIOR * prior[channel])
            bits -= np.log2(tables[np.arange(len(symbols)), symbols]).sum()
    return bits


def coded_bits(coder: SymbolCoder, test: dict[str, Symbols]) -> tuple[NDArray[np.float64], float, float]:
    """Bits of every part in all groups, and milliseconds to encode and to decode a second of speech on one core."""
    groups = [{name: values[number] for name, values in test.items()} for number in range(len(test["codec 1"]))]
    start = time.process_time()
    payloads = [coder.encode(group) for group in groups]
    encoded = time.process_time()
    for payload in payloads:
        coder.decode(payload, FRAMES_PER_GROUP)
    seconds = len(groups) * FRAMES_PER_GROUP * HOP / SAMPLE_RATE
    sizes = 8.0 * np.sum([[len(part) for part in payload] for payload in payloads], axis=0)
    decoded = time.process_time()
    return sizes, 1000 * (encoded - start) / seconds, 1000 * (decoded - encoded) / seconds


def measure(model: SavedModel, train: dict[str, Symbols], test: dict[str, Symbols]) -> tuple[list[list[object]], str]:
    """Rows of the table, one per part and their sum, in bits per frame; and a line on speed."""
    parts = model.cascade.parts()
    models = fit_models(model.cascade, len(model.cascade.codecs), train)
    context = code_lengths(models, test)
    sizes, encoding, decoding = coded_bits(SymbolCoder(models, {part.name: part.shape for part in parts}), test)
    ways: list[Callable[[Symbols, Symbols, int], float]] = [static_bits, position_bits, adaptive_bits]
    columns = []
    for part, size in zip(parts, sizes, strict=True):
        bits = [way(train[part.name], test[part.name], part.alphabet) for way in ways]
        columns.append([*bits, float(context[part.name].sum()), float(size)])
    frames = test["codec 1"].shape[0] * FRAMES_PER_GROUP
    values = np.array([*columns, np.sum(columns, 0)]) / frames
    rows = [
        [name, *row, f"{100 * (1 - row[3] / row[0]):.1f} %"]
        for name, row in zip([*context, "all"], values, strict=True)
    ]
    return rows, f"coding a second of speech on one core: {encoding:.1f} ms to encode, {decoding:.1f} ms to decode"


def main() -> int:
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="+", help="folders of saved models")
    parser.add_argument("--data_dir", default="../shared/speech", help="speech with a train and a test split")
    parser.add_argument("--train_minutes", type=float, default=10.0, help="of training speech (default 10)")
    parser.add_argument("--test_minutes", type=float, default=4.0, help="of test speech (default 4)")
    arguments = parser.parse_args()
    return exit_status("entropy_models.py", lambda: _measure_all(arguments))


def _measure_all(arguments: argparse.Namespace) -> None:
    files = find_speech(arguments.data_dir, sa_sentences=True, seed=0)
    for folder in arguments.model:
        model = load_model(folder)
        splits = {split: [file.path for file in files if file.split == split] for split in ("train", "test")}
        depth = len(model.cascade.codecs)
        train = training_symbols(model.cascade, depth, splits["train"], arguments.train_minutes)
        test = training_symbols(model.cascade, depth, splits["test"], arguments.test_minutes)
        rows, speed = measure(model, train, test)
        print(f"model {model.digest}, {len(test['codec 1'])} groups of test speech, bits per frame")
        header = ("part", "static", "position", "adaptive", "context", "file", "saved by context")
        print(tabulate(rows, header, floatfmt=".1f"))
        print(speed)


if __name__ == "__main__":
    sys.exit(main())
