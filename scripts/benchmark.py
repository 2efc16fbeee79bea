"""Benchmark of training, coding and evaluation against this machine's matrix rate, on CPU or GPU.

python -m scripts.benchmark --quick
python -m scripts.benchmark --data_dir SPEECH --json benchmark.json

What is compared takes turns within one run and the best turn of each counts: other load on the machine can only slow
a turn down, and ratios within one run wander less than times. On a busy machine time on the clock says little: how far
the median lies above the best shows it, and ratios of processor time are given as well.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf

from constants import SAMPLE_RATE
from corpus.find import find_speech
from corpus.packed import PackedCorpus
from corpus.speech_file import SpeechFile
from kinds.samples.batch import SIGNAL_BATCH
from nsc.console import exit_status
from nsc.loading.find import DEFAULT_MODEL
from options.config import from_dict, read_experiment
from runs.machine import prepare_machine
from runs.runs import environment
from runs.saved_model import load_model
from runs.stages import find_model
from scripts.speed import work
from scripts.speed.command import calls_of
from scripts.speed.graphs import StepSize, size_of_step
from scripts.speed.memory import peak_of_training
from scripts.speed.turns import Timing, take_turns
from training.step import StageTrainer
from utilities import atomic_write, load_speech

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT / "tests" / "data"

MATRIX_SIZE = 2048
MATRIX_FLOPS = 2 * MATRIX_SIZE**3
LPC_BATCH = 1024
FIRST_IMPLEMENTATION_LPC_MS = 9.2  # CPU a frame: 4.56 analysis, 4.64 residual
CODED_SECONDS = 10.0
EVALUATED_FILES = 4
TURN_SECONDS = 0.3  # at least

STEP_SHARES = {"float32": 0.50, "bfloat16": 0.35}  # of the matrix rate
MOST_TRACED, MOST_STARTED = 10_000, 6_600  # operations of a step
LPC_RATIO = 500.0
PIPELINE_RATIO = 1.05
REAL_TIME_RATIO = 5.0
COMMAND_LIMITS = {"encode": (0.6, 200.0), "decode": (0.6, 200.0), "info": (0.15, 200.0)}  # seconds, megabytes

GATED, FOLDED, FOLDED_SMALL = "gln, batch 128", "folded, batch 128", "folded, batch 32"
FOLDED_16K, ANY_RATE = "folded_16k, batch 32", "cq_any, batch 128"

# options, or the experiment that has them, and the stages that are measured
NETWORKS: dict[str, tuple[dict[str, Any] | str, tuple[str, ...]]] = {
    GATED: ({"batch_size": 128}, work.STAGES),
    FOLDED: ({"block": "folded", "batch_size": 128}, work.STAGES),
    FOLDED_SMALL: ({"block": "folded", "batch_size": 32}, ("first",)),
    FOLDED_16K: ("folded_16k", ("first",)),
    ANY_RATE: ("cq_any", ("first", "finetune")),
}
SET_BY_BENCHMARK = (
    *("training_mode", "num_modules", "precision", "epochs", "steps_per_epoch"),
    *("pretrain_epochs", "follower_pretrain_epochs"),
)
MEMORY_OF = (GATED, FOLDED)


def options_of(name: str) -> dict[str, Any]:
    """The options of a network, without those that the benchmark sets."""
    options, _ = NETWORKS[name]
    if isinstance(options, str):
        config = from_dict(read_experiment(ROOT / "configs" / f"{options}.toml"), origin=options)
        options = {option: value for option, value in vars(config).items() if option not in SET_BY_BENCHMARK}
    return options


@dataclass(frozen=True)
class Row:
    """A line of a table.

    found: the result with its unit; seconds: of the best turn.
    ratio, processor_ratio: achieved over possible, on the clock and in processor time.
    possible: what the ratio is of.
    reached: whether the target is met; None where there is none.
    unrest: median over best turn.
    """

    table: str
    name: str
    found: str
    seconds: float | None = None
    ratio: float | None = None
    processor_ratio: float | None = None
    possible: str = ""
    reached: bool | None = None
    unrest: float | None = None


def measure(data_dir: Path, turns: int, *, quick: bool) -> Iterator[Row]:
    """All rows, table by table.

    Args:
        data_dir: speech with a training and a test split.
        turns: of every part.
        quick: leaves out follower, finetuning and memory.

    Raises:
        UserError: no speech in `data_dir`.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        corpus = PackedCorpus.pack(find_speech(data_dir), scratch)
        trainers = {
            (name, precision): work.trainers_of(
                corpus, scratch, stages[:1] if quick else stages, precision=precision, **options_of(name)
            )
            for name, (_, stages) in NETWORKS.items()
            for precision in STEP_SHARES
        }
        steps = {
            f"{name}, {precision}, {stage}": trainer
            for (name, precision), by_stage in trainers.items()
            for stage, trainer in by_stage.items()
        }
        products = {each: work.matrix_product(MATRIX_SIZE, each) for each in STEP_SHARES}
        works = products | {name: work.training_step(trainer) for name, trainer in steps.items()}
        timings = take_turns(works, turns, "training", seconds=TURN_SECONDS)
        yield from step_rows(timings, steps)
        yield from (graph_row(name, size_of_step(trainer)) for name, trainer in steps.items())
        lpc = take_turns({"lpc": work.lpc_batch(corpus, LPC_BATCH)}, turns, "LPC", seconds=TURN_SECONDS)
        yield lpc_row(lpc["lpc"].over(LPC_BATCH))
        yield pipeline_row(*_pipeline_timings(trainers[FOLDED_SMALL, "float32"]["first"], turns))
        yield from _coding_rows(corpus, trainers[GATED, "float32"]["first"], scratch, turns)
        yield from _command_rows(corpus.files("test"), scratch, turns)
        if not quick:
            for name in MEMORY_OF:
                for precision in STEP_SHARES:
                    options = options_of(name) | {"precision": precision}
                    found = f"{peak_of_training(corpus.folder, scratch, options):.0f} MB"
                    yield Row("peak memory", f"training, {name}, {precision}", found)


