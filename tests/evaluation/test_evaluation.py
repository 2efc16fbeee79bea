import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pesq
import pytest
import scipy.stats
import soundfile

import nsc
from corpus.speech_file import SpeechFile
from evaluation.evaluate import evaluate, output_names
from evaluation.mode import _test_files
from evaluation.results import FileResult, rate_check, summary, table
from kinds.samples import batch as feed_forward
from loss_terms_and_measures import assignment_entropy
from measures import measures
from nsc.errors import UserError
from runs import runs
from runs.heard import CONFIG, SPLITS
from runs.runs import Run
from runs.saved_model import SavedModel, load_model
from runs.stages import stage_folders
from tests.helpers import tiny
from tests.helpers.tiny import CORPUS, Workplace
from utilities import load_speech, number_of_frames

CLIPS = [
    SpeechFile(CORPUS / "ivrvoice" / "ru-vm-login.flac", "ivrvoice", "test"),
    SpeechFile(CORPUS / "carlo" / "it-dir-last.flac", "carlo", "test"),
]


@pytest.fixture(scope="module")
def model(trained: Workplace) -> Iterator[SavedModel]:
    with tiny.eager_and_short():
        yield load_model(stage_folders(trained.folders()[1])["finetune"])


@pytest.fixture(scope="module")
def evaluated(model: SavedModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[FileResult], Path]:
    folder = tmp_path_factory.mktemp("evaluated")
    return evaluate(model, CLIPS, folder), folder


def result(speaker: str, depth: int = 1, **changes: Any) -> FileResult:
    values: dict[str, Any] = {
        "file": f"{speaker}.wav",
        "speaker": speaker,
        "depth": depth,
        "seconds": 1.0,
        "written": f"depth_{depth}/{speaker}.nsc",
        "decoded": f"depth_{depth}/{speaker}.wav",
        "kbps": 9.2,
        "payload_kbps": 8.85,
        "ideal_kbps": 8.8,
        "training_kbps": 8.7,
        "paper_style_kbps": 8.0,
        "bits": {"lpc": 70.0, "codec 1": 200.0},
        "entropies": {"lpc": 4.4, "codec 1": 0.8},
        "byte_counts": {"header": 16, "framing": 23, "gain": 3, "lpc": 290, "codec 1": 818},
        "measures": {"pesq_wb": 3.0, "stoi": 0.9, "snr": 10.0, "si_sdr": 9.5},
        "failures": {},
    }
    return FileResult(**(values | changes))


def test_every_depth_of_every_file_is_decoded_and_scored(evaluated: tuple[list[FileResult], Path]) -> None:
    results, folder = evaluated

    assert [(Path(each.file).stem, each.depth) for each in results] == [
        ("ru-vm-login", 1),
        ("ru-vm-login", 2),
        ("it-dir-last", 1),
        ("it-dir-last", 2),
    ]
    for each in results:
        decoded, rate = soundfile.read(folder / each.decoded)
        assert rate == 16_000
        assert len(decoded) == len(load_speech(each.file)) == round(each.seconds * 16_000)
        reference = load_speech(each.file).astype(np.float64)
        noise = decoded - reference
        assert each.measures["snr"] == pytest.approx(10 * np.log10(np.sum(reference**2) / np.sum(noise**2)), abs=0.01)
        assert 1 <= each.measures["pesq_wb"] <= 4.65


