"""The papers' experiment: which runs, what is not done twice, and what stands in its table and figure."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comparison.peers.published import PESQ_ON_TIMIT
from configs.config import parse_flags
from corpus.find import find_speech
from corpus.shards import Packing, pack_shards
from corpus.speech_file import SpeechFile
from nsc.errors import UserError
from scripts.claimed_runs import ClaimedRuns
from scripts.paper import reproduce_paper
from scripts.paper.reproduce_paper import (
    Experiment,
    Reproduction,
    amounts,
    document,
    draw,
    evaluation_hours,
    experiments,
    training_hours,
)
from scripts.speech.timit_split import split_timit
from tests.helpers.places import CORPUS, ROOT

TINY = [f"--{flag}" for flag in ("resnet_type=folded", "fold=32", "folded_width=16", "folded_narrow=8")]


def scores(kbps: float, pesq_wb: float) -> dict[str, Any]:
    return {"kbps": kbps, "pesq_wb": pesq_wb, "stoi": 0.9, "snr": 10 * pesq_wb}


class Bench:
    """A reproduction whose trainings and evaluations only leave what they would."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.commands = folder, list[list[str]]()
        monkeypatch.setattr(subprocess, "run", self._run)

    def _run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        flags = command[command.index(str(ROOT / "main.py")) + 1 :]
        self.commands.append(flags)
        if "--suffix" in flags:
            number = len(list(self.folder.glob("check/*")))
            run = self.folder / "check" / f"20260101-00000{number}-abcdef01{flags[flags.index('--suffix') + 1]}"
            run.mkdir(parents=True)
            (run / "state.json").write_text(json.dumps({"status": "finished"}))
        else:
            scored = self.folder / "scores" / flags[flags.index("--base_model_id") + 1] / "first"
            scored.mkdir(parents=True)
            (scored / "summary.json").write_text(json.dumps({"depths": [scores(9.1, 3.0)]}))
        return subprocess.CompletedProcess(command, 0)

    def modes(self) -> list[str]:
        return [flags[flags.index("--training_mode") + 1] for flags in self.commands]


def test_all_methods_strides_and_rates_of_the_papers_are_trained() -> None:
    work = experiments(list(reproduce_paper.METHODS), reproduce_paper.STRIDES, reproduce_paper.KBPS)
    assert len(work) == 3 * 2 * 5
    assert {experiment.kbps for experiment in work} == {9, 16, 20, 24, 32}
    for experiment in work:
        config = parse_flags(experiment.flags())[0]
        assert config.target_kbps == experiment.kbps
        assert config.module_strides() == (experiment.stride,) * experiment.modules
        assert config.time_domain is (experiment.method == "time_domain")
        assert config.train_lsf_codebook is (experiment.method != "fixed_lpc")


def test_a_cascade_is_trained_finetuned_and_scored_in_both_stages_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, monkeypatch)
    reproduction = Reproduction(ClaimedRuns(tmp_path, CORPUS), 0, ["--config", "cq"])
    experiment = Experiment("cq", 2, 24.0)
    for _ in range(2):
        assert [row.stage for row in reproduction.rows(experiment)] == ["greedy", "finetuned"]
    assert bench.modes() == ["4", "0", "5", "0"]
    assert "20260101-000000-abcdef01" in bench.commands[2]


def test_other_flags_make_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch)
    for flags in (["--seed", "1"], ["--seed", "2"], ["--seed", "1"]):
        Reproduction(ClaimedRuns(tmp_path, CORPUS), 0, flags).rows(Experiment("cq", 2, 9.0))
    assert bench.modes() == ["1", "0", "1", "0"]


def test_a_single_codec_is_not_finetuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch)
    assert len(Reproduction(ClaimedRuns(tmp_path, CORPUS), 0, []).rows(Experiment("cq", 4, 9.0))) == 1
    assert bench.modes() == ["1", "0"]


def test_the_table_names_method_stage_and_rate_of_each_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Bench(tmp_path, monkeypatch)
    rows = Reproduction(ClaimedRuns(tmp_path, CORPUS), 0, []).rows(Experiment("fixed_lpc", 2, 20.0))
    table = document(rows)
    assert "LPC, fixed codebook" in table
    assert "finetuned" in table
    assert "9.10" in table


