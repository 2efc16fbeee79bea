import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsc.errors import UserError
from runs import runs
from runs.runs import Journal, Run, changed_environment, environment, find_or_create_run, find_run
from tests.helpers.places import ROOT

CONFIG = {"seed": 0, "the_strides": (2, 2), "learning_rate": 2e-4, "data_dir": Path("speech")}
FILES = ["anna/1.flac", "bert/2.flac"]


class Clock:
    """Stands in for the clock, so that a test decides what is newest and what is the same second."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 20, 45).astimezone()

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(runs, "_now", clock)
    return clock


class Folders:
    """The two folders of one test and a short way to a run in them."""

    def __init__(self, root: Path) -> None:
        self.check, self.doc = root / "check", root / "doc"

    def run(self, config: dict[str, Any] = CONFIG, files: list[str] = FILES, **options: Any) -> Run:
        return find_or_create_run(config, files, check_dir=self.check, doc_dir=self.doc, **options)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert message and "\n" not in message
    return message


# Identity


def test_an_id_is_the_local_time_and_a_hash(folders: Folders, clock: Clock) -> None:
    run = folders.run()
    assert run.id == f"20261122-204500-{run.fingerprint[:8]}"
    assert len(run.fingerprint) == 64
    assert run.folder == folders.check / run.id and run.folder.is_dir()
    assert run.status == "unfinished"


def test_the_fingerprint_is_the_sha256_of_canonical_json(folders: Folders) -> None:
    canonical = '{"config":{"a":[1,2.5],"z":"é"},"files":["f"]}'
    assert folders.run({"z": "é", "a": (1, 2.5)}, ["f"]).fingerprint == hashlib.sha256(canonical.encode()).hexdigest()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(deadline=None, max_examples=10, print_blob=True)  # a loaded machine is no fault
@given(config=st.dictionaries(st.text(), VALUES, min_size=1))
def test_the_fingerprint_ignores_the_order_of_keys_and_sees_every_value(config: dict[str, Any]) -> None:
    backwards = dict(reversed(config.items()))
    assert runs._fingerprint(config, FILES) == runs._fingerprint(backwards, FILES)
    for key in config:
        assert runs._fingerprint(config | {key: "a value \0 apart"}, FILES) != runs._fingerprint(config, FILES)


def test_another_file_list_is_another_run(folders: Folders) -> None:
    assert folders.run(files=FILES).id != folders.run(files=[*FILES, "carl/3.flac"]).id


def test_the_suffix_is_in_the_folder_name_and_cannot_leave_the_folder(folders: Folders) -> None:
    run = folders.run(suffix="_greedy_all_../../follower all")
    assert run.folder.name == f"{run.id}_greedy_all_..-..-follower-all"
    assert run.folder.resolve().parent == folders.check.resolve()


def test_runs_of_one_second_get_different_ids(folders: Folders, clock: Clock) -> None:
    ids = [folders.run(fresh=True, suffix=suffix).id for suffix in ("", "", "_b", "", "_b")]
    assert ids == [ids[0], *(f"{ids[0]}-{count}" for count in (2, 3, 4, 5))]
    assert find_run(ids[0], folders.check).id == ids[0]


def test_a_run_never_takes_the_name_of_a_journal_whose_folder_was_removed(folders: Folders, clock: Clock) -> None:
    first = folders.run()
    Journal(first, folders.doc).write("step", loss=1.0)
    for path in first.folder.iterdir():
        path.unlink()
    first.folder.rmdir()
    assert folders.run().id == f"{first.id}-2"


def test_processes_that_ask_for_one_run_at_once_get_one(folders: Folders) -> None:
    program = (
        "import sys; from runs.runs import find_or_create_run as find; "
        "print('ready', flush=True); sys.stdin.readline(); "
        "print(find({'a': 1}, [], check_dir=sys.argv[1], doc_dir=sys.argv[2]).id)"
    )
    command = [sys.executable, "-c", program, str(folders.check), str(folders.doc)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert len({process.communicate(timeout=60)[0] for process in processes}) == 1


# Continuing


def test_the_same_command_continues_its_unfinished_run(folders: Folders, clock: Clock) -> None:
    first = folders.run()
    clock.advance(3600)
    assert folders.run(dict(reversed(CONFIG.items()))) == first


def test_another_value_starts_another_run(folders: Folders) -> None:
    assert folders.run().id != folders.run(CONFIG | {"seed": 1}).id


def test_another_suffix_starts_another_run(folders: Folders) -> None:
    assert folders.run().id != folders.run(suffix="_other").id


def test_the_newest_unfinished_run_is_continued(folders: Folders, clock: Clock) -> None:
    folders.run()
    clock.advance(1)
    newest = folders.run(fresh=True)
    assert folders.run() == newest


def test_an_unfinished_run_goes_before_a_newer_finished_one(folders: Folders, clock: Clock) -> None:
    unfinished = folders.run()
    clock.advance(1)
    folders.run(fresh=True).finish()
    assert folders.run() == unfinished


def test_a_finished_run_is_returned_as_finished(folders: Folders) -> None:
    run = folders.run()
    run.finish()
    again = folders.run()
    assert again == run and again.status == "finished"


def test_fresh_always_creates_a_run(folders: Folders) -> None:
    assert folders.run().id != folders.run(fresh=True).id


# Finding


def test_a_unique_prefix_finds_its_run(folders: Folders, clock: Clock) -> None:
    first = folders.run(suffix="_greedy")
    clock.advance(86_400)
    folders.run(fresh=True)
    for prefix in ("20261122", first.id, first.folder.name[:-2], first.folder.name):
        assert find_run(prefix, folders.check) == first


def test_an_ambiguous_prefix_names_the_runs_it_fits(folders: Folders, clock: Clock) -> None:
    first = folders.run()
    clock.advance(1)
    second = folders.run(fresh=True)
    clock.advance(86_400)
    other = folders.run(fresh=True)
    with pytest.raises(UserError) as error:
        find_run("20261122", folders.check)
    message = one_line(error)
    assert first.id in message and second.id in message and other.id not in message


def test_an_unknown_id_names_the_nearest_runs(folders: Folders, clock: Clock) -> None:
    made = []
    for _ in range(8):
        made.append(folders.run(fresh=True))
        clock.advance(86_400)
    mistyped = made[0].id[:-1] + ("0" if made[0].id[-1] != "0" else "1")
    with pytest.raises(UserError, match=mistyped) as error:
        find_run(mistyped, folders.check)
    message = one_line(error)
    assert made[0].id in message
    assert sum(run.id in message for run in made) == 5


def test_without_an_id_the_newest_finished_run_is_found(folders: Folders, clock: Clock) -> None:
    made = []
    for _ in range(3):
        made.append(folders.run(fresh=True))
        clock.advance(1)
    made[1].finish()
    made[0].finish()
    assert find_run("", folders.check) == made[1]


def test_without_an_id_only_finished_runs_that_suit_are_found(folders: Folders, clock: Clock) -> None:
    made = []
    for _ in range(3):
        made.append(folders.run(fresh=True))
        made[-1].finish()
        clock.advance(1)
    assert find_run("", folders.check, suits=lambda run: run.id == made[0].id) == made[0]
    assert find_run(made[1].id, folders.check, suits=lambda run: False) == made[1]
    with pytest.raises(UserError, match="expected a finished cascade in") as error:
        find_run("", folders.check, suits=lambda run: False, need="a finished cascade")
    assert made[2].id in one_line(error)


def test_without_an_id_unfinished_runs_do_not_do(folders: Folders) -> None:
    run = folders.run()
    with pytest.raises(UserError, match="unfinished") as error:
        find_run("", folders.check)
    assert run.id in one_line(error)


@pytest.mark.parametrize(("base_model_id", "told"), [("", "found none"), ("1993783", "choose one of .*cq-9k")])
def test_a_folder_without_runs_is_told_in_one_line_that_names_those_that_ship(
    tmp_path: Path, base_model_id: str, told: str
) -> None:
    (tmp_path / "not a run").mkdir()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=told) as error:
            find_run(base_model_id, folder)
        assert str(folder) in one_line(error)


def test_a_folder_left_by_a_kill_before_its_state_was_written_is_no_run(folders: Folders, clock: Clock) -> None:
    run = folders.run()
    (run.folder / "state.json").unlink()
    assert folders.run().id == f"{run.id}-2"


# Records


def test_a_record_is_read_as_it_was_written(folders: Folders) -> None:
    run = folders.run()
    run.write_record("splits.json", {"train": FILES, "path": Path("a/b"), "shape": (9, np.int64(100))})
    run.write_record("numbers.json", {"mean": np.float32(0.5), "bins": np.arange(3), "lost": math.nan})
    assert run.read_record("splits.json") == {"train": FILES, "path": "a/b", "shape": [9, 100]}
    assert run.read_record("numbers.json") == {"mean": 0.5, "bins": [0, 1, 2], "lost": None}


def test_a_record_that_could_not_be_written_leaves_the_old_one_whole(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = folders.run()
    run.write_record("config.json", {"seed": 0})
    before = sorted(run.folder.iterdir())

    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(OSError, match="no space"):
            run.write_record("config.json", {"seed": 1, "more": "x" * 100_000})
    with pytest.raises(TypeError):
        run.write_record("config.json", {"seed": object()})
    assert run.read_record("config.json") == {"seed": 0}
    assert sorted(run.folder.iterdir()) == before


def test_a_missing_record_and_a_damaged_one_are_named(folders: Folders) -> None:
    run = folders.run()
    with pytest.raises(UserError, match=r"environment\.json") as error:
        run.read_record("environment.json")
    one_line(error)
    (run.folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json") as error:
        run.read_record("config.json")
    one_line(error)


def test_a_state_with_other_keys_is_named(folders: Folders) -> None:
    run = folders.run()
    run.write_record("state.json", {"id": run.id, "colour": "blue"})
    with pytest.raises(UserError, match=r"state\.json") as error:
        find_run(run.id, folders.check)
    one_line(error)


# Locks

HOLDER = """
import sys
from runs.runs import find_run
run = find_run(sys.argv[1], sys.argv[2])
run.lock()
print("locked", flush=True)
if sys.stdin.readline():
    run.finish()
