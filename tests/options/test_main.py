import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import main
from evaluation import evaluate
from nsc.errors import UserError
from nsc.stops import WAITS
from runs import runs
from runs.runs import Run
from runs.saved_model import saved_weights
from runs.stages import stage_folders
from tests.helpers.clumsy import STOPS, after
from tests.helpers.readme import README_COMMAND
from tests.helpers.tiny import CORPUS, ROOT, Workplace, eager_and_short, wait_for
from training import modes


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture(scope="module")
def evaluated(trained: Workplace) -> str:
    """What mode 0 prints of the newest run, all test files of which are scored."""
    with redirect_stdout(StringIO()) as printed:
        assert trained.run(training_mode=0) == 0
    return printed.getvalue()


def refusal(status: int, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a user's mistake ends with."""
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("main.py: ")]
    assert status == 2
    assert len(lines) == 1
    assert "Traceback" not in printed.err
    return lines[0].removeprefix("main.py: ")


def stages(run: Run) -> list[str]:
    return list(stage_folders(run.folder))


def summary_of_finetuned(place: Workplace) -> dict[str, Any]:
    """What the last evaluation of the newest run wrote."""
    run = runs.find_run("", place.check)
    return json.loads((place.output / run.id / "finetune" / "summary.json").read_text())


def cut_manifest(folder: Path, *rows: str) -> Path:
    """A corpus of some recordings, where a manifest says so."""
    folder.mkdir(parents=True)
    (folder / "manifest.csv").write_text("path,speaker,split\n" + "".join(f"{row}\n" for row in rows))
    return folder


