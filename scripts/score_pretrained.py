"""Scores of the models that ship, through written files, compared with those of their cards.

python -m scripts.score_pretrained --data_dir SPEECH            all of them
python -m scripts.score_pretrained cq --data_dir SPEECH --write

All test speakers first; then, on fewer of their files, what a codec must survive: other levels, other bandwidth, noise;
and speech of another corpus, if it is there. Opus at 6 kbps is the least that is expected.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nsc.coding.interface import Signal

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from comparison.peers import baselines
from constants import SAMPLE_RATE
from corpus.find import find_test_speech
from corpus.speech_file import SpeechFile
from evaluation.evaluate import evaluate, summary
from measures.measures import mean_with_interval, score_files
from nsc.console import exit_status
from nsc.errors import UserError
from nsc.loading.folder import DESCRIPTION, read_description, write_description
from runs.heard import heard_among
from runs.runs import SHIPPED, find_run
from runs.saved_model import SavedModel, load_model
from runs.stages import stage_folders
from scripts.model_card import CARD, SCORES, TEST, Scores, card, score_table, shipped
from utilities import atomic_write, load_speech, resample, save_speech, to_int16

ROOT = SHIPPED.parents[1]
OTHER = "other corpus"
LEAST = "opus-audio-cbr-6"
BABBLE_DB = 10.0  # speech over babble
BABBLERS = 6
SAME = {"kbps": 0.02, "pesq_wb": 0.02, "stoi": 0.002, "si_sdr": 0.1}  # on another machine
KEPT = [*SAME, *(f"{name}_interval" for name in ("pesq_wb", "stoi", "si_sdr")), "files", "speakers"]


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


def conditions(data_dir: Path, few: Sequence[SpeechFile], other: Path, folder: Path) -> dict[str, list[SpeechFile]]:
    """The files of each condition and the plain test files; changed speech is written into a folder."""
    talkers = [load_speech(file.path) for file in find_test_speech(data_dir)[:: max(1, len(few) // 4)]]
    changes: dict[str, Callable[[Signal, int], Signal]] = {
        "-20 dB": scaled(-20),
        "+6 dB": scaled(6),
        "0 to 4 kHz": narrow_band,
        "babble at 10 dB": babble(talkers),
    }
    found = {name: _changed(few, change, folder / str(place)) for place, (name, change) in enumerate(changes.items())}
    if other.is_dir():
        files = find_test_speech(other)
        found[OTHER] = _spread(files, len(few))
    return found


def _changed(files: Sequence[SpeechFile], change: Callable[[Signal, int], Signal], folder: Path) -> list[SpeechFile]:
    changed = []
    for number, file in enumerate(files):
        path = folder / f"{number:03d}.wav"
        save_speech(path, change(load_speech(file.path), number))
        changed.append(replace(file, path=path))
    return changed


def _spread(files: Sequence[SpeechFile], count: int) -> list[SpeechFile]:
    return [files[place * len(files) // count] for place in range(min(count, len(files)))] if count else list(files)


def depth_scores(model: SavedModel, files: Sequence[SpeechFile], folder: Path) -> list[dict[str, Any]]:
    """Rate and measures of every depth through written files."""
    depths = summary(evaluate(model, files, folder))
    return [{name: value for name, value in depth.items() if name in KEPT} for depth in depths]


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
        "--other_dir", type=Path, default=ROOT / "data" / "sample_speech", help="speech of another kind"
    )
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
        files = _spread(find_test_speech(options.data_dir), options.max_files)
        if heard_among(files, run, options.data_dir):
            raise UserError(f"{options.data_dir} holds speech that {name} was trained on; give another --data_dir")
        with tempfile.TemporaryDirectory() as work:
            few = _spread(files, options.few)
            every = {TEST: files} | conditions(options.data_dir, few, options.other_dir, Path(work))
            scores = condition_scores(model, every, Path(work))
        print(f"{name}, model {model.digest}\n{score_table(scores)}")
        if options.write:
            atomic_write(run.folder / SCORES, json.dumps({"model": model.digest, "scores": scores}, indent=2) + "\n")
            atomic_write(run.folder / CARD, card(run))
            described = replace(read_description(run.folder), kbps=round(scores[TEST]["kbps"], 2))
            atomic_write(run.folder / DESCRIPTION, write_description(described))
            continue
        lines = differences(scores, json.loads((run.folder / SCORES).read_text())["scores"])
        print("\n".join(lines) or "as its card says")
        status |= bool(lines)
    return status


if __name__ == "__main__":
    sys.exit(main())