"""


@pytest.fixture
def holder(folders: Folders) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of the run; it finishes the run when it is written to."""
    run = folders.run()
    command = [sys.executable, "-c", HOLDER, run.id, str(folders.check)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_run_that_another_process_trains_is_refused_until_that_is_killed(
    folders: Folders, holder: subprocess.Popen[str]
) -> None:
    run = folders.run()
    with pytest.raises(UserError, match=f"being trained by process {holder.pid}") as error:
        run.lock()
    one_line(error)
    holder.kill()
    holder.wait()
    run.lock()
    run.lock()  # held already: no error


def test_a_lock_tells_that_the_run_was_finished_meanwhile(folders: Folders, holder: subprocess.Popen[str]) -> None:
    run = folders.run()
    holder.communicate("finish\n", timeout=60)
    assert run.status == "unfinished"
    run.lock()
    assert run.status == "finished"


# Environment


def test_the_environment_holds_versions_machine_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    taken = environment(intra_op_threads=2, inter_op_threads=1)
    assert taken["numpy"] == np.__version__
    assert taken["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (taken["intra-op threads"], taken["inter-op threads"], taken["OMP_NUM_THREADS"]) == (2, 1, "3")
    assert taken["processor count"] >= 1
    assert datetime.fromisoformat(taken["time"]).tzinfo is not None
    assert json.loads(json.dumps(taken)) == taken


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_code_version_is_the_commit_and_tells_uncommitted_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "runs.py"
    module.write_text("first")
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "runs" / "runs.py"))
    monkeypatch.setattr(runs, "version_of", lambda package: "1.2.3")
    assert environment()["code"] == "1.2.3"
    git(tmp_path, "init")
    assert environment()["code"] == "1.2.3"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert environment()["code"] == commit
    module.write_text("second")
    assert environment()["code"] == f"{commit}-dirty"
    # installed inside a checkout of something else
    (tmp_path / "inner").mkdir()
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "inner" / "runs" / "runs.py"))
    assert environment()["code"] == "1.2.3"


