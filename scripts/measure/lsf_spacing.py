"""Cost of a minimum LSF spacing in prediction gain, and its benefit in stability.

python -m scripts.measure.lsf_spacing SPEECH --files 300
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

import lpc_utilities as lpc
from constants import LPC_CONTEXT
from kinds.samples.front_end import lsf_codebook
from nsc.console import exit_status
from nsc.errors import UserError
from utilities import cut_frames, load_speech, pre_emphasise

SPACINGS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06)  # radians
AUDIO_SUFFIXES = {".wav", ".flac", ".ogg"}
QUIETEST_FRAME = 1e-4  # energy of 512 samples, -67 dB re full scale: quieter frames are skipped
SPECTRUM_LENGTH = 4096
BATCH = 512  # frames
HEADER = (
    *("spacing rad", "moved %", "loss mean dB", "loss 95 % dB", "largest gain 1/A"),
    *("round trip worst file dB", "worst frame dB"),
)


def read_frames(folder: Path, num_files: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pre-emphasised frames with context [n, 1024] of files chosen at random, and the file of each [n]."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        raise UserError(f"expected wav, flac or ogg files under {folder}, found none; name a folder of speech")
    chosen = np.random.default_rng(seed).permutation(len(paths))[:num_files]
    per_file = [cut_frames(pre_emphasise(load_speech(paths[i])), LPC_CONTEXT) for i in tqdm(chosen, unit="file")]
    contexts = np.concatenate(per_file)
    files = np.repeat(np.arange(len(per_file)), [len(frames) for frames in per_file])
    loud = (contexts[:, LPC_CONTEXT:-LPC_CONTEXT] ** 2).sum(1) > QUIETEST_FRAME
    return contexts[loud], files[loud]


@tf.function(input_signature=[tf.TensorSpec([None, 1024])])
def analyse(contexts: tf.Tensor) -> tf.Tensor:
    """Unquantised LSFs [batch, 16]."""
    return lpc.polynomial_to_lsf(lpc.levinson_durbin(lpc.autocorrelation(contexts * lpc.analysis_window())))


def quantise(lsf: NDArray[np.float32]) -> NDArray[np.float32]:
    """Nearest level of the initial codebook for each LSF [n, 16]."""
    levels = np.sort(lsf_codebook())
    borders = (levels[1:] + levels[:-1]) / 2
    return levels[np.searchsorted(borders, lsf)]


def batches(length: int) -> Iterator[slice]:
    """Slices of BATCH frames."""
    return (slice(start, start + BATCH) for start in range(0, length, BATCH))


def energy(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Energy of each row [n, 512]."""
    return np.maximum((samples.astype(np.float64) ** 2).sum(-1), 1e-60)


def measure(
    frames: NDArray[np.float32],
    files: NDArray[np.int64],
    lsf: NDArray[np.float32],
    polynomials: NDArray[np.float32],
) -> list[float]:
    """Columns of the table from loss to round trip, for polynomials [n, 17] on frames [n, 512]."""
    rows = []
    for part in batches(len(frames)):
        polynomial, natural = polynomials[part], lpc.lsf_to_polynomial(lsf[part])
        residual = lpc.inverse_filter(frames[part], polynomial)
        exact = lpc.synthesis_filter(residual, polynomial).numpy()
        loss = energy(residual.numpy()) / energy(lpc.inverse_filter(frames[part], natural).numpy())
        gain = 1 / np.abs(np.fft.rfft(polynomial, SPECTRUM_LENGTH)).min(-1)
        rows.append([loss, gain, energy(exact - frames[part])])
    loss, gain, error = np.concatenate(rows, 1)
    losses = 10 * np.log10(loss)
    signal = energy(frames)
    per_file = 10 * np.log10(np.bincount(files, signal)[np.unique(files)] / np.bincount(files, error)[np.unique(files)])
    worst_frame = 10 * np.log10((signal / error).min())
    return [losses.mean(), np.percentile(losses, 95), gain.max(), per_file.min(), worst_frame]


def main() -> int:
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="speech: wav, flac or ogg files at any depth")
    parser.add_argument("--files", type=int, default=300, help="number of files, chosen at random (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of files (default 0)")
    parser.add_argument("--spacings", type=float, nargs="+", default=SPACINGS, help="radians")
    arguments = parser.parse_args()
    return exit_status("lsf_spacing.py", lambda: _print_table(arguments))


def _print_table(arguments: argparse.Namespace) -> None:
    contexts, files = read_frames(arguments.folder, arguments.files, arguments.seed)
    lsf = np.concatenate([analyse(contexts[part]).numpy() for part in batches(len(contexts))])
    frames, quantised = contexts[:, LPC_CONTEXT:-LPC_CONTEXT], np.sort(quantise(lsf))
    table = []
    for spacing in tqdm(arguments.spacings, unit="spacing"):
        stable = lpc.stabilise_lsf(quantised, spacing)
        moved = 100 * np.any(stable.numpy() != quantised, -1).mean()
        table.append([spacing, moved, *measure(frames, files, lsf, lpc.lsf_to_polynomial(stable).numpy())])
    print(f"{len(frames)} frames; loss of prediction gain against unquantised LSFs without spacing")
    print(tabulate(table, HEADER, floatfmt=("g", ".1f", ".3f", ".3f", ".0f", ".1f", ".1f")))


if __name__ == "__main__":
    sys.exit(main())