def step_rows(timings: Mapping[str, Timing], steps: Mapping[str, StageTrainer]) -> Iterator[Row]:
    """The matrix rates, and the steps as shares of them."""
    table = "matrix products, and the whole training step"
    for precision in STEP_SHARES:
        matrix = timings[precision]
        yield Row(table, f"matrix product, {precision}", _giga(MATRIX_FLOPS / matrix.best), matrix.best)
    for name, trainer in steps.items():
        timing, config = timings[name], trainer.config
        matrix, wanted = timings[config.precision], STEP_SHARES[config.precision]
        wanted = min(wanted, trainer.kind.step_share)
        flops, frames = work.step_flops(trainer), config.batch_size / timing.best
        ratio = flops / timing.best / (MATRIX_FLOPS / matrix.best)
        yield Row(
            table,
            name,
            f"{1000 * timing.best:.0f} ms, {frames:.0f} frames/s, {_giga(flops / timing.best)}",
            timing.best,
            ratio,
            flops / timing.best_processor / (MATRIX_FLOPS / matrix.best_processor),
            f"of the {config.precision} matrix rate, target {wanted}",
            ratio >= wanted,
            timing.unrest,
        )


def graph_row(name: str, size: StepSize) -> Row:
    """How many operations a step has, whose start is what a GPU waits for where they are small."""
    return Row(
        "graph of a step",
        name,
        f"{size.traced} operations traced, {size.started} started",
        possible=f"at most {MOST_TRACED} and {MOST_STARTED}",
        reached=size.traced <= MOST_TRACED and size.started <= MOST_STARTED,
    )


def lpc_row(frame: Timing) -> Row:
    """LPC of a frame against the first implementation's."""
    first = FIRST_IMPLEMENTATION_LPC_MS / 1000
    return Row(
        "LPC and input",
        f"LPC analysis and residual, batch {LPC_BATCH}",
        f"{1e6 * frame.best_processor:.1f} us of processor time a frame",
        frame.best,
        first / frame.best,
        first / frame.best_processor,
        f"times faster than {FIRST_IMPLEMENTATION_LPC_MS} ms of processor time, target {LPC_RATIO:g}",
        first / frame.best_processor >= LPC_RATIO,
        frame.unrest,
    )


def _pipeline_timings(trainer: StageTrainer, turns: int) -> tuple[Timing, Timing]:
    # by themselves, since during other parts' turns the pipeline would read ahead
    parts = {"memory": work.training_step(trainer), "corpus": work.step_from_corpus(trainer)}
    timings = take_turns(parts, 5 * turns, "input", seconds=TURN_SECONDS)
    return timings["memory"], timings["corpus"]


