"""Benchmark of coding a 10 s file, part by part, as a share of its duration (real-time factor).

python -m scripts.speed.benchmark_codec --threads 1
python -m scripts.speed.benchmark_codec --threads 2 --model check/RUN/stages/finetune

Without a model: two untrained codecs of each kind, with tables for their own symbols. The best of some turns counts,
on the clock and in processor time; on a busy machine the clock says little.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tabulate import tabulate

import nsc
from constants import FRAMES_PER_GROUP, SAMPLE_RATE
from kinds.samples import batch as feed_forward
from kinds.samples.cascade import SampleCascade
from kinds.samples.rate import count_symbols, integer_tables
from kinds.samples.tables import fit_models
from nsc import format as bitstream
from nsc.coding.interface import Signal
from nsc.entropy.context_model import whole_groups
from nsc.kinds.samples.network import network_frames, network_symbols
from options.config import Config
from runs.machine import prepare_machine
from runs.saved_model import SavedModel, load_model, save_model
from scripts.speed.turns import Work, take_turns
from utilities import load_speech

CLIPS = Path(__file__).resolve().parents[2] / "tests" / "data"
SECONDS = 10
HEADER = ("codec", "part", "encode, clock", "encode, processor", "decode, clock", "decode, processor")


def sample_speech() -> Signal:
    """10 s of the clips that the tests use."""
    clips = [load_speech(path) for path in sorted(CLIPS.rglob("*.flac"))]
    return np.concatenate(clips)[: SECONDS * SAMPLE_RATE]


def untrained_model(block: str, signal: Signal, folder: Path) -> SavedModel:
    """Two codecs with tables for their own symbols."""
    cascade = SampleCascade(Config(block=block, num_modules=2))
    coded = feed_forward.encode(cascade, signal, 2).symbols
    tables = integer_tables({part.name: count_symbols(part, coded[part.name]) for part in cascade.parts()})
    for name, model in fit_models(cascade, 2, {name: whole_groups(values) for name, values in coded.items()}).items():
        tables |= model.arrays(name)
    save_model(folder / block, "first", cascade, tables, 2)
    return load_model(folder / block / "stages" / "first")


def best(work: Work, turns: int) -> tuple[float, float]:
    """Least time on the clock and of the processor, as shares of the file's duration."""
    share = take_turns({"": work}, turns)[""].over(SECONDS)
    return share.best, share.best_processor


def rows_of(name: str, model: SavedModel, signal: Signal, turns: int) -> list[list[object]]:
    """Lines of the table for one model."""
    cascade, served = model.cascade, model.coding
    network, parts = served.network, served.settings.parts
    data = nsc.encode(signal, served)
    groups = bitstream.read_contents(data).groups[:-1]
    contexts = feed_forward.prepare(signal, cascade.config).contexts
    coder = served.symbol_coder(served.depth)
    symbols = [coder.decode(group.parts, FRAMES_PER_GROUP) for group in groups]
    works: dict[str, tuple[Work, Work]] = {
        "all": (lambda: nsc.encode(signal, served), lambda: nsc.decode(data, served)),
        "LPC and network": (
            lambda: network_symbols(network, contexts, parts),
            lambda: [network_frames(network, each) for each in symbols],
        ),
        "entropy coder": (
            lambda: [coder.encode(each) for each in symbols],
            lambda: [coder.decode(group.parts, FRAMES_PER_GROUP) for group in groups],
        ),
    }
    if not cascade.config.time_domain:
        analyse, predict = tf.function(cascade.front_end), tf.function(cascade.front_end.decode)
        batches = [contexts[start : start + FRAMES_PER_GROUP] for start in range(0, len(contexts) - 15, 16)]
        works["LPC"] = (
            lambda: [analyse(batch) for batch in batches],
            lambda: [predict(each["lpc"]) for each in symbols],
        )
    return [[name, part, *best(encode, turns), *best(decode, turns)] for part, (encode, decode) in works.items()]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a saved model (default: untrained ones)")
    parser.add_argument("--threads", type=int, default=1, help="within an operation (default 1)")
    parser.add_argument("--turns", type=int, default=3, help="of which the best counts (default 3)")
    arguments = parser.parse_args()
    prepare_machine(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    imported = time.process_time()
    signal = sample_speech()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if arguments.model:
            rows += rows_of(str(arguments.model), load_model(arguments.model), signal, arguments.turns)
        else:
            for block in ("folded", "gln"):
                rows += rows_of(block, untrained_model(block, signal, Path(folder)), signal, arguments.turns)
    print(f"{SECONDS} s of speech, {arguments.threads} threads; {imported:.1f} s of processor time to import all")
    print(tabulate(rows, HEADER, floatfmt=".3f"))


if __name__ == "__main__":
    main()