def test_a_few_files_are_scored_without_other_processes(
    model: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("worker processes take longer to start than a few files to score")

    monkeypatch.setattr(measures, "ProcessPoolExecutor", refuse)

    assert len(evaluate(model, CLIPS[:1], tmp_path)) == 2


def test_kbps_is_the_size_of_the_written_file_over_its_duration(evaluated: tuple[list[FileResult], Path]) -> None:
    results, folder = evaluated
    for each in results:
        written = folder / each.written
        assert written.suffix == ".nsc"
        assert written.with_suffix(".wav") == folder / each.decoded
        assert each.kbps == pytest.approx(8 * written.stat().st_size / each.seconds / 1000)
        assert sum(each.byte_counts.values()) == written.stat().st_size
        assert list(each.byte_counts) == ["header", "framing", "gain", "lpc", "codec 1", "codec 2"][: 4 + each.depth]


def test_scores_are_those_of_speech_decoded_from_the_written_file(
    evaluated: tuple[list[FileResult], Path], model: SavedModel
) -> None:
    results, folder = evaluated
    for each in results[:2]:
        decoded, damage = nsc.decode((folder / each.written).read_bytes(), model.coding)
        kept, _ = soundfile.read(folder / each.decoded, dtype="float32")
        assert not damage
        assert kept == pytest.approx(np.clip(decoded, -1, 1), abs=1 / 32768)


def test_pesq_is_that_of_the_package_on_the_written_decoded_file(evaluated: tuple[list[FileResult], Path]) -> None:
    results, folder = evaluated
    assert {each.speaker for each in results} == {clip.speaker for clip in CLIPS}  # every file, not one
    for each in results:
        decoded, rate = soundfile.read(folder / each.decoded, dtype="float32")
        score = pesq.pesq(rate, load_speech(each.file), decoded, "wb")
        assert each.measures["pesq_wb"] == pytest.approx(score, abs=0.02)


def test_the_ideal_code_length_is_what_the_tables_say_about_the_symbols(
    evaluated: tuple[list[FileResult], Path], model: SavedModel
) -> None:
    results, folder = evaluated
    coded = model.coding.symbols((folder / results[1].written).read_bytes())
    bits = dict.fromkeys(coded, 0.0)
    for name, symbols in coded.items():
        for frame in symbols:
            for position in frame:
                for channel, symbol in enumerate(position):
                    bits[name] -= math.log2(model.tables[name][channel, symbol] / 65536)
    for each, parts in zip(results, (["lpc", "codec 1"], ["lpc", "codec 1", "codec 2"]), strict=False):
        assert each.ideal_kbps == pytest.approx(sum(bits[part] for part in parts) / each.seconds / 1000)
        assert list(each.bits) == parts
    assert results[0].bits["lpc"] == pytest.approx(bits["lpc"] / len(coded["lpc"]))
    assert results[0].entropies["lpc"] == pytest.approx(results[0].bits["lpc"] / 16)
    assert results[1].entropies["codec 2"] == pytest.approx(results[1].bits["codec 2"] / 256)


def test_the_payload_is_within_one_per_cent_of_the_ideal_code_length_under_contexts(
    coding_model: SavedModel, tmp_path: Path
) -> None:
    for row in summary(evaluate(coding_model, CLIPS[:1], tmp_path)):
        assert 0 < row["payload_kbps"] / row["ideal_kbps"] - 1 < 0.01
        assert row["payload_kbps"] < row["kbps"]


def test_the_estimate_of_training_is_the_entropy_of_all_soft_assignments(
    evaluated: tuple[list[FileResult], Path], model: SavedModel
) -> None:
    results, _ = evaluated
    contexts = [feed_forward.prepare(load_speech(clip.path), model.cascade.config).contexts for clip in CLIPS]
    output = model.cascade.call(np.concatenate(contexts), ["straight_through"] * 2, "straight_through")
    assert output.analysis.lsf is not None
    quantised = [output.analysis.lsf, *output.codes]
    bits = [float(assignment_entropy(each.assignments)) * each.symbols[0].numpy().size for each in quantised]
    for each in results:
        frames = number_of_frames(round(16_000 * each.seconds))
        expected = sum(bits[: 1 + each.depth]) * frames / each.seconds / 1000
        assert each.training_kbps == pytest.approx(expected, rel=1e-4)


def test_a_gap_between_ideal_code_length_and_payload_is_shown_in_red() -> None:
    sound, faulty = result("anna", payload_kbps=8.85), result("anna", payload_kbps=9.0)

    assert "+0.57 %" in rate_check([sound], colour=True)
    assert "\033[31m" not in rate_check([sound], colour=True)
    assert "\033[31m+2.27 %" in rate_check([faulty], colour=True)
    assert "\033[31m" not in rate_check([faulty], colour=False)
    assert "more than the 1 %" in rate_check([faulty], colour=False)
    assert rate_check([sound]).startswith("rate check, depth 1: training's estimate 8.70 (information), ideal code")


def test_an_estimate_far_above_the_ideal_code_length_is_flagged() -> None:
    far = result("anna", payload_kbps=8.85)
    far.training_kbps = 1.4 * far.ideal_kbps
    assert "(40 % above the ideal: what tau steered by is not what these symbols cost)" in rate_check([far])
    assert "\033[31m40 % above the ideal" in rate_check([far], colour=True)


def test_the_csv_has_a_row_for_every_file_and_depth(evaluated: tuple[list[FileResult], Path]) -> None:
    results, folder = evaluated
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert [float(row["kbps"]) for row in rows] == pytest.approx([each.kbps for each in results])
    assert [float(row["pesq_wb"]) for row in rows] == pytest.approx([each.measures["pesq_wb"] for each in results])
    assert rows[0]["bits codec 2"] == ""
    assert [int(row["bytes lpc"]) for row in rows] == [each.byte_counts["lpc"] for each in results]
    assert float(rows[1]["entropy codec 2"]) == pytest.approx(results[1].entropies["codec 2"])


def test_the_json_says_which_model_and_how_good(evaluated: tuple[list[FileResult], Path], model: SavedModel) -> None:
    results, folder = evaluated
    report = json.loads((folder / "summary.json").read_text())

    assert (report["model"], report["stage"], report["failures"]) == (model.digest, "finetune", [])
    assert [row["depth"] for row in report["depths"]] == [1, 2]
    for row in report["depths"]:
        of_depth = [each for each in results if each.depth == row["depth"]]
        size = sum(each.byte_counts["codec 1"] for each in of_depth)
        assert row["kbps codec 1"] == pytest.approx(8 * size / sum(each.seconds for each in of_depth) / 1000)
        own = [each.measures["stoi"] for each in results if each.depth == row["depth"]]
        assert row["stoi"] == pytest.approx(np.mean(own))
        assert row["stoi_interval"] == pytest.approx(
            scipy.stats.t.interval(0.95, 1, np.mean(own), scipy.stats.sem(own))[1] - np.mean(own)
        )


def test_intervals_are_over_speakers_and_not_over_files() -> None:
    scores = {"anna": [3.0, 3.2, 3.4], "bert": [2.0], "cleo": [2.6, 2.8]}
    results = [
        result(speaker, measures={"pesq_wb": value, "stoi": 0.9, "snr": 1.0, "si_sdr": 1.0})
        for speaker, values in scores.items()
        for value in values
    ]

    (row,) = summary(results)

    means = [3.2, 2.0, 2.7]
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(means), scipy.stats.sem(means))
    assert row["pesq_wb"] == pytest.approx(np.mean(means))
    assert row["pesq_wb_interval"] == pytest.approx((high - low) / 2)
    assert (row["files"], row["speakers"]) == (6, 3)


