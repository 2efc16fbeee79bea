"""Measures the speed of training step, LPC, input pipeline and coding against what this machine can do.

python scripts/benchmark.py --quick
python scripts/benchmark.py --data_dir ../shared/speech --json benchmark.json

All parts take turns within one run and the best turn of each counts: other load on the machine can only slow a turn
down, and ratios within one run wander less than times. On a busy machine time on the clock says little: how far the
median lies above the best shows it, and ratios of processor time stand beside.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf

import feed_forward
import lpc_utilities as lpc
from cmrl import Cascade, multiply_adds, stages_of
from config import Config
from constants import LPC_CONTEXT, SAMPLE_RATE
from dataset import PackedCorpus, find_speech
from errors import UserError
from runs import environment
from training import StageTrainer
from utilities import load_speech

SPEECH = Path(__file__).resolve().parent.parent / "tests" / "data"

MATRIX_SIZE = 2048  # 17 GFLOP a product
MATRIX_PRODUCTS = 4  # a turn
MATRIX_FLOPS = 2 * MATRIX_PRODUCTS * MATRIX_SIZE**3
LPC_BATCH, LPC_BATCHES = 1024, 8  # a turn
FIRST_IMPLEMENTATION_LPC_MS = 9.2  # CPU a frame: 4.56 analysis, 4.64 residual
CODED_SECONDS = 10.0
PIPELINE_STEPS = 10  # a turn

STEP_SHARE = 0.40  # of the matrix rate
LPC_RATIO = 500.0
PIPELINE_RATIO = 1.05
REAL_TIME_RATIO = 5.0

GATED, FOLDED, FOLDED_LARGE = "gln, batch 128", "folded, batch 32", "folded, batch 128"
NETWORKS: dict[str, dict[str, Any]] = {
    GATED: {"batch_size": 128},
    FOLDED: {"block": "folded", "batch_size": 32},
    FOLDED_LARGE: {"block": "folded", "batch_size": 128},
}


@dataclass
class Timing:
    """Seconds that the turns of one part took: on the clock, and of all processors together."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """Seconds of the best turn."""
        return min(self.wall)

    @property
    def median(self) -> float:
        """Seconds of the median turn."""
        return float(np.median(self.wall))

    @property
    def best_processor(self) -> float:
        """Seconds of processor time of the most thrifty turn."""
        return min(self.processor)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    found: the result with its unit.
    ratio, processor_ratio: what is compared with the wish, on the clock and in processor time.
    wanted: what is possible or wanted, in words; reached: whether it is.
    slower_median: median over best turn.
    """

    name: str
    found: str
    ratio: float | None
    processor_ratio: float | None
    wanted: str
    reached: bool | None
    slower_median: float


def take_turns(parts: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, Timing]:
    """Times every part so many times, one after the other, after a first turn that only warms up."""
    timings = {name: Timing() for name in parts}
    for turn in tqdm(range(turns + 1), unit="turn", disable=None):
        for name, part in parts.items():
            wall, processor = time.perf_counter(), time.process_time()
            part()
            if turn:
                timings[name].wall.append(time.perf_counter() - wall)
                timings[name].processor.append(time.process_time() - processor)
    return timings


def matrix_products() -> Callable[[], None]:
    """Products of large float32 matrices, the most arithmetic that TensorFlow gets out of this machine."""
    left, right = (tf.random.normal([MATRIX_SIZE, MATRIX_SIZE], seed=seed) for seed in (1, 2))

    def run() -> None:
        for _ in range(MATRIX_PRODUCTS):
            tf.matmul(left, right).numpy()

    return run


def trainer_of(corpus: PackedCorpus, folder: Path, **network: Any) -> StageTrainer:
    """The first stage of a single codec with LPC, past its warm-up."""
    config = Config(training_mode=1, num_modules=1, pretrain_epochs=0, epochs=1, steps_per_epoch=1_000_000, **network)
    return StageTrainer(Cascade(config), stages_of(config)[0], corpus, folder)


def training_step(trainer: StageTrainer) -> Callable[[], None]:
    """One step on a batch in memory."""
    _, batch = next(trainer.batches())
    return lambda: _wait(trainer.train_step(batch, 0))