def test_changes_of_threads_and_versions_are_told_and_the_time_is_not() -> None:
    old = environment(intra_op_threads=1) | {"tensorflow": "2.20.0"}
    new = old | {"time": "later", "tensorflow": "2.21.0", "intra-op threads": None}
    assert changed_environment(old, old | {"time": "later"}) == []
    assert changed_environment(old, new) == [
        "tensorflow was 2.20.0 when the run began, is 2.21.0 now",
        "intra-op threads was 1 when the run began, is unset now",
    ]


# Journal


@pytest.fixture
def journal(folders: Folders) -> Journal:
    return Journal(folders.run(suffix="_v1.5"), folders.doc)


def test_an_event_goes_to_both_files_named_as_the_folder(folders: Folders, journal: Journal, clock: Clock) -> None:
    journal.write("step", epoch=1, step=120, loss=0.123456, entropy=np.float32(2.5), parts=(1.23456, 2))
    name = folders.run(suffix="_v1.5").folder.name
    assert sorted(path.name for path in folders.doc.iterdir()) == [f"{name}.jsonl", f"{name}.txt"]
    (event,) = Journal.read(journal.lines)
    assert datetime.fromisoformat(event.pop("at")) == clock.now
    assert event == {
        "event": "step",
        "epoch": 1,
        "step": 120,
        "loss": 0.123456,
        "entropy": 2.5,
        "parts": [1.23456, 2],
    }
    assert journal.text.read_text() == (
        "2026-11-22 20:45:00  step        epoch         1  step       120  loss    0.1235  "
        "entropy       2.5  parts   1.235 2\n"
    )


