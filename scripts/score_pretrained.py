"""Scores of the models that ship, through written files, compared with those of their cards.

python -m scripts.score_pretrained --data_dir SPEECH            all of them
python -m scripts.score_pretrained cq --data_dir SPEECH --write

All test speakers first; then, on fewer of their files, what a codec must survive: other levels, other bandwidth, noise.
Other folders are scored as they are, such as a corpus that no model was trained on; columns of their manifests make a
condition of each language or kind. Opus at 6 kbps is the least that is expected.

python -m scripts.score_pretrained --data_dir SPEECH --other clean=OTHER sounds=SOUNDS --by kind --only 'other:*'
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from nsc.coding.interface import Signal

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from comparison.peers import baselines
from comparison.speech import groups_of
from constants import SAMPLE_RATE
from corpus.find import find_test_speech
from corpus.speech_file import SpeechFile, spread
from evaluation.evaluate import evaluate
from evaluation.results import summary
from measures.intervals import mean_with_interval
from measures.measures import columns_of, missing, score_files
from nsc.console import exit_status
from nsc.errors import UserError
from nsc.loading.folder import DESCRIPTION, read_description, write_description
from runs.heard import heard_among
from runs.runs import SHIPPED, find_run
from runs.saved_model import SavedModel, load_model
from runs.stages import stage_folders
from scripts.model_card import CARD, SCORES, TEST, Scores, card, score_table, shipped
from utilities import atomic_write, load_speech, resample, save_speech, to_int16

OTHER = "other: "  # how conditions of other folders are named
LEAST = "opus-audio-cbr-6"
BABBLE_DB = 10.0  # speech over babble
BABBLERS = 6
SAME = {"kbps": 0.02, "pesq_wb": 0.02, "stoi": 0.002, "si_sdr": 0.1}  # on another machine
JUDGES = ("pesq_wb", "stoi", "si_sdr", "distill_mos", "nisqa", "warpq", "time_structure", "octave_levels")


def narrow_band(signal: Signal, _: int) -> Signal:
    """Narrow-band speech, 0 to 4 kHz."""
    from scipy.signal import resample_poly

    return resample(resample_poly(signal, 1, 2).astype(np.float32), SAMPLE_RATE // 2)[: len(signal)]


def scaled(decibels: float) -> Callable[[Signal, int], Signal]:
    """Louder or softer, clipped at full scale."""
    return lambda signal, _: np.clip(signal * 10 ** (decibels / 20), -1, 1).astype(np.float32)


def babble(talkers: Sequence[Signal]) -> Callable[[Signal, int], Signal]:
    """Six other voices 10 dB under the speech."""
    longest = max(map(len, talkers))
    voices = [np.tile(each / each.std(), -(-longest // len(each)))[:longest] for each in talkers]

    def noisy(signal: Signal, number: int) -> Signal:
        chosen = [voices[(number + BABBLERS * place) % len(voices)] for place in range(BABBLERS)]
        noise = np.resize(np.sum(chosen, axis=0), len(signal))
        level = signal.std() / noise.std() * 10 ** (-BABBLE_DB / 20)
        return np.clip(signal + level * noise, -1, 1).astype(np.float32)

    return noisy


def conditions(data_dir: Path, few: Sequence[SpeechFile], wanted: str, folder: Path) -> dict[str, list[SpeechFile]]:
    """The files of each condition whose name matches a pattern; changed speech is written into a folder."""
    talkers = [load_speech(file.path) for file in find_test_speech(data_dir)[:: max(1, len(few) // 4)]]
    changes: dict[str, Callable[[Signal, int], Signal]] = {
        "-20 dB": scaled(-20),
        "+6 dB": scaled(6),
        "0 to 4 kHz": narrow_band,
        "babble at 10 dB": babble(talkers),
    }
    kept = [(name, change) for name, change in changes.items() if fnmatch(name, wanted)]
    return {name: _changed(few, change, folder / str(place)) for place, (name, change) in enumerate(kept)}


def other_conditions(name: str, folder: Path, columns: Sequence[str], few: int) -> dict[str, list[SpeechFile]]:
    """The test files of a folder, apart by what columns of its manifest say.

    Args:
        name: of the folder, for the conditions' names.
        folder: of sounds that no model was trained on.
        columns: of the manifest, such as kind and language; one that it has not makes no difference.
        few: at most so many files of each condition; 0 for all.
    """
    groups = groups_of(find_test_speech(folder), folder, columns)
    names = {part: OTHER + (f"{name}, {part}" if part else name) for part in groups}
    return {names[part]: spread(files, few) for part, files in groups.items()}


def _changed(files: Sequence[SpeechFile], change: Callable[[Signal, int], Signal], folder: Path) -> list[SpeechFile]:
    changed = []
    for number, file in enumerate(files):
        path = folder / f"{number:03d}.wav"
        save_speech(path, change(load_speech(file.path), number))
        changed.append(replace(file, path=path))
    return changed


def depth_scores(model: SavedModel, files: Sequence[SpeechFile], folder: Path) -> list[dict[str, Any]]:
    """Rate and measures of every depth through written files, by the judges that are there."""
    absent = missing(JUDGES)
    judges = [name for name in JUDGES if name not in absent]
    columns = columns_of(judges)
    kept = ["kbps", *columns, *(f"{name}_interval" for name in columns), "files", "speakers"]
    depths = summary(evaluate(model, files, folder, measures=judges))
    return [{name: value for name, value in depth.items() if name in kept} for depth in depths]


def condition_scores(model: SavedModel, every: dict[str, list[SpeechFile]], folder: Path) -> Scores:
    """Scores of the deepest layer in every condition, and of the others on the plain test files."""
    found: Scores = {}
    for place, (condition, files) in enumerate(every.items()):
        *shallower, deepest = depth_scores(model, files, folder / f"out{place}")
        if condition == TEST:
            found |= {f"{TEST}, depth {depth}": scores for depth, scores in enumerate(shallower, 1)}
        found[condition] = deepest | least_scores(files)
    return found


def least_scores(files: Sequence[SpeechFile]) -> dict[str, Any]:
    """PESQ of Opus at 6 kbps; nothing where it is not installed."""
    peer = baselines.PEERS[LEAST]
    if baselines.missing(peer):
        return {}
    signals = [load_speech(file.path) for file in files]
    decoded = [baselines.code(peer, to_int16(signal)).decoded / np.float32(32768) for signal in signals]
    scores = score_files(list(zip(signals, decoded, strict=True)))
    interval = mean_with_interval([each.values["pesq_wb"] for each in scores], [file.speaker for file in files])
    return {"opus_6_pesq_wb": interval.mean}


def differences(found: Scores, recorded: Scores) -> list[str]:
    """Differences from the card, one line each."""
    lines = []
    for condition, scores in found.items():
        for name, tolerance in SAME.items():
            before = recorded.get(condition, {}).get(name)
            if before is not None and abs(scores[name] - before) > tolerance:
                lines.append(f"{condition}: {name} was {before:.3f}, is {scores[name]:.3f}")
    return lines


def main() -> int:
    """Scores models; returns 1 where a card differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", help="models that ship (default: all)")
    parser.add_argument("--data_dir", type=Path, required=True, help="the corpus whose test speakers score")
    parser.add_argument(
        "--other", nargs="*", default=[], metavar="NAME=FOLDER", help="sounds that no model was trained on"
    )
    parser.add_argument(
        "--by", nargs="*", default=[], metavar="COLUMN", help="of their manifests, such as kind, language"
    )
    parser.add_argument("--only", default="*", metavar="PATTERN", help="conditions to score (default all)")
    parser.add_argument("--max_files", type=int, default=0, help="test files, evenly spread; 0: all (default 0)")
    parser.add_argument("--few", type=int, default=40, help="files of every other condition (default 40)")
    parser.add_argument("--write", action="store_true", help="write scores and card instead of comparing them")
    options = parser.parse_args()
    return exit_status("score_pretrained.py", lambda: _score_all(options))