def steps_from_memory(trainer: StageTrainer) -> Callable[[], None]:
    """Steps on one batch, without the input pipeline."""
    step = training_step(trainer)

    def run() -> None:
        for _ in range(PIPELINE_STEPS):
            step()

    return run


def steps_from_corpus(trainer: StageTrainer) -> Callable[[], None]:
    """As many steps on batches that the input pipeline reads, filters and scales meanwhile."""
    batches = trainer.batches()

    def run() -> None:
        for _ in range(PIPELINE_STEPS):
            epoch, batch = next(batches)
            _wait(trainer.train_step(batch, epoch))

    return run


def lpc_batches(corpus: PackedCorpus) -> Callable[[], None]:
    """Speech to LSFs, and the residual by the polynomial that belongs to them."""
    numbers = np.resize(corpus.frame_indices("train", audible_only=True), LPC_BATCH)
    contexts = tf.constant(corpus.contexts(numbers, pre_emphasis=True, high_pass=False))

    @tf.function
    def analyse(contexts: tf.Tensor) -> tf.Tensor:
        polynomial = lpc.levinson_durbin(lpc.autocorrelation(lpc.analysis_window() * contexts))
        lsf = lpc.polynomial_to_lsf(polynomial)
        return lpc.residual_of(contexts[:, LPC_CONTEXT:-LPC_CONTEXT], lpc.lsf_to_polynomial(lsf), "frame")

    def run() -> None:
        for _ in range(LPC_BATCHES):
            analyse(contexts).numpy()

    return run


def signal_of(corpus: PackedCorpus) -> NDArray[np.float32]:
    """Ten seconds of the test speakers."""
    signals = [load_speech(file.path) for file in corpus.files("test")[:20]]
    return np.resize(np.concatenate(signals), round(CODED_SECONDS * SAMPLE_RATE))


def coding(cascade: Cascade, signal: NDArray[np.float32]) -> Callable[[], None]:
    """A whole file to symbols and back, as evaluation does it."""
    return lambda: _wait(feed_forward.decode(cascade, feed_forward.encode(cascade, signal, depth=1)))


def _wait(result: Any) -> None:
    """Lets a device finish: results are computed in the background until they are read."""
    np.asarray(result[0])


def measure(data_dir: Path, turns: int) -> list[Row]:
    """All rows of the table.

    Raises:
        UserError: no speech in `data_dir`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        corpus = PackedCorpus.pack(find_speech(data_dir), scratch)
        trainers = {name: trainer_of(corpus, Path(scratch), **network) for name, network in NETWORKS.items()}
        signal = signal_of(corpus)
        parts = {"matrix": matrix_products(), "lpc": lpc_batches(corpus)}
        parts |= {f"step {name}": training_step(trainer) for name, trainer in trainers.items()}
        parts |= {f"code {name}": coding(trainers[name].cascade, signal) for name in (GATED, FOLDED)}
        timings = take_turns(parts, turns)
        # by themselves, since during other parts' turns the pipeline would read ahead
        pipeline = {"memory": steps_from_memory(trainers[FOLDED]), "corpus": steps_from_corpus(trainers[FOLDED])}
        timings |= take_turns(pipeline, 5 * turns)
    return rows(timings, trainers)


def rows(timings: Mapping[str, Timing], trainers: Mapping[str, StageTrainer]) -> list[Row]:
    """The table's rows from the times of all parts."""
    matrix = timings["matrix"]
    rate, processor_rate = (MATRIX_FLOPS / best for best in (matrix.best, matrix.best_processor))
    found = f"{_giga(rate)}, {_giga(processor_rate)} a processor"
    return [
        Row("float32 matrix product", found, None, None, "", None, _slower(matrix)),
        *(_step_row(name, timings[f"step {name}"], trainer, matrix) for name, trainer in trainers.items()),
        _lpc_row(timings["lpc"]),
        _pipeline_row(timings["memory"], timings["corpus"]),
        *(_coding_row(name, timings[f"code {name}"]) for name in (GATED, FOLDED)),
    ]


