"""The papers' experiment: no LPC, LPC with a fixed codebook, and CQ, over bitrates and strides, greedy and finetuned.

scripts/reproduce_paper.sh DATA_DIR --dry_run
scripts/reproduce_paper.sh DATA_DIR --output reproduction -- --config cq --epoch_tanh 3

Trains each model, finetunes cascades, scores both through written files of test speakers, and leaves `results.md` and
`results.png` in the output folder: PESQ-WB and SNR over kbps of whole files, alongside the numbers that the papers
published. What follows `--` goes to main.py. A TIMIT tree is split into 300 training and 50 test speakers
(scripts/speech/timit_split.py). Stopped, the same command continues; processes with one output folder share the work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from tabulate import tabulate

from comparison.peers.published import PESQ_ON_TIMIT
from configs.config import Config, parse_flags
from constants import HOP, SAMPLE_RATE
from corpus.speech_file import SpeechFile
from network.machine import import_tensorflow
from nsc import console
from scripts.claimed_runs import ClaimedRuns
from utilities import atomic_write

METHODS: dict[str, tuple[str, list[str]]] = {
    "time_domain": ("no LPC", ["--is_pure_time_domain", "1"]),
    "fixed_lpc": ("LPC, fixed codebook", ["--is_cq", "0"]),
    "cq": ("CQ", ["--is_cq", "1"]),
}
KBPS = (9.0, 16.0, 20.0, 24.0, 32.0)
STRIDES = (2, 4)
ONE_CODEC = 16.0  # kbps up to which one codec is enough; above there are two
GREEDY, FINETUNED = "greedy", "finetuned"
COLOURS = {"time_domain": "#e69f00", "fixed_lpc": "#0072b2", "cq": "#d1495b"}
EFFICIENCY = 0.4  # of a matrix product's speed that training steps reach, see docs/performance.md
PASSES = 3  # forward, and backward by inputs and by weights
SCORING = 0.08  # of a recording's duration, that entropy coding and measures take, see docs/performance.md


class Experiment(NamedTuple):
    """One model: method, stride, and the kbps of all that is sent."""

    method: str
    stride: int
    kbps: float

    @property
    def modules(self) -> int:
        """Codecs of the cascade."""
        return 1 if self.kbps <= ONE_CODEC else 2

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.method}_stride{self.stride}_{self.kbps:g}k"

    def flags(self) -> list[str]:
        """The flags that define the model."""
        network = ["--num_resnets", str(self.modules), "--the_strides", str(self.stride)]
        return [*METHODS[self.method][1], *network, "--target_kbps", f"{self.kbps:g}"]


class Row(NamedTuple):
    """A scored stage of a model at full depth."""

    experiment: Experiment
    stage: str
    scores: dict[str, Any]


def experiments(methods: Sequence[str], strides: Sequence[int], kbps: Sequence[float]) -> list[Experiment]:
    """All models, low rates first, since they show differences between methods earliest."""
    return [Experiment(method, stride, rate) for rate in kbps for stride in strides for method in methods]


class Reproduction:
    """Trains and scores models in a folder."""

    def __init__(self, runs: ClaimedRuns, max_files: int, flags: Sequence[str]) -> None:
        self._runs, self._max_files, self._flags = runs, max_files, list(flags)

    def greedy_flags(self, experiment: Experiment) -> list[str]:
        """The training of the first codec and its follower."""
        mode = "1" if experiment.modules == 1 else "4"
        return ["--training_mode", mode, "--suffix", self._suffix(experiment, GREEDY), *self._flags_of(experiment)]

    def finetuning_flags(self, experiment: Experiment, base: str) -> list[str]:
        """The training of all codecs and the codebook together."""
        names = ["--base_model_id", base, "--suffix", self._suffix(experiment, FINETUNED)]
        return ["--training_mode", "5", *names, *self._flags_of(experiment)]

    def rows(self, experiment: Experiment) -> list[Row]:
        """Trains and scores a model; less than all of it while another process trains it."""
        rows = []
        base = self._trained(experiment, GREEDY, self.greedy_flags(experiment))
        rows += self._scored(experiment, GREEDY, base)
        if experiment.modules > 1 and base:
            flags = self.finetuning_flags(experiment, base.name.split("_")[0])
            rows += self._scored(experiment, FINETUNED, self._trained(experiment, FINETUNED, flags))
        return rows

    def found(self, experiment: Experiment) -> list[Row]:
        """What is scored by now."""
        rows = []
        for stage in (GREEDY, FINETUNED):
            run = self._runs.run(self._suffix(experiment, stage))
            summary = self._runs.summary(run) if run else None
            if summary:
                rows.append(Row(experiment, stage, json.loads(summary.read_text())["depths"][-1]))
        return rows

    def _flags_of(self, experiment: Experiment) -> list[str]:
        return [*experiment.flags(), *self._flags]

    def _suffix(self, experiment: Experiment, stage: str) -> str:
        """The end of the name of a run: of the experiment, of all that its flags make of it, and of the stage."""
        identity = json.dumps(parse_flags(self._flags_of(experiment))[0].identity(), sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:6]
        return f"_paper_{experiment.name}_{digest}_{stage}"

    def _trained(self, experiment: Experiment, stage: str, flags: Sequence[str]) -> Path | None:
        """The finished run of a stage; trained where there is none."""
        suffix = self._suffix(experiment, stage)
        run = self._runs.run(suffix)
        if not (run and json.loads((run / "state.json").read_text())["status"] == "finished"):
            if not self._runs.main(f"train{suffix}", flags):
                return None
            run = self._runs.run(suffix)
        return run

    def _scored(self, experiment: Experiment, stage: str, run: Path | None) -> list[Row]:
        if run is None:
            return []
        if not self._runs.summary(run):
            flags = ["--training_mode", "0", "--base_model_id", run.name.split("_")[0]]
            if not self._runs.main(f"score{run.name}", [*flags, "--max_files", str(self._max_files)]):
                return []
        return [row for row in self.found(experiment) if row.stage == stage]


def training_hours(config: Config, frames: int, speed: float) -> float:
    """Hours that the stages of a configuration take.

    Args:
        config: as training would have it.
        frames: of the corpus's training speech, whose pass is an epoch where no steps say otherwise.
        speed: multiply-adds a second of large matrix products on this machine.
    """
    from cmrl import Cascade, multiply_adds, stages_of

    cascade = Cascade(config)
    steps = config.steps_per_epoch or max(1, frames // config.batch_size)
    work = 0.0
    for stage in stages_of(config):
        frozen = multiply_adds(cascade, stage.depth - len(stage.trained))
        trained = multiply_adds(cascade, stage.depth) - frozen
        work += stage.epochs * steps * config.batch_size * (frozen + PASSES * trained)
    return work / (EFFICIENCY * speed) / 3600


def evaluation_hours(config: Config, seconds: float, speed: float) -> float:
    """Hours that coding and scoring take, for so many seconds of test speech."""
    from cmrl import Cascade, multiply_adds

    coding = multiply_adds(Cascade(config), config.num_modules) * SAMPLE_RATE / HOP / (EFFICIENCY * speed)
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


class Amounts(NamedTuple):
    """How much speech there is.

    frames: of training, whose pass is an epoch where no steps say otherwise.
    seconds: of test recordings.
    """

    frames: int
    seconds: float


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


def dry_run(work: Sequence[Experiment], reproduction: Reproduction, speech: Amounts) -> str:
    """The runs with their commands and an estimate of hours, their evaluation included, as text."""
    speed, rows, total = measured_speed(), [], 0.0
    for experiment in work:
        greedy = reproduction.greedy_flags(experiment)
        trainings = [(GREEDY, greedy)]
        if experiment.modules > 1:
            trainings.append((FINETUNED, reproduction.finetuning_flags(experiment, "ID")))
        for stage, flags in trainings:
            config = parse_flags(flags)[0]
            hours = training_hours(config, speech.frames, speed) + evaluation_hours(config, speech.seconds, speed)
            total += hours
            rows.append([experiment.name, stage, f"{hours:.1f}", f"main.py {shlex.join(flags)}"])
    table = tabulate(rows, headers=["model", "stage", "hours", "command"], tablefmt="plain", disable_numparse=True)
    devices = f"{speed / 1e9:.0f} thousand million multiply-adds a second"
    return f"{table}\n{len(rows)} trainings with their evaluation, about {total:.1f} hours on this machine ({devices})"


def document(rows: Sequence[Row]) -> str:
    """The results as Markdown."""
    lines = [
        {
            "method": METHODS[row.experiment.method][0],
            "stride": row.experiment.stride,
            "codecs": row.experiment.modules,
            "stage": row.stage,
            "target": f"{row.experiment.kbps:g}",
            "kbps": f"{row.scores['kbps']:.2f}",
            "PESQ-WB": f"{row.scores['pesq_wb']:.2f}",
            "STOI": f"{row.scores['stoi']:.3f}",
            "SNR dB": f"{row.scores['snr']:.1f}",
        }
        for row in rows
    ]
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """PESQ-WB and SNR over kbps, one line per method and stride, best stage of each model; published PESQ in grey."""
    from comparison.figures.plots import matplotlib_figure

    figure, (pesq, snr) = matplotlib_figure(11, 4.6, ncols=2)
    for axes, measure in ((pesq, "pesq_wb"), (snr, "snr")):
        for method, stride in dict.fromkeys((row.experiment.method, row.experiment.stride) for row in rows):
            best = _best([row for row in rows if row.experiment[:2] == (method, stride)], measure)
            axes.plot(
                *np.array(best).T,
                color=COLOURS[method],
                linestyle="-" if stride == 2 else "--",
                marker="o",
                label=f"{METHODS[method][0]}, stride {stride}",
            )
        axes.set_xlabel("kbps of whole files")
    for style, (name, points) in zip(("-", "--", "-.", ":"), PESQ_ON_TIMIT.items(), strict=True):
        pesq.plot(
            *np.array(points).T, color="#7d8590", linestyle=style, marker=".", linewidth=1, label=f"{name} (TIMIT)"
        )
    pesq.set_ylabel("PESQ-WB")
    snr.set_ylabel("SNR, dB")
    pesq.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _best(rows: Sequence[Row], measure: str) -> list[tuple[float, float]]:
    """(kbps, value) of the better stage of each model, rising."""
    of_model: dict[Experiment, Row] = {}
    for row in rows:
        known = of_model.get(row.experiment)
        if known is None or row.scores[measure] > known.scores[measure]:
            of_model[row.experiment] = row
    return sorted((row.scores["kbps"], row.scores[measure]) for row in of_model.values())


def corpus_of(data_dir: Path, output: Path) -> Path:
    """The folder to train on: a TIMIT tree's own manifest of 300 and 50 speakers, or the folder itself."""
    from corpus.find import find_speech
    from corpus.shard_manifest import is_packed
    from corpus.splits import TIMIT_FILE
    from scripts.speech.timit_split import write_manifest

    if is_packed(data_dir) or (data_dir / "manifest.csv").is_file():
        return data_dir
    files = find_speech(data_dir)
    if not all(TIMIT_FILE.search(file.path.absolute().as_posix()) for file in files):
        return data_dir
    return write_manifest(data_dir, output / "timit_300_50").parent


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="reproduce_paper.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("data_dir", type=Path, help="speech to train and to score on, such as a TIMIT tree")
    made.add_argument("--dry_run", action="store_true", help="print the runs and an estimate of hours, and stop")
    made.add_argument("--output", type=Path, default=Path("reproduction"), help="folder (default reproduction)")
    made.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="(default all)")
    made.add_argument("--strides", type=int, nargs="+", choices=STRIDES, default=list(STRIDES), help="(default 2 4)")
    made.add_argument("--kbps", type=float, nargs="+", default=list(KBPS), help="(default 9 16 20 24 32)")
    made.add_argument("--max_files", type=int, default=0, help="test files, evenly spread (default 0: all)")
    return made


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    own, flags = list(arguments), []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    options = parser().parse_args(own)
    return console.exit_status(
        "reproduce_paper.sh", lambda: _run(options, flags), "stopped; the same command continues"
    )


def _run(options: argparse.Namespace, flags: Sequence[str]) -> int:
    import_tensorflow()
    output = options.output.resolve()
    data_dir = corpus_of(options.data_dir.resolve(), output)
    work = experiments(options.methods, options.strides, options.kbps)
    reproduction = Reproduction(ClaimedRuns(output, data_dir), options.max_files, flags)
    for experiment in work:
        parse_flags(reproduction.greedy_flags(experiment))  # a mistake shows before the first training
    if options.dry_run:
        print(dry_run(work, reproduction, amounts(data_dir, options.max_files)))
        return 0
    for experiment in work:
        reproduction.rows(experiment)
        rows = [row for each in work for row in reproduction.found(each)]
        if rows:
            atomic_write(output / "results.md", document(rows))
            draw(rows, output / "results.png")
    print(document([row for each in work for row in reproduction.found(each)]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