def _score_all(options: argparse.Namespace) -> int:
    names = options.ids or shipped()
    status = 0
    for name in names:
        run = find_run(name, SHIPPED)
        model = load_model(list(stage_folders(run.folder).values())[-1])
        files = spread(find_test_speech(options.data_dir), options.max_files)
        others = _others(options)
        if heard_among(files, run, options.data_dir):
            raise UserError(f"{options.data_dir} holds speech that {name} was trained on; give another --data_dir")
        with tempfile.TemporaryDirectory() as work:
            few = spread(files, options.few)
            every = {TEST: files} | others if fnmatch(TEST, options.only) else others
            every |= conditions(options.data_dir, few, options.only, Path(work))
            scores = condition_scores(model, every, Path(work))
        print(f"{name}, model {model.digest}\n{score_table(scores)}")
        if options.write:
            scores = _recorded(run.folder / SCORES, model.digest, options.only) | scores
            atomic_write(run.folder / SCORES, json.dumps({"model": model.digest, "scores": scores}, indent=2) + "\n")
            atomic_write(run.folder / CARD, card(run))
            described = replace(read_description(run.folder), kbps=round(scores[TEST]["kbps"], 2))
            atomic_write(run.folder / DESCRIPTION, write_description(described))
            continue
        lines = differences(scores, json.loads((run.folder / SCORES).read_text())["scores"])
        print("\n".join(lines) or "as its card says")
        status |= bool(lines)
    return status


def _others(options: argparse.Namespace) -> dict[str, list[SpeechFile]]:
    found: dict[str, list[SpeechFile]] = {}
    for named in options.other:
        name, sign, folder = named.partition("=")
        if not (sign and name):
            raise UserError(f"argument --other: '{named}' is not NAME=FOLDER")
        found |= other_conditions(name, Path(folder), options.by, options.few)
    return {name: files for name, files in found.items() if fnmatch(name, options.only)}


def _recorded(path: Path, digest: str, wanted: str) -> Scores:
    """Scores of the same model in the conditions that were not asked for."""
    recorded = json.loads(path.read_text()) if path.is_file() else {}
    kept = recorded.get("scores", {}) if recorded.get("model") == digest and wanted != "*" else {}
    return {name: scores for name, scores in kept.items() if not fnmatch(name, wanted)}


if __name__ == "__main__":
    sys.exit(main())
