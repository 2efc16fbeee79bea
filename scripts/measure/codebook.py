"""Where a learned LSF codebook leads: bits of LPC and of the codecs over training, and how far the levels moved.

python -m scripts.measure.codebook --fixed ID ID ID --learned ID ID ID --picture docs/codebook.png

Runs are equal but for `--is_cq` and `--seed`. Curves are means over them, of the bits per frame that validation files
took; levels are compared with those that training began with, in steps between a coefficient's levels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from comparison.figures.plots import OURS, PNG_DPI, matplotlib_figure
from constants import LPC_ORDER, SAMPLE_RATE
from kinds.samples.front_end import lsf_codebook
from nsc.console import exit_status, log, show_own_lines
from runs.heard import CONFIG
from runs.machine import import_tensorflow
from runs.runs import Journal, Run, find_run
from runs.stages import stage_folders

PARTS = {"bits_lpc": "LPC, bits per frame", "bits_codec_1": "first codec, bits per frame"}
KINDS = ("fixed", "learned")
CODEBOOK = "lpc/000"  # in a saved model


class Training(NamedTuple):
    """What a run left.

    steps: of its validations, [n].
    bits: per frame at each of them, [n] by the journal's name of the part.
    levels: of the codebook at its end, in radians, [256].
    """

    steps: NDArray[np.int64]
    bits: dict[str, NDArray[np.float64]]
    levels: NDArray[np.float64]


def training_of(run: Run, doc_dir: Path) -> Training:
    """Reads a run's journal and the codebook of its first stage."""
    from runs.saved_model import saved_weights

    steps_per_epoch = int(run.read_record(CONFIG)["steps_per_epoch"])
    events = [event for event in Journal.read(doc_dir / f"{run.folder.name}.jsonl") if event["event"] == "validated"]
    steps = np.array([event["epoch"] * steps_per_epoch for event in events])
    bits = {part: np.array([event[part] for event in events]) for part in PARTS}
    levels = saved_weights(stage_folders(run.folder)["first"])[CODEBOOK]
    return Training(steps, bits, levels.astype(np.float64))


def movement(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far levels [256] are from where training began, in steps between a coefficient's levels there."""
    start = lsf_codebook().astype(np.float64).reshape(LPC_ORDER, -1)
    return ((levels.reshape(start.shape) - start) / (start[:, 1:2] - start[:, :1])).reshape(-1)


def draw(trainings: dict[str, list[Training]], picture: Path) -> None:
    """LPC and codec bits over steps, and the movement of the levels."""
    figure, axes = matplotlib_figure(11, 3.2, ncols=3)
    for kind, colour in zip(KINDS, OURS[1::-1], strict=True):
        for place, (part, title) in enumerate(PARTS.items()):
            curves = np.array([training.bits[part] for training in trainings[kind]])
            axes[place].plot(trainings[kind][0].steps, curves.T, color=colour, alpha=0.3, linewidth=1)
            axes[place].plot(trainings[kind][0].steps, curves.mean(0), color=colour, label=kind, marker="o")
            axes[place].set(xlabel="step", ylabel=title)
    start = lsf_codebook() * SAMPLE_RATE / (2 * np.pi)
    for training, colour in zip(trainings["learned"], OURS, strict=False):
        axes[2].scatter(start, movement(training.levels), color=colour, s=4)
    axes[2].set(xlabel="level at the start, Hz", ylabel="moved, in steps")
    for each in axes:
        each.grid(alpha=0.25)
    axes[0].legend()
    figure.savefig(picture, dpi=PNG_DPI)


def _measure(options: argparse.Namespace) -> None:
    import_tensorflow()
    names = {"fixed": options.fixed, "learned": options.learned}
    trainings = {
        kind: [training_of(find_run(name, options.check_dir), options.doc_dir) for name in names[kind]]
        for kind in KINDS
    }
    for kind, found in trainings.items():
        for name, training in zip(names[kind], found, strict=True):
            moved = np.abs(movement(training.levels))
            bits = ", ".join(f"{part} {bits[0]:.1f} to {bits[-1]:.1f}" for part, bits in training.bits.items())
            log.info("%s %s: %s; levels moved %.2f steps, at most %.2f", kind, name, bits, moved.mean(), moved.max())
    draw(trainings, options.picture)


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", nargs="+", required=True, help=f"ids of runs with a {kind} codebook")
    parser.add_argument("--check_dir", type=Path, default=Path("check"), help="folder of runs (default %(default)s)")
    parser.add_argument("--doc_dir", type=Path, default=Path("doc"), help="folder of journals (default %(default)s)")
    parser.add_argument("--picture", type=Path, default=Path("codebook.png"), help="PNG (default %(default)s)")
    options = parser.parse_args(list(arguments))
    show_own_lines()
    return exit_status("codebook.py", lambda: _measure(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