def test_equal_events_are_aligned_in_the_text(journal: Journal) -> None:
    for step, loss in ((5, 1.0), (12_000, 0.000123456), (7, math.nan)):
        journal.write("step", step=step, loss=loss)
    lines = journal.text.read_text().splitlines()
    assert len({line.index("loss") for line in lines}) == len({len(line) for line in lines}) == 1
    assert lines[1].endswith("0.0001235") and lines[2].endswith("nan")


def test_numbers_that_json_lacks_are_null(journal: Journal) -> None:
    journal.write("nan", loss=math.nan, tau=np.float32(math.inf))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    event = json.loads(journal.lines.read_text(), parse_constant=refuse)
    assert event["loss"] is None and event["tau"] is None


def test_a_torn_last_line_is_left_out_and_the_next_event_is_whole(folders: Folders, journal: Journal) -> None:
    for step in range(3):
        journal.write("step", step=step)
    whole = journal.lines.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(whole)):
        journal.lines.write_bytes(whole[:length])
        assert [event["step"] for event in Journal.read(journal.lines)] == [0, 1]
        Journal(folders.run(suffix="_v1.5"), folders.doc).write("resumed", step=1)
        assert [event["step"] for event in Journal.read(journal.lines)] == [0, 1, 1]


def test_a_resumed_journal_keeps_the_lines_after_the_checkpoint(folders: Folders, journal: Journal) -> None:
    for step in (10, 20, 30):
        journal.write("step", step=step)
    again = Journal(folders.run(suffix="_v1.5"), folders.doc)
    again.write("resumed", step=20)
    again.write("step", step=30)
    events = [(event["event"], event["step"]) for event in Journal.read(again.lines)]
    assert events == [("step", 10), ("step", 20), ("step", 30), ("resumed", 20), ("step", 30)]
    assert len(again.text.read_text().splitlines()) == 5


def test_a_damaged_line_within_a_journal_is_named(journal: Journal) -> None:
    for content in ("{torn\n", "[1]\n"):
        journal.lines.write_text('{"event": "step"}\n' + content + '{"event": "step"}\n')
        with pytest.raises(UserError, match="line 2") as error:
            Journal.read(journal.lines)
        one_line(error)


def test_a_missing_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl") as error:
        Journal.read(tmp_path / "none.jsonl")
    one_line(error)


WRITER = """
import sys
from runs.runs import Journal, find_run
journal = Journal(find_run(sys.argv[1], sys.argv[2]), sys.argv[3])
step = 0
while True:
    journal.write("step", step=step, padding="x" * 5000)
    step += 1
    if step == 20:
        print("running", flush=True)
"""


def test_a_journal_survives_a_kill_in_the_midst_of_writing(folders: Folders) -> None:
    run = folders.run()
    command = [sys.executable, "-c", WRITER, run.id, str(folders.check), str(folders.doc)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.kill()
    journal = Journal(run, folders.doc)
    journal.write("resumed", step=0)
    *steps, resumed = Journal.read(journal.lines)
    assert [event["step"] for event in steps] == list(range(len(steps))) and len(steps) >= 20
    assert resumed["event"] == "resumed"