def _step_flops(trainer: StageTrainer) -> int:
    """A forward pass, and twice that backwards; a multiply-add is two operations."""
    return 3 * 2 * multiply_adds(trainer.cascade) * trainer.config.batch_size


def _step_row(name: str, timing: Timing, trainer: StageTrainer, matrix: Timing) -> Row:
    flops = _step_flops(trainer)
    share = flops / timing.best / (MATRIX_FLOPS / matrix.best)
    processor_share = flops / timing.best_processor / (MATRIX_FLOPS / matrix.best_processor)
    found = f"{1000 * timing.best:.0f} ms, {_giga(flops / timing.best)}"
    if name != GATED:
        return Row(f"training step, {name}", found, share, processor_share, "of the matrix rate", None, _slower(timing))
    wanted, reached = f"at least {STEP_SHARE} of the matrix rate", share >= STEP_SHARE
    return Row(f"training step, {name}", found, share, processor_share, wanted, reached, _slower(timing))


def _lpc_row(timing: Timing) -> Row:
    frames = LPC_BATCH * LPC_BATCHES
    ratio, processor_ratio = (
        FIRST_IMPLEMENTATION_LPC_MS / (1000 * best / frames) for best in (timing.best, timing.best_processor)
    )
    return Row(
        f"LPC analysis and residual, batch {LPC_BATCH}",
        f"{1e6 * timing.best_processor / frames:.1f} us of processor time a frame",
        ratio,
        processor_ratio,
        f"at least {LPC_RATIO:g} times faster than {FIRST_IMPLEMENTATION_LPC_MS} ms of processor time",
        processor_ratio >= LPC_RATIO,
        _slower(timing),
    )


def _pipeline_row(memory: Timing, corpus: Timing) -> Row:
    # neighbouring turns share what else the machine does
    ratio = float(np.median(np.array(corpus.wall) / np.array(memory.wall)))
    return Row(
        f"step from the corpus, {FOLDED}",
        f"{1000 * corpus.median / PIPELINE_STEPS:.1f} ms, from memory {1000 * memory.median / PIPELINE_STEPS:.1f} ms",
        ratio,
        corpus.best_processor / memory.best_processor,
        f"at most {PIPELINE_RATIO}, median of neighbouring turns",
        ratio <= PIPELINE_RATIO,
        _slower(corpus),
    )


def _coding_row(name: str, timing: Timing) -> Row:
    ratio = CODED_SECONDS / timing.best
    return Row(
        f"encode and decode {CODED_SECONDS:g} s, {name.split(',')[0]}",
        f"{timing.best:.2f} s",
        ratio,
        CODED_SECONDS / timing.best_processor,
        f"at least {REAL_TIME_RATIO:g} times real time, batches of {feed_forward.NETWORK_BATCH} frames",
        ratio >= REAL_TIME_RATIO,
        _slower(timing),
    )


def _giga(rate: float) -> str:
    return f"{rate / 1e9:.0f} GFLOP/s"


def _slower(timing: Timing) -> float:
    return timing.median / timing.best


def show(lines: list[Row]) -> str:
    """The table for people."""
    marks = {True: "yes", False: "NO", None: ""}
    cells = [
        [row.name, row.found, row.ratio, row.processor_ratio, row.wanted, marks[row.reached], row.slower_median]
        for row in lines
    ]
    headers = ("part", "best turn", "ratio", "by processor time", "possible or wanted", "reached", "median / best")
    return tabulate(cells, headers, floatfmt=("g", "g", ".3g", ".3g", "g", "g", ".2f"), missingval="")


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=SPEECH, help="speech (default: tests/data)")
    parser.add_argument("--turns", type=int, default=15, help="turns of every part (default 15)")
    parser.add_argument("--quick", action="store_true", help="3 turns, about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows and the machine's description")
    options = parser.parse_args(arguments)
    try:
        lines = measure(options.data_dir, 3 if options.quick else options.turns)
    except UserError as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 2
    print(show(lines))
    if options.json:
        report = {"rows": [asdict(row) for row in lines], "environment": environment()}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