def test_the_figure_has_the_published_numbers_beside(tmp_path: Path) -> None:
    rows = [
        reproduce_paper.Row(Experiment(method, 2, kbps), "greedy", scores(kbps, 2 + kbps / 20))
        for method in reproduce_paper.METHODS
        for kbps in (9.0, 16.0)
    ]
    draw(rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert PESQ_ON_TIMIT["K-Net, published"][0] == (9.02, 3.63)
    assert [len(points) for points in PESQ_ON_TIMIT.values()] == [5, 4, 5, 5]


def test_hours_grow_with_steps_and_with_what_is_trained() -> None:
    def hours(*flags: str) -> float:
        return training_hours(parse_flags([*TINY, "--steps_per_epoch", "100", *flags])[0], 0, 1e9)

    one = hours("--training_mode", "1", "--num_resnets", "1", "--epoch_tanh", "1")
    assert hours("--training_mode", "1", "--num_resnets", "1", "--epoch_tanh", "3") == pytest.approx(3 * one)
    followers = hours("--training_mode", "2", "--num_resnets", "2", "--epoch_greedy_followers", "1 1")
    assert followers == pytest.approx(one * 4 / 3)  # the first codec runs forward only
    assert hours("--training_mode", "5", "--num_resnets", "2", "--epoch_greedy_followers", "1 1") == pytest.approx(
        2 * one
    )


def test_hours_of_evaluation_grow_with_the_test_speech() -> None:
    config = parse_flags([*TINY, "--num_resnets", "1"])[0]
    assert evaluation_hours(config, 7200, 1e12) == pytest.approx(2 * evaluation_hours(config, 3600, 1e12))
    assert 0.08 < evaluation_hours(config, 3600, 1e12) < 0.1


def test_packed_and_plain_speech_count_alike(tmp_path: Path) -> None:
    packing = Packing(str(CORPUS), shard_hours=1.0)
    pack_shards(packing, tmp_path / "packed")
    plain, packed = amounts(CORPUS, 0), amounts(tmp_path / "packed", 0)
    assert packed.frames == pytest.approx(plain.frames, rel=0.2)  # silent frames are not packed
    assert packed.seconds == pytest.approx(plain.seconds, rel=0.01)
    assert amounts(CORPUS, 1).seconds < plain.seconds


def test_a_dry_run_prints_each_training_with_its_hours_and_trains_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.paper.reproduce_paper", str(CORPUS), "--dry_run", "--output"]
    only = ["--methods", "cq", "--strides", "2", "--kbps", "9", "24", "--", *TINY]
    finished = subprocess.run([*command, str(tmp_path / "out"), *only], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "3 trainings with their evaluation, about" in finished.stdout
    assert finished.stdout.count("main.py --training_mode") == 3
    assert not (tmp_path / "out").exists()


def timit_files(trained: int, tested: int) -> list[SpeechFile]:
    return [
        SpeechFile(Path(f"/t/{part}/dr1/{part}{speaker}/s{sentence}.wav"), f"{part}{speaker}", split)
        for part, split, count in (("train", "train", trained), ("test", "test", tested))
        for speaker in range(count)
        for sentence in range(2)
    ]


def test_timit_is_split_into_300_20_and_50_speakers_on_every_machine_alike() -> None:
    chosen = split_timit(timit_files(462, 168))
    speakers = {split: {file.speaker for file in chosen if file.split == split} for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in speakers.items()} == {"train": 300, "val": 20, "test": 50}
    assert len(chosen) == 2 * 370
    assert split_timit(list(reversed(timit_files(462, 168))))[::-1] == chosen
    assert all(speaker.startswith("test") for speaker in speakers["test"])


def test_less_than_timit_is_refused() -> None:
    with pytest.raises(UserError, match="found 462 and 20"):
        split_timit(timit_files(462, 20))


def test_the_manifest_of_timit_can_be_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.speech.timit_split.TRAINED", 2)
    monkeypatch.setattr("scripts.speech.timit_split.VALIDATED", 1)
    monkeypatch.setattr("scripts.speech.timit_split.TESTED", 1)
    for file in timit_files(4, 2):
        path = tmp_path / "timit" / file.path.relative_to("/t")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    folder = reproduce_paper.corpus_of(tmp_path / "timit", tmp_path / "out")
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert len(find_speech(folder)) == 8
