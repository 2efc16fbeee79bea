"""How long a sweep takes on this machine, by multiply-adds."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile
from tabulate import tabulate

from constants import HOP, SAMPLE_RATE
from corpus.speech_file import SpeechFile
from kinds import cascade_of
from options.config import Config, parse_flags
from scripts.sweep.grid import Point
from scripts.sweep.points import FINETUNING, Sweep

EFFICIENCY = 0.4  # of a matrix product's speed that training steps reach, see docs/performance.md
PASSES = 3  # forward, and backward by inputs and by weights
SCORING = 0.08  # of a recording's duration, that entropy coding and measures take, see docs/performance.md


class Amounts(NamedTuple):
    """How much speech there is.

    frames: of training, whose pass is an epoch where no steps say otherwise.
    seconds: of test recordings.
    """

    frames: int
    seconds: float


def dry_run(sweep: Sweep, points: Sequence[Point]) -> str:
    """The trainings with their commands and an estimate of hours, their evaluation included, as text."""
    speech, speed, rows, total = amounts(sweep.data_dir, sweep.max_files), measured_speed(), [], 0.0
    for point in points:
        for mode in sweep.trainings(point):
            flags = sweep.command(point, mode, "ID" if mode == FINETUNING else "")
            config = parse_flags(flags)[0]
            hours = training_hours(config, speech.frames, speed) + validation_hours(config, speed)
            if sweep.grid.evaluate:
                hours += evaluation_hours(config, speech.seconds, speed)
            total += hours
            rows.append([point.name, f"{hours:.1f}", f"main.py {shlex.join(flags)}"])
    table = tabulate(rows, headers=["model", "hours", "command"], tablefmt="plain", disable_numparse=True)
    devices = f"{speed / 1e9:.0f} thousand million multiply-adds a second"
    times = f", times {sweep.grid.tries} at most where rates have to be met" if sweep.grid.tolerance else ""
    return f"{table}\n{len(rows)} trainings with their evaluation, about {total:.1f} hours{times} ({devices})"


def training_hours(config: Config, frames: int, speed: float) -> float:
    """Hours that the stages of a configuration take.

    Args:
        config: as training would have it.
        frames: of the corpus's training speech, whose pass is an epoch where no steps say otherwise.
        speed: multiply-adds a second of large matrix products on this machine.
    """
    from cmrl import stages_of

    cascade = cascade_of(config)
    steps = config.steps_per_epoch or max(1, frames // config.batch_size)
    work = 0.0
    for stage in stages_of(config):
        frozen = cascade.multiply_adds(stage.depth - len(stage.trained))
        trained = cascade.multiply_adds(stage.depth) - frozen
        seconds = stage.epochs * steps * config.batch_size / cascade.frames_per_second
        work += seconds * (frozen + PASSES * trained)
    return work / (EFFICIENCY * speed) / 3600


def validation_hours(config: Config, speed: float) -> float:
    """Hours that the validations of the stages of a configuration take, one an epoch."""
    from cmrl import stages_of
    from training.validation import LONGEST

    epochs = sum(stage.epochs for stage in stages_of(config))
    return evaluation_hours(config, epochs * config.validation_files * LONGEST / SAMPLE_RATE, speed)


def evaluation_hours(config: Config, seconds: float, speed: float) -> float:
    """Hours that coding and scoring take, for so many seconds of test speech."""
    coding = cascade_of(config).multiply_adds(config.num_modules) / (EFFICIENCY * speed)
    return seconds * (coding + SCORING) / 3600


def measured_speed(seconds: float = 0.5) -> float:
    """Multiply-adds per second of a large float32 matrix product on this machine."""
    import tensorflow as tf

    side = 1024
    matrix = tf.random.normal([side, side])
    tf.linalg.matmul(matrix, matrix)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        float(tf.linalg.matmul(matrix, matrix)[0, 0])
        count += 1
    return count * side**3 / (time.perf_counter() - start)


def amounts(data_dir: Path, max_files: int) -> Amounts:
    """Training and test speech of a corpus, of which so many test files are scored, 0 for all."""
    from corpus.find import find_speech, find_test_speech
    from corpus.shard_manifest import is_packed, read_shards
    from corpus.shards import ShardedCorpus

    tested = find_test_speech(data_dir)
    seconds = sum(map(_seconds, tested)) * min(1.0, (max_files or len(tested)) / max(len(tested), 1))
    if is_packed(data_dir):
        return Amounts(ShardedCorpus(data_dir, read_shards(data_dir)["gain"]).num_training_frames(), seconds)
    trained = sum(_seconds(file) for file in find_speech(data_dir) if file.split == "train")
    return Amounts(int(trained * SAMPLE_RATE / HOP), seconds)


def _seconds(file: SpeechFile) -> float:
    known = soundfile.info(file.path)
    return float(known.frames / known.samplerate)
