"""Writes a manifest of TIMIT with 300 speakers for training, 20 for validation and 50 for testing.

python -m scripts.speech.timit_split /path/to/TIMIT timit_300_50

Training and validation speakers come from TRAIN, test speakers from TEST, in the order of the SHA-256 of their names,
which is the same on every machine; all ten sentences of each are taken. The papers name the numbers, 300 and 50, and
no speakers. `main.py --data_dir timit_300_50` trains on it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from corpus.find import find_speech
from corpus.manifest import write_manifest
from corpus.speech_file import SpeechFile
from nsc.console import exit_status
from nsc.errors import UserError

TRAINED, VALIDATED, TESTED = 300, 20, 50  # speakers


def split_timit(files: Sequence[SpeechFile]) -> list[SpeechFile]:
    """The recordings of the chosen speakers with their splits, from a TIMIT tree's as `find_speech` gives them.

    Raises:
        UserError: TIMIT has fewer speakers than that.
    """
    parts = {
        part: _in_order({file.speaker for file in files if (file.split == "test") == (part == "test")})
        for part in ("train", "test")
    }
    if len(parts["train"]) < TRAINED + VALIDATED or len(parts["test"]) < TESTED:
        raise UserError(
            f"expected {TRAINED + VALIDATED} speakers in TRAIN and {TESTED} in TEST, found {len(parts['train'])} and"
            f" {len(parts['test'])}; give the whole of TIMIT"
        )
    split_of = dict.fromkeys(parts["train"][:TRAINED], "train")
    split_of |= dict.fromkeys(parts["train"][TRAINED : TRAINED + VALIDATED], "val")
    split_of |= dict.fromkeys(parts["test"][:TESTED], "test")
    return [SpeechFile(file.path, file.speaker, split_of[file.speaker]) for file in files if file.speaker in split_of]


def _in_order(speakers: set[str]) -> list[str]:
    return sorted(speakers, key=lambda speaker: hashlib.sha256(speaker.encode()).hexdigest())


def write_split(data_dir: Path, folder: Path) -> Path:
    """Writes the manifest of a TIMIT tree into a folder."""
    return write_manifest(split_timit(find_speech(data_dir)), folder)


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, help="TIMIT tree with TRAIN and TEST")
    parser.add_argument("folder", type=Path, help="gets manifest.csv")
    options = parser.parse_args()
    return exit_status("timit_split.py", lambda: print(write_split(options.data_dir, options.folder)))


if __name__ == "__main__":
    sys.exit(main())