def pipeline_row(memory: Timing, corpus: Timing) -> Row:
    """A step on batches from the corpus against a step on one batch in memory."""
    # neighbouring turns share what else the machine does
    ratio = float(np.median(np.array(corpus.wall) / np.array(memory.wall)))
    return Row(
        "LPC and input",
        f"training step from the corpus, {FOLDED_SMALL}",
        f"{1000 * np.median(corpus.wall):.1f} ms, from memory {1000 * np.median(memory.wall):.1f} ms",
        corpus.best,
        ratio,
        corpus.best_processor / memory.best_processor,
        f"times as long, median of neighbouring turns, target at most {PIPELINE_RATIO}",
        ratio <= PIPELINE_RATIO,
        corpus.unrest,
    )


def _coding_rows(corpus: PackedCorpus, gated: StageTrainer, scratch: Path, turns: int) -> Iterator[Row]:
    model = load_model(find_model("", Path("check")))
    files = corpus.files("test")
    signal = work.speech_of(files, CODED_SECONDS)
    encode, decode = work.file_coding(model, signal)
    seconds = {
        f"symbols and back, gln, batches of {SIGNAL_BATCH} frames": CODED_SECONDS,
        f"to a file, {DEFAULT_MODEL}": CODED_SECONDS,
        f"from a file, {DEFAULT_MODEL}": CODED_SECONDS,
        f"evaluation with all measures, {DEFAULT_MODEL}": _duration(files[:EVALUATED_FILES]),
    }
    works = [work.symbols_and_back(gated.cascade, signal), encode, decode]
    works.append(work.evaluation_of(model, files[:EVALUATED_FILES], scratch / "evaluated"))
    timings = take_turns(dict(zip(seconds, works, strict=True)), turns, "coding")
    yield from (coding_row(name, timing, seconds[name]) for name, timing in timings.items())


def _command_rows(files: list[SpeechFile], scratch: Path, turns: int) -> Iterator[Row]:
    """Calls of `nsc` on a file of a few seconds, against what they may take."""
    for call in calls_of(files[0].path, scratch, turns):
        most_seconds, most_megabytes = COMMAND_LIMITS[call.name]
        yield Row(
            "the command",
            f"nsc {call.name}",
            f"{call.seconds:.2f} s, {call.megabytes:.0f} MB",
            call.seconds,
            call.seconds / most_seconds,
            possible=f"of {most_seconds:g} s; at most {most_megabytes:g} MB wanted",
            reached=call.seconds <= most_seconds and call.megabytes <= most_megabytes,
        )


def _duration(files: list[SpeechFile]) -> float:
    return sum(len(load_speech(file.path)) for file in files) / SAMPLE_RATE


def coding_row(name: str, timing: Timing, seconds: float) -> Row:
    """Work on speech of this duration, relative to real time."""
    ratio = seconds / timing.best
    return Row(
        "coding",
        name,
        f"{timing.best:.2f} s for {seconds:.0f} s",
        timing.best,
        ratio,
        seconds / timing.best_processor,
        f"times real time, target {REAL_TIME_RATIO:g}",
        ratio >= REAL_TIME_RATIO,
        timing.unrest,
    )


def _giga(rate: float) -> str:
    return f"{rate / 1e9:.0f} GFLOP/s"


def show(rows: list[Row]) -> str:
    """The tables for people."""
    marks = {True: "yes", False: "NO", None: ""}
    headers = ("best turn", "ratio", "by processor time", "which is", "reached", "median / best")
    blocks = []
    for table in dict.fromkeys(row.table for row in rows):
        cells = [
            [row.name, row.found, row.ratio, row.processor_ratio, row.possible, marks[row.reached], row.unrest]
            for row in rows
            if row.table == table
        ]
        formats = ("g", "g", ".3g", ".3g", "g", "g", ".2f")
        blocks.append(tabulate(cells, (table, *headers), floatfmt=formats, missingval=""))
    return "\n\n".join(blocks)


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=SPEECH, help="speech (default: tests/data)")
    parser.add_argument("--turns", type=int, default=10, help="turns of every part (default 10)")
    parser.add_argument(
        "--quick", action="store_true", help="3 turns, without follower, finetuning and memory: two minutes"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows and the machine's description")
    options = parser.parse_args(arguments)
    prepare_machine(0)
    return exit_status("benchmark.py", lambda: _benchmark(options))


def _benchmark(options: argparse.Namespace) -> None:
    rows = list(measure(options.data_dir, 3 if options.quick else options.turns, quick=options.quick))
    device = "GPU" if tf.config.list_logical_devices("GPU") else "processor"
    print(f"on the {device}\n\n{show(rows)}")
    if options.json:
        report = {"device": device, "rows": [asdict(row) for row in rows], "environment": environment()}
        atomic_write(options.json, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