class TestMistakesOfTheUser:
    def test_an_unknown_flag(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "did you mean --seed?" in refusal(main.main(["--sed", "1"]), capsys)

    def test_a_missing_model_id(self, trained: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        assert "begins with '1993783'" in refusal(trained.run(training_mode=5, base_model_id="1993783"), capsys)

    def test_no_model_at_all(self, place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        assert "train one" in refusal(place.run(training_mode=0), capsys)

    def test_an_ambiguous_prefix(self, trained: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        prefix = trained.folders()[0].name[:4]
        assert f"'{prefix}' fits 2 runs" in refusal(trained.run(training_mode=0, base_model_id=prefix), capsys)

    def test_a_stage_that_a_run_has_not(self, trained: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        greedy = trained.folders()[0].name
        message = refusal(trained.run(training_mode=5, base_model_id=greedy, from_where_step=3), capsys)
        assert f"it has first, follower_2; --training_mode 5 --base_model_id {greedy} finetunes it" in message

    def test_a_finetuned_stage_where_nothing_is_finetuned(
        self, trained: Workplace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        place = Workplace(trained.root / "greedy_only")
        shutil.copytree(trained.folders()[0], place.check / trained.folders()[0].name)
        message = refusal(place.run(training_mode=5, from_where_step=3), capsys)
        assert (
            "expected a finetuned run (--from_where_step 3), which --training_mode 5 makes of a greedy one" in message
        )

    def test_a_step_that_a_mode_has_not(self, trained: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        assert "found 3" in refusal(trained.run(training_mode=0, from_where_step=3), capsys)

    def test_a_missing_data_folder(self, place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        assert "nowhere: expected a folder" in refusal(place.run(data_dir="nowhere"), capsys)

    def test_an_empty_data_folder(self, place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        assert "expected wav, flac or ogg" in refusal(place.run(data_dir=str(place.root)), capsys)

    def test_too_few_speakers_for_three_splits(self, place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        corpus = place.root / "two"
        for speaker in ("carlo", "june"):
            shutil.copytree(CORPUS / speaker, corpus / speaker)
        assert "at least 3 speakers" in refusal(place.run(data_dir=str(corpus)), capsys)

    def test_a_corpus_without_validation_speakers(self, place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        corpus = cut_manifest(place.root / "cut", f"{CORPUS}/june/fr-agent-pass.flac,june,train")
        assert "split val" in refusal(place.run(data_dir=str(corpus)), capsys)

    def test_mode_two_without_a_codec_to_add(self, trained: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        assert "argument --num_resnets: expected at least 2" in refusal(
            trained.run(training_mode=2, num_modules=1), capsys
        )

    def test_a_run_that_another_process_trains(
        self, place: Workplace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def taken(run: Run) -> None:
            raise UserError(f"run {run.id} is being trained by process 1")

        monkeypatch.setattr(Run, "lock", taken)
        assert "is being trained by process 1" in refusal(place.run(), capsys)


def test_no_flags_run_the_quick_start_and_say_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(modes, "train", lambda config, named: asked.append(config.block))

    assert main.main([]) == 0
    assert asked == ["spectral"]
    assert "no flags: running quickstart.toml on data/sample_speech" in capsys.readouterr().err


def test_tensorfloat_32_and_xla_are_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[bool, str]] = []

    def look(*_: Any) -> None:
        found.append((tf.config.experimental.tensor_float_32_execution_enabled(), tf.config.optimizer.get_jit()))

    monkeypatch.setattr(modes, "train", look)
    for flags in ([], ["--tf32", "1", "--xla", "1"], []):
        assert main.main(flags) == 0
    assert found == [(False, ""), (True, "autoclustering"), (False, "")]


def test_mode_four_trains_the_first_codec_and_the_followers(trained: Workplace) -> None:
    greedy = runs.find_run(trained.folders()[0].name, trained.check)

    assert greedy.status == "finished"
    assert stages(greedy) == ["first", "follower_2"]
    assert [event["stage"] for event in trained.events(greedy, "exported")] == ["first", "follower_2"]


def test_a_saved_model_holds_the_averages_of_its_weights(trained: Workplace) -> None:
    run = trained.folders()[0]
    checkpoint = tf.train.load_checkpoint(str(run / "checkpoints" / "first"))

    def kept(part: str) -> list[np.ndarray]:
        names = [name for name in checkpoint.get_variable_to_shape_map() if name.startswith(f"{part}/")]
        return [checkpoint.get_tensor(name) for name in names]

    saved = list(saved_weights(stage_folders(run)["first"]).values())
    averages, last = kept("average/averages"), kept("cascade")
    assert averages
    for average in averages:
        assert any(np.array_equal(average, each) for each in saved)
    moved = [each for each in averages if not any(np.array_equal(each, weights) for weights in last)]
    assert len(moved) > 0.9 * len(averages)


def test_lsf_levels_are_in_the_saved_model_and_nothing_is_dumped_beside_it(trained: Workplace) -> None:
    dumped = [path for path in trained.root.rglob("*.npy") if trained.root / "packed" not in path.parents]
    assert dumped == []
    greedy, finetuned = trained.folders()
    levels = [
        saved_weights(stage_folders(run)[stage])["lpc/000"]
        for run, stage in ((greedy, "first"), (greedy, "follower_2"), (finetuned, "finetune"))
    ]
    assert {each.shape for each in levels} == {(256,)}
    np.testing.assert_array_equal(levels[0], levels[1])
    assert not np.array_equal(levels[1], levels[2])


def test_mode_five_finetunes_the_newest_greedy_run_and_scores_every_depth_before_and_after(trained: Workplace) -> None:
    greedy, finetuned = (runs.find_run(folder.name, trained.check) for folder in trained.folders())

    assert stages(finetuned) == ["finetune"]
    resolved = finetuned.read_record("config.json")
    assert (resolved["base_model_id"], resolved["from_where_step"]) == (greedy.id, 2)
    before, after = trained.events(finetuned, "validated")
    assert (before["epoch"], after["epoch"]) == (0, 1)
    assert {"pesq_wb_depth_1", "pesq_wb"} <= set(before) & set(after)


def test_the_same_commands_again_find_everything_finished(
    trained: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = trained.folders()

    assert trained.run(training_mode=4) == 0
    assert trained.run(training_mode=5) == 0
    assert trained.folders() == folders
    assert capsys.readouterr().err.count("is finished; --new trains it again") == 2


def test_mode_zero_evaluates_the_newest_run_and_prints_a_table(trained: Workplace, evaluated: str) -> None:
    assert re.search(r"depth +kbps +paper-style +PESQ-WB +STOI +SNR dB +SI-SDR dB +kbps by part", evaluated)
    assert "rate check, depth 2: training's estimate" in evaluated
    finetuned = runs.find_run(trained.folders()[1].name, trained.check)
    assert str(trained.output / finetuned.id / "finetune") in evaluated


def test_from_where_step_one_evaluates_the_newest_greedy_run(
    trained: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained.run(training_mode=0, from_where_step=1, max_files=1) == 0
    assert f"{trained.folders()[0].name}, stage follower_2" in capsys.readouterr().err


def test_an_evaluation_of_some_files_leaves_that_of_all_alone(trained: Workplace, evaluated: str) -> None:
    finetuned = trained.output / runs.find_run(trained.folders()[1].name, trained.check).id
    whole = (finetuned / "finetune" / "summary.json").read_text()
    assert trained.run(training_mode=0, max_files=1) == 0
    assert (finetuned / "finetune" / "summary.json").read_text() == whole
    assert (finetuned / "finetune-1-files" / "summary.json").is_file()


@pytest.mark.parametrize(
    ("signalled", "moment", "error"),
    [*zip(STOPS, ("save_speech", "score_files", "load_speech"), (None, None, SystemError), strict=True)],
)
def test_a_signal_while_evaluating_is_one_line_and_leaves_the_last_scores(
    signalled: tuple[str, int],
    moment: str,
    error: type[Exception] | None,
    trained: Workplace,
    evaluated: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = trained.output / runs.find_run(trained.folders()[1].name, trained.check).id / "finetune" / "scores.csv"
    before, (name, status) = scores.read_bytes(), signalled
    monkeypatch.setattr(evaluate, moment, after(1, getattr(evaluate, moment), name, error))
    capsys.readouterr()
    assert trained.run(training_mode=0) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("main.py: ")]
    assert lines == ["main.py: stopped; the same command continues a training from its last checkpoint"]
    assert scores.read_bytes() == before
    assert not list(trained.output.rglob("*.part"))


@pytest.mark.parametrize("named", [True, False], ids=["a run that is named", "the newest run"])
def test_from_where_step_two_evaluates_what_there_is_where_nothing_is_finetuned(
    named: bool, trained: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, greedy = Workplace(tmp_path), trained.folders()[0]
    shutil.copytree(greedy, place.check / greedy.name)

    asked = {"base_model_id": greedy.name} if named else {}
    assert place.run(training_mode=0, from_where_step=2, max_files=1, **asked) == 0

    printed = capsys.readouterr()
    assert f"run {greedy.name} is not finetuned" in printed.err
    assert "its stage follower_2 is evaluated" in printed.err
    assert re.search(r"depth +kbps", printed.out)


def test_from_where_step_two_evaluates_a_finetuned_run_without_a_word_where_there_is_one(
    trained: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained.run(training_mode=0, from_where_step=2, max_files=1) == 0
    told = capsys.readouterr().err
    assert f"{trained.folders()[1].name}, stage finetune" in told
    assert "is not finetuned" not in told


class TestModesOfApril2020:
    def test_mode_three_trains_a_single_codec(self, place: Workplace) -> None:
        assert place.run(training_mode=3, original_modes=True, time_domain=True, steps_per_epoch=1) == 0
        assert stages(runs.find_run("", place.check)) == ["first"]

    def test_mode_five_finetunes_scalar_codecs_without_lpc(self, place: Workplace) -> None:
        options = {"original_modes": True, "time_domain": True, "steps_per_epoch": 1, "num_modules": 1}
        assert place.run(training_mode=3, **options) == 0
        assert place.run(training_mode=5, **options) == 0
        assert stages(runs.find_run("", place.check)) == ["finetune"]

    def test_mode_five_refuses_a_cascade_with_lpc(self, trained: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
        message = refusal(trained.run(training_mode=5, original_modes=True), capsys)
        assert f"run {trained.folders()[0].name} has LPC and scalar codes; --original_modes 0 finetunes it" in message


def test_mode_two_adds_codecs_of_its_own_kind_to_a_saved_first_codec(
    trained: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Workplace(trained.root / "mode_two")
    for folder in trained.folders():  # the newest has no first codec to build on
        shutil.copytree(folder, place.check / folder.name)

    status = place.run(training_mode=2, strides=(4, 4), bins=(8, 16), fold=16)

    assert status == 0
    assert "--fold 16 is overridden by the saved model's 32" in capsys.readouterr().err
    run = runs.find_run("", place.check)
    assert stages(run) == ["follower_2"]
    assert run.read_record("config.json")["base_model_id"] == trained.folders()[0].name
    network = json.loads((stage_folders(run.folder)["follower_2"] / "model.json").read_text())["config"]
    assert network["the_strides"] == [2, 4]
    assert network["num_bins_for_follower"] == [32, 16]
    assert network["fold"] == 32


def test_a_flag_that_gives_way_is_named_as_it_was_typed(trained: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained.run(training_mode=5, bins=(8,), strides=(4,)) == 0
    told = capsys.readouterr().err
    assert "--num_bins_for_follower '8' is overridden by the saved model's '32 32'" in told
    assert "--the_strides '4' is overridden by the saved model's '2 2'" in told


def test_the_command_of_the_first_readme_runs_and_its_evaluation_finds_the_model(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Networks, losses, suffix and all are the README's; only its 300 epochs of TIMIT are cut to three steps."""
    short = "--window_size 512 --batch_size 2 --steps_per_epoch 1 --epoch_tanh 1 --epoch_greedy_followers '1 1'"
    places = (
        f"--check_dir {place.check} --doc_dir {place.doc} --output_dir {place.output} --cache_dir {place.root}/packed"
    )
    quick = f"--data_dir {CORPUS} --context_minutes 0 --validation_files 1 --tensorboard 0 --max_files 1"
    common = shlex.split(f"{places} {quick}")

    with eager_and_short():
        assert main.main([*shlex.split(README_COMMAND), *shlex.split(short), *common]) == 0
        assert main.main(["--training_mode", "0", *common]) == 0

    (folder,) = place.folders()
    assert folder.name.endswith("_greedy_all_follower_all")
    printed = capsys.readouterr()
    assert printed.err.count("without effect here: --window_size") == 1
    assert re.search(r"depth +kbps +paper-style +PESQ-WB", printed.out)
    assert list((place.output / folder.name.split("_")[0] / "follower_2-1-files" / "depth_2").rglob("*.nsc"))


@pytest.mark.parametrize(("mode", "expected"), [(1, ["first"]), (3, ["first", "follower_2"])])
def test_modes_one_and_three_ignore_the_base_model(place: Workplace, mode: int, expected: list[str]) -> None:
    options = {"training_mode": mode, "time_domain": True, "steps_per_epoch": 1}

    assert place.run(base_model_id="1993783", from_where_step=2, **options) == 0
    run = runs.find_run("", place.check)
    assert stages(run) == expected
    resolved = run.read_record("config.json")
    assert (resolved["base_model_id"], resolved["from_where_step"]) == ("", 0)
    # without these flags it is the same run
    assert place.run(**options) == 0
    assert len(place.folders()) == 1


def test_a_run_that_was_finished_while_this_process_waited_is_not_trained_again(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = Run.lock

    def lock_late(run: Run) -> None:
        Run(run.id, run.folder, "unfinished", run.fingerprint, run.created).finish()
        lock(run)

    monkeypatch.setattr(Run, "lock", lock_late)

    assert place.run() == 0
    assert "is finished; --new trains it again" in capsys.readouterr().err
    assert not stages(runs.find_run("", place.check))


class TestSpeechToEvaluateOn:
    def test_a_foreign_folder_without_splits_is_used_whole(self, trained: Workplace, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        for clip in sorted((CORPUS / "june").glob("*.flac"))[:2]:
            shutil.copy(clip, tmp_path / "mine")  # one speaker, files in no folder

        assert trained.run(training_mode=0, data_dir=str(tmp_path / "mine")) == 0
        assert summary_of_finetuned(trained)["depths"][0]["files"] == 2

    def test_the_test_part_of_a_foreign_corpus_is_used(self, trained: Workplace, tmp_path: Path) -> None:
        shutil.copytree(CORPUS, tmp_path / "copy")

        assert trained.run(training_mode=0, data_dir=str(tmp_path / "copy")) == 0
        assert summary_of_finetuned(trained)["depths"][0]["files"] == 2

    def test_a_manifest_without_test_rows_says_what_to_do(
        self, trained: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        corpus = cut_manifest(tmp_path / "cut", f"{CORPUS}/ivrvoice/ru-vm-login.flac,ivrvoice,train")
        message = refusal(trained.run(training_mode=0, data_dir=str(corpus)), capsys)
        assert "set split to test" in message

    def test_a_file_of_training_is_refused(
        self, trained: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        corpus = cut_manifest(
            tmp_path / "cut",
            f"{CORPUS}/ivrvoice/ru-vm-login.flac,ivrvoice,test",
            f"{CORPUS}/carlo/../june/fr-agent-pass.flac,somebody,test",
        )
        message = refusal(trained.run(training_mode=0, data_dir=str(corpus)), capsys)
        assert "was trained on 1 of the 2 test files" in message

    def test_the_folder_of_a_training_speaker_is_refused(
        self, trained: Workplace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        message = refusal(trained.run(training_mode=0, data_dir=str(CORPUS / "allison")), capsys)
        assert "was trained on 5 of the 5" in message

    def test_a_new_recording_of_a_training_speaker_is_refused(
        self, place: Workplace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        corpus = place.root / "corpus"
        shutil.copytree(CORPUS, corpus / "part")
        assert place.run(data_dir=str(corpus / "part"), training_mode=1, time_domain=True) == 0
        (corpus / "later").mkdir()
        shutil.copy(CORPUS / "june" / "fr-agent-pass.flac", corpus / "later" / "new.flac")
        rows = ["later/new.flac,june,test"]
        (corpus / "manifest.csv").write_text("path,speaker,split\n" + "\n".join(rows) + "\n")

        message = refusal(place.run(data_dir=str(corpus), training_mode=0), capsys)
        assert "such as june" in message

    def test_what_the_base_was_trained_on_is_refused_after_finetuning_on_other_speech(
        self, place: Workplace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, excluded in (("old", "june"), ("new", "allison")):
            shutil.copytree(CORPUS, place.root / name)
            rows = (CORPUS / "manifest.csv").read_text().splitlines()
            kept = [row for row in rows if f",{excluded}," not in row]
            (place.root / name / "manifest.csv").write_text("\n".join(kept) + "\n")
        fast = {"time_domain": True, "num_modules": 1, "steps_per_epoch": 1}
        assert place.run(data_dir=str(place.root / "old"), training_mode=1, **fast) == 0
        assert place.run(data_dir=str(place.root / "new"), training_mode=5, **fast) == 0

        message = refusal(place.run(data_dir=str(place.root / "old" / "allison"), training_mode=0), capsys)
        assert "was trained on 5 of the 5" in message

    def test_a_corpus_without_test_speakers_asks_for_other_speech(
        self, place: Workplace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        corpus = cut_manifest(
            place.root / "cut",
            f"{CORPUS}/june/fr-agent-pass.flac,june,train",
            f"{CORPUS}/carlo/it-dir-last.flac,carlo,val",
        )
        assert place.run(data_dir=str(corpus), training_mode=1, time_domain=True, steps_per_epoch=1) == 0

        message = refusal(place.run(data_dir=str(corpus), training_mode=0), capsys)
        assert "give --data_dir a folder of other speech" in message


class TestProcesses:
    """What only a process of its own shows."""

    def test_ctrl_c_ends_with_one_line_and_status_130_and_keeps_the_checkpoint(self, place: Workplace) -> None:
        process = place.start(training_mode=1, time_domain=True, steps_per_epoch=100_000, checkpoint_minutes=0)
        try:
            wait_for(lambda: any(place.check.glob("*/checkpoints/first/ckpt-20.index")), process)
            process.send_signal(signal.SIGINT)
            printed, complaints = process.communicate(timeout=60)
        finally:
            process.kill()

        assert process.returncode == 130
        # nothing else: no notes of TensorFlow, no traceback
        idle, begun, *waits, stopped = complaints.splitlines()
        assert waits in ([], [WAITS.decode().strip()]), complaints
        assert idle.startswith("without effect here: ")
        assert begun.startswith("run ")
        assert stopped == "main.py: stopped; the same command continues a training from its last checkpoint"
        assert printed == ""
        run = runs.find_run(place.folders()[0].name, place.check)
        assert run.status == "unfinished"
        assert place.events(run, "stopped")[0]["reason"] == "interrupted"
        assert any((run.folder / "checkpoints" / "first").glob("ckpt-*.index"))

    def test_a_mistake_in_a_flag_shows_before_tensorflow_is_imported(self, place: Workplace) -> None:
        process = subprocess.run(
            [sys.executable, "-X", "importtime", str(ROOT / "main.py"), "--sed", "1"], capture_output=True, text=True
        )

        assert process.returncode == 2
        assert "main.py: unknown flag --sed; did you mean --seed?" in process.stderr
        assert "| tensorflow" not in process.stderr
