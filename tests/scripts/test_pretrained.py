"""Models that ship: what is in the repository works, and how it gets there and is judged."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import nsc
from corpus.speech_file import SpeechFile
from measures.measures import columns_of, pesq_wb, si_sdr, stoi
from nsc.entropy.coefficient_model import LARGEST_INDEX
from nsc.errors import UserError
from nsc.format.channel import lose_groups
from nsc.kinds.spectral.analysis import MOST_OVERFLOWS
from nsc.kinds.spectral.model import file_groups
from nsc.loading.find import DEFAULT_MODEL
from nsc.loading.folder import read_description
from runs import runs
from runs.heard import SPLITS, heard_among
from runs.runs import SHIPPED, Run, find_run
from runs.saved_model import SavedModel, load_model
from runs.stages import find_model, stage_folders
from scripts import model_card, release_model, score_pretrained
from tests.helpers.places import CORPUS, GOLDEN, ROOT
from tests.helpers.tiny import Workplace

IDS = sorted(path.parent.name for path in SHIPPED.glob("*/state.json"))
MOST_PARAMETERS = {"cq": 700_000, "cq-9k": 600_000}
NOMINAL_KBPS = {"cq": 12, "cq-9k": 9, "cq-scalable": 24}
ONE_RATE = "cq-9k"


@pytest.fixture(scope="module")
def models() -> dict[str, SavedModel]:
    return {name: load_model(find_model(name, Path("check"))) for name in IDS}


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_a_model_for_every_rate_a_scalable_one_and_an_older_one_of_one_rate_ship() -> None:
    assert set(NOMINAL_KBPS) == set(IDS)
    assert find_model("", Path("check")) == find_model(DEFAULT_MODEL, Path("check"))
    scores = {name: json.loads((SHIPPED / name / "scores.json").read_text())["scores"] for name in IDS}
    default, older = (scores[name]["test speakers"]["pesq_wb"] for name in (DEFAULT_MODEL, ONE_RATE))
    assert default > older


@pytest.mark.parametrize("path", sorted((GOLDEN / "nsc" / "only_decoding").glob("*.nsc")), ids=lambda path: path.stem)
def test_files_of_models_that_ship_no_more_still_decode(path: Path) -> None:
    speech, _ = soundfile.read(CORPUS / "allison" / "en-tt-weasels.flac", dtype="float32", frames=32_000)
    decoded, damage = nsc.decode(path.read_bytes())
    assert si_sdr(speech, decoded) > 11 and not damage.lost
    with pytest.raises(UserError, match=f"model {path.stem} only decodes"):
        nsc.encode(speech, path.stem)


def test_they_are_small() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) < 24e6
    for name in IDS:
        assert read_description(SHIPPED / name).parameters[-1] < MOST_PARAMETERS.get(name, 1_000_000)


@pytest.mark.parametrize("name", IDS)
def test_their_cards_are_of_these_models_and_name_no_place_of_another_machine(
    name: str, models: dict[str, SavedModel]
) -> None:
    assert models[name].digest in (SHIPPED / name / "README.md").read_text()
    assert json.loads((SHIPPED / name / "scores.json").read_text())["model"] == models[name].digest
    for file in SHIPPED.joinpath(name).rglob("*.[jm][sd]*"):
        assert not re.search(r'["\s](/|~)\w+/', file.read_text()), file


@pytest.mark.parametrize("name", IDS)
def test_a_model_that_ships_codes_unheard_speech_well_near_its_rate(
    name: str, models: dict[str, SavedModel], speech_signals: list[NDArray[np.float32]]
) -> None:
    signal = speech_signals[2]
    data = nsc.encode(signal, models[name].coding)
    decoded = nsc.decode(data, models[name].coding).signal
    kbps = 8 * len(data) / 1000 / (len(signal) / 16_000)
    assert kbps == pytest.approx(NOMINAL_KBPS[name], rel=0.35)  # one clip of studio speech
    assert pesq_wb(signal, decoded) > 2.3
    assert stoi(signal, decoded) > 0.9


def test_more_bits_sound_better_of_one_model(
    models: dict[str, SavedModel], speech_signals: list[NDArray[np.float32]]
) -> None:
    model, signal = models[DEFAULT_MODEL].coding, speech_signals[2]
    streams = [nsc.encode(signal, model, kbps=kbps) for kbps in (8, 11, 14, 17)]
    rates = [8 * len(data) / 1000 / (len(signal) / 16_000) for data in streams]
    assert rates == pytest.approx([8, 11, 14, 17], rel=0.03)
    scores = [pesq_wb(signal, nsc.decode(data, model).signal) for data in streams]
    assert scores == sorted(scores)


def test_the_finest_steps_cut_off_next_to_nothing(
    models: dict[str, SavedModel], speech_signals: list[NDArray[np.float32]]
) -> None:
    model, signal = models[DEFAULT_MODEL].coding, speech_signals[2]
    streams = [nsc.encode(signal, model, quality=quality) for quality in (6, 8, 10)]
    errors = [si_sdr(signal, nsc.decode(data, model).signal) for data in streams]
    assert errors == sorted(errors)
    for found in file_groups(streams[-1], model.coder):
        assert np.mean(np.abs(found.symbols.indices[0]) == LARGEST_INDEX) <= MOST_OVERFLOWS


def test_a_lost_group_is_concealed(models: dict[str, SavedModel], speech_signals: list[NDArray[np.float32]]) -> None:
    signal = speech_signals[0]
    for model in (models["cq"].coding, models["cq-9k"].coding):
        data = lose_groups(nsc.encode(signal, model), 0.3, 1.0, 3)
        decoded, damage = nsc.decode(data, model)
        assert damage.lost and len(decoded) == len(signal) and np.isfinite(decoded).all()


def test_a_damaged_model_is_refused_by_its_hash(tmp_path: Path) -> None:
    stage = list(stage_folders(SHIPPED / ONE_RATE).values())[-1]
    shutil.copytree(stage, tmp_path / "stage")
    description = tmp_path / "stage" / "model.json"
    description.write_text(description.read_text().replace('"lsf_spacing": 0.02', '"lsf_spacing": 0.03'))
    with pytest.raises(UserError, match="hash"):
        load_model(tmp_path / "stage")


def test_mode_0_evaluates_a_model_that_ships(
    place: Workplace, speech_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = place.run(
        "--training_mode", "0", "--base_model_id", ONE_RATE, "--data_dir", str(speech_folder), "--max_files", "1"
    )
    assert status == 0
    assert "PESQ-WB" in capsys.readouterr().out


def test_its_training_speech_is_refused_wherever_the_corpus_lies(tmp_path: Path) -> None:
    run = find_run(ONE_RATE, SHIPPED)
    rows = run.read_record(SPLITS)
    heard, unheard = (next(row for row in rows if row["split"] == split) for split in ("train", "test"))
    for row in (heard, unheard):
        path = tmp_path / row["path"]
        path.parent.mkdir(parents=True)
        path.touch()
    files = [SpeechFile(tmp_path / row["path"], row["speaker"], "test") for row in (heard, unheard)]
    assert heard_among(files, run, tmp_path) == files[:1]
    elsewhere = SpeechFile(tmp_path / "elsewhere.flac", heard["speaker"], "test")
    assert heard_among([elsewhere], run, tmp_path / "other") == []


def strings_of(value: Any) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict | list):
        return [text for each in (value.values() if isinstance(value, dict) else value) for text in strings_of(each)]
    return [value] if isinstance(value, str) else []


def places_in(file: Path, root: Path) -> list[str]:
    """What a released file says of places outside of the project: of its folders, or of a path to anywhere."""
    named = [str(place) for place in (root, ROOT) if str(place).encode() in file.read_bytes()]
    if file.suffix not in (".json", ".jsonl"):
        return named
    texts = [text for line in json_of(file) for text in strings_of(line)]
    return named + [text for text in texts if Path(text).is_absolute() or ".." in Path(text).parts]


def json_of(file: Path) -> list[Any]:
    text = file.read_text()
    return [json.loads(each) for each in (text.splitlines() if file.suffix == ".jsonl" else [text])]


@pytest.mark.parametrize(
    ("data_dir", "said"), [("data/speech", "data/speech"), ("../shared/speech", "speech"), ("/corpora/vctk/", "vctk")]
)
def test_a_release_says_where_speech_lay_within_the_project_alone(
    data_dir: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_model, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert release_model.place_of(Path(data_dir)) == said


def test_a_recording_is_named_within_the_corpus_that_lists_it(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other / "deep"):
        folder.mkdir(parents=True)
    (other / "manifest.csv").touch()
    assert release_model.path_in_corpus(own / "made" / "a.flac", own) == "made/a.flac"
    assert release_model.path_in_corpus(other / "deep" / "b.flac", own) == "deep/b.flac"
    with pytest.raises(UserError, match="expected a recording in"):
        release_model.path_in_corpus(tmp_path / "c.flac", own)


def test_a_released_run_codes_alike_and_leaves_places_behind(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, speech_signals: list[NDArray[np.float32]]
) -> None:
    run = place.train(training_mode=1, num_modules=1, context_minutes=0.1)
    shipped = place.root / "pretrained"
    for module in (runs, release_model):
        monkeypatch.setattr(module, "SHIPPED", shipped)
    monkeypatch.setattr(release_model, "ROOT", place.root)
    folder = release_model.release(run, "tiny", place.check, place.doc)
    before, after = (load_model(stage_folders(each)["first"]) for each in (run.folder, folder))
    assert before.digest != after.digest
    signal = speech_signals[0]
    assert len(nsc.encode(signal, after.coding)) == pytest.approx(len(nsc.encode(signal, before.coding)), rel=0.02)
    assert [file for file in folder.rglob("*") if file.is_file() and places_in(file, place.root)] == []
    found = Run(**json.loads((folder / "state.json").read_text()), folder=folder)
    assert found.ships and find_run("tiny", place.check).id == "tiny"
    with pytest.raises(UserError, match="expected a new name"):
        release_model.release(run, "tiny", place.check, place.doc)
    (shipped / "tiny" / "history.json").write_text(json.dumps([{"data_dir": "first"}, {"data_dir": "second"}]))
    released = find_run("tiny", place.check)
    assert release_model.runs_before(released, place.check) == [released]
    assert [config["data_dir"] for config in release_model.configs_of(released, "third")] == ["first", "second"]
    assert release_model.journal_of(released, place.doc) == folder / "journal.jsonl"


@pytest.mark.parametrize("name", model_card.shipped())
def test_a_card_is_what_its_records_say(name: str) -> None:
    run = find_run(name, runs.SHIPPED)
    assert (run.folder / "README.md").read_text() == model_card.card(run), "run python -m scripts.model_card"


@pytest.mark.parametrize("name", model_card.shipped())
def test_a_card_has_the_jury_s_scores_of_sounds_that_the_model_was_not_trained_on(name: str) -> None:
    recorded = json.loads((SHIPPED / name / model_card.SCORES).read_text())
    for kind in ("speech", "singing", "music", "noise"):
        scores = recorded["scores"].get(f"{score_pretrained.OTHER}sounds, {kind}", {})
        assert set(columns_of(score_pretrained.JUDGES)) <= set(scores), f"{kind}: run scripts.score_pretrained --other"


def test_other_folders_are_scored_by_what_their_manifests_say(tmp_path: Path) -> None:
    rows = ["path,speaker,split,kind,language"]
    for number, (kind, language) in enumerate([("speech", "de"), ("speech", "de"), ("speech", "fr"), ("music", "")]):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.zeros(1600), 16_000)
        rows.append(f"{path.name},s{number},test,{kind},{language}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    found = score_pretrained.other_conditions("sounds", tmp_path, ["kind", "language"], few=1)
    assert {name: len(files) for name, files in found.items()} == {
        "other: sounds, music": 1,
        "other: sounds, speech, de": 1,
        "other: sounds, speech, fr": 1,
    }
    [together] = score_pretrained.other_conditions("sounds", tmp_path, [], few=0).values()
    assert len(together) == 4


def test_a_released_journal_keeps_the_mean_loss_before_each_validation() -> None:
    steps: list[dict[str, Any]] = [{"event": "step", "loss": 4.0}, {"event": "step", "loss": 2.0}]
    *_, validated = release_model.with_losses([*steps, {"event": "validated"}])
    assert validated == {"event": "validated", "loss": 3.0}


def test_a_learning_curve_has_a_few_rows_of_each_stage_with_every_depth() -> None:
    scores = {"kbps": 16.0, "pesq_wb": 4.0, "stoi": 0.98, "si_sdr": 15.0, "loss": 2.0}
    shallow = {f"{name}_depth_1": value / 2 for name, value in scores.items()}
    first = [{"event": "validated", "stage": "first", "epoch": epoch, **scores} for epoch in range(1, 21)]
    follower = {"event": "validated", "stage": "follower_2", "epoch": 3, **shallow, **scores}
    lines = model_card.curve_table([{"event": "run"}, *first, {"event": "run"}, follower], [100, 50]).splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[2] for row in rows[:-1]] == ["100", "500", "900", "1200", "1600", "2000"]
    assert rows[-1][:5] == ["2", "follower 2", "150", "8.00 / 16.00", "2.00 / 4.00"]


def test_files_that_two_runs_were_trained_on_are_listed_once() -> None:
    rows = [{"path": path, "split": split} for path, split in (("a", "train"), ("b", "test"), ("a", "base"))]
    unlisted = {"path": "b", "split": "base"}  # the earlier run alone heard it
    assert release_model.without_repeats([*rows, unlisted]) == [*rows[:2], unlisted]


def test_scores_that_are_not_those_of_the_card_are_named() -> None:
    recorded = {"test speakers": {"kbps": 9.0, "pesq_wb": 3.0, "stoi": 0.95, "si_sdr": 9.0}}
    found = {"test speakers": recorded["test speakers"] | {"pesq_wb": 2.9}}
    assert score_pretrained.differences(recorded, recorded) == []
    assert score_pretrained.differences(found, recorded) == ["test speakers: pesq_wb was 3.000, is 2.900"]


def test_conditions_are_what_they_say(speech_signals: list[NDArray[np.float32]]) -> None:
    signal, talkers = speech_signals[0], speech_signals[1:8]
    narrow = score_pretrained.narrow_band(signal, 0)
    assert len(narrow) == len(signal)
    power = np.abs(np.fft.rfft(narrow)) ** 2
    high = round(4200 / 8000 * len(power))
    assert power[high:].sum() < 1e-4 * power.sum()
    noisy = score_pretrained.babble(talkers)(signal, 0)
    assert 20 * np.log10(signal.std() / (noisy - signal).std()) == pytest.approx(10, abs=0.3)
    assert score_pretrained.scaled(-20)(signal, 0).std() == pytest.approx(signal.std() / 10, rel=1e-4)