def test_rates_are_weighted_by_duration() -> None:
    (row,) = summary([result("anna", seconds=3.0, kbps=10.0), result("bert", seconds=1.0, kbps=20.0)])

    assert row["kbps"] == pytest.approx(12.5)


def test_files_without_a_measure_are_counted_in_the_table_and_left_out_of_the_mean() -> None:
    failed = {"pesq_wb": math.nan, "stoi": math.nan, "snr": 4.0, "si_sdr": 3.0}
    results = [result("anna"), result("bert", measures=failed), result("cleo", measures=failed | {"stoi": 0.7})]

    shown = table(results)

    assert "skipped" in shown
    assert "2 pesq_wb, 1 stoi" in shown
    assert "3.00" in shown
    assert "skipped" not in table([result("anna")])
    assert "nan" not in table([result("anna")])


def test_a_silent_recording_is_coded_and_its_measures_are_left_out(model: SavedModel, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    silent = SpeechFile(tmp_path / "silence.wav", "nobody", "test")

    results = evaluate(model, [silent, CLIPS[0]], tmp_path / "out")

    assert math.isnan(results[0].measures["pesq_wb"])
    assert "2 files" not in table(results)
    assert "1 pesq_wb, 1 stoi, 1 snr, 1 si_sdr" in table(results)
    report = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert any("silence" in line and "silent" in line for line in report["failures"])


def test_unusable_files_are_named_and_left_out(
    model: SavedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "short.wav", np.zeros(1000), 16_000)
    unusable = [SpeechFile(tmp_path / name, "nobody", "test") for name in ("broken.wav", "short.wav", "none.wav")]

    with pytest.raises(UserError, match="none of the test files could be coded"):
        evaluate(model, unusable, tmp_path / "out")
    printed = capsys.readouterr()
    assert [line for line in printed.err.splitlines() if line.startswith("skipped: ")] == printed.err.splitlines()
    assert len(printed.err.splitlines()) == 3
    assert not printed.out

    evaluate(model, [*unusable, CLIPS[0]], tmp_path / "out")
    report = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [Path(line.split(":")[0]).name for line in report["left_out"]] == ["broken.wav", "short.wav", "none.wav"]
    assert report["depths"][0]["files"] == 1


def test_decoded_files_never_overwrite_each_other_or_leave_their_folder() -> None:
    files = [
        SpeechFile(Path("en/hello.wav"), "anna", "test"),
        SpeechFile(Path("es/hello.flac"), "anna", "test"),
        SpeechFile(Path("hello-2.wav"), "anna", "test"),
        SpeechFile(Path("hello.wav"), "../../anna", "test"),
    ]

    names = output_names(files)

    assert names[:3] == ["anna/hello.wav", "anna/hello-2.wav", "anna/hello-2-2.wav"]
    assert len(set(names)) == 4
    assert ".." not in Path(names[3]).parts
    assert len(Path(names[3]).parts) == 2


def test_a_model_that_ships_is_tested_on_the_speakers_it_recorded_wherever_its_corpus_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SHIPPED", tmp_path / "pretrained")
    run = Run("tiny", tmp_path / "pretrained" / "tiny", "finished", "", 0.0)
    corpus = tmp_path / "elsewhere" / "vctk"  # without splits of its own: all speakers would be tested on
    rows = [{"path": f"{split} speaker/1.wav", "speaker": split, "split": split} for split in ("train", "val", "test")]
    for row in rows:
        (corpus / row["path"]).parent.mkdir(parents=True)
        (corpus / row["path"]).touch()
    run.folder.mkdir(parents=True)
    run.write_record(CONFIG, {"data_dir": "vctk"})
    run.write_record(SPLITS, rows)
    named = {"data_dir": str(corpus)}
    assert [file.path for file in _test_files(run, tiny.config(**named), named)] == [corpus / "test speaker" / "1.wav"]
