"""Run folders that somebody edited are named and passed over; they stop no command that looks for runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from nsc.errors import UserError
from runs import heard
from runs.runs import Run, find_or_create_run, find_run

GOOD: dict[str, Any] = {"id": "20261122-204500-0badcafe", "status": "finished", "fingerprint": "a" * 64, "created": 1.0}

STATES: dict[str, Any] = {
    "text": "not json",
    "a list": [1, 2],
    "null": None,
    "a number": 7,
    "deep nesting": "[" * 100_000,
    "an id that is a number": GOOD | {"id": 5},
    "an id that leaves the folder": GOOD | {"id": "../../../x"},
    "an id with a folder in it": GOOD | {"id": "20261122-204500-0badcafe/x"},
    "the id of another folder": GOOD | {"id": "20270101-000000-0badcafe"},
    "a hidden id": GOOD | {"id": ".."},
    "an unknown status": GOOD | {"status": "done"},
    "a status that is a list": GOOD | {"status": []},
    "a date that is text": GOOD | {"created": "now"},
    "a date that is none": GOOD | {"created": float("nan")},
    "a missing entry": {"id": GOOD["id"]},
    "an entry too many": GOOD | {"ships": True},
}


@pytest.fixture
def check(tmp_path: Path) -> Path:
    """A folder with one good run."""
    run = find_or_create_run({"a": 1}, [], check_dir=tmp_path / "check", doc_dir=tmp_path / "doc")
    run.finish()
    return tmp_path / "check"


def put(check: Path, state: Any) -> Path:
    folder = check / GOOD["id"]
    folder.mkdir()
    (folder / "state.json").write_text(state if isinstance(state, str) else json.dumps(state))
    return folder


@pytest.mark.parametrize("state", STATES)
def test_a_run_whose_state_was_edited_is_named_and_passed_over(
    check: Path, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = put(check, STATES[state])
    with caplog.at_level("INFO", "neural_speech_coding"):
        found = find_run("", check)
    assert found.folder != folder
    assert "skipped: expected" in caplog.text and str(folder) in caplog.text
    assert find_or_create_run({"a": 1}, [], check_dir=check, doc_dir=check.parent / "doc").id == found.id


def test_a_state_that_is_a_folder_is_passed_over(check: Path) -> None:
    (check / "x" / "state.json").mkdir(parents=True)
    assert find_run("", check).status == "finished"


def test_a_good_run_is_no_damaged_one(check: Path) -> None:
    put(check, GOOD)
    assert find_run(GOOD["id"], check).id == GOOD["id"]


@pytest.mark.parametrize("record", ["[]", "3", '{"data_dir": 5}', "{}", "[[[", "[" * 100_000])
def test_a_configuration_of_the_wrong_kind_is_one_line(check: Path, record: str) -> None:
    run = find_run("", check)
    (run.folder / "config.json").write_text(record)
    with pytest.raises(UserError, match=r"config\.json"):
        heard.own_corpus(run)


@pytest.mark.parametrize("record", ["{}", "[1]", '[{"path": 1, "speaker": "a", "split": "b"}]', '[{"path": "a"}]'])
def test_splits_of_the_wrong_kind_are_one_line(check: Path, record: str) -> None:
    run: Run = find_run("", check)
    (run.folder / "splits.json").write_text(record)
    with pytest.raises(UserError, match=r"expected rows of path, speaker and split in .*splits\.json"):
        heard.recorded_files(run)
