"""Whatever happens to checkpoint files, a run goes on from the newest sound one, or says why not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from corpus.find import find_speech
from corpus.packed import PackedCorpus
from nsc.console import exit_status
from nsc.errors import UserError
from tests.helpers.clumsy import after
from training.checkpoints import Checkpoints


def state_of(value: float) -> tuple[tf.train.Checkpoint, tf.Variable]:
    variable = tf.Variable(tf.fill([300], value))
    return tf.train.Checkpoint(weights=variable), variable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of steps 5 and 9, after one of step 2 that was removed."""
    checkpoint, variable = state_of(0.0)
    checkpoints = Checkpoints(checkpoint, tmp_path / "first")
    for step in (2, 5, 9):
        variable.assign(tf.fill([300], float(step)))
        checkpoints.save(step)
    return tmp_path / "first"


def restored(folder: Path) -> tuple[int | None, float]:
    checkpoint, variable = state_of(-1.0)
    step = Checkpoints(checkpoint, folder).restore()
    assert len(np.unique(variable.numpy())) == 1
    return step, float(variable[0])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").touch()


def save_other_shape(folder: Path) -> None:
    """A checkpoint of step 9 of another network, with its own checksums."""
    for path in folder.glob("ckpt-9*"):
        path.unlink()
    other = tf.train.Checkpoint(weights=tf.Variable(tf.zeros([7])))
    Checkpoints(other, folder).save(9)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut data": lambda folder: cut(folder / "ckpt-9.data-00000-of-00001"),
    "a flipped bit of data": lambda folder: flip(folder / "ckpt-9.data-00000-of-00001"),
    "a flipped bit of the index": lambda folder: flip(folder / "ckpt-9.index"),
    "an empty index": lambda folder: (folder / "ckpt-9.index").write_bytes(b""),
    "missing data": lambda folder: (folder / "ckpt-9.data-00000-of-00001").unlink(),
    "a folder in place of data": lambda folder: replace_by_folder(folder / "ckpt-9.data-00000-of-00001"),
    "a folder in place of the index": lambda folder: replace_by_folder(folder / "ckpt-9.index"),
    "another model's": save_other_shape,
    "a missing index": lambda folder: (folder / "ckpt-9.index").unlink(),
}


def test_two_checkpoints_are_kept_and_the_newest_is_used(folder: Path) -> None:
    assert sorted(path.name for path in folder.glob("*.index")) == ["ckpt-5.index", "ckpt-9.index"]
    assert restored(folder) == (9, 9.0)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before_with_a_line(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGE[damage](folder)
    with caplog.at_level("INFO", "neural_speech_coding"):
        assert restored(folder) == (5, 5.0)
    assert f"the checkpoint of step 9 in {folder} is damaged, missing or of another model" in caplog.text
    assert not list(folder.glob("ckpt-9*"))


def test_a_signal_while_a_checkpoint_is_read_costs_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, _ = state_of(-1.0)
    read = tf.train.Checkpoint.restore
    monkeypatch.setattr(tf.train.Checkpoint, "restore", after(1, read, "SIGINT", SystemError))
    assert exit_status("test", lambda: bool(Checkpoints(checkpoint, folder).restore())) == 130
    monkeypatch.undo()
    assert restored(folder) == (9, 9.0)


@pytest.mark.parametrize("damage", DAMAGE)
def test_older_runs_without_checksums_are_read_whole_before_they_are_trusted(folder: Path, damage: str) -> None:
    (folder / "checksums.json").unlink()
    DAMAGE[damage](folder)
    assert restored(folder) == (5, 5.0)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe garbage", b"model_checkpoint_path: 7", "folder"])
def test_a_lost_or_damaged_list_of_checkpoints_is_no_reason_to_start_over(
    folder: Path, content: bytes | str | None
) -> None:
    state = folder / "checkpoint"
    state.unlink()
    if isinstance(content, bytes):
        state.write_bytes(content)
    elif content == "folder":
        state.mkdir()
    assert restored(folder) == (9, 9.0)
    checkpoint, _ = state_of(12.0)
    checkpoints = Checkpoints(checkpoint, folder)
    checkpoints.save(12)
    assert checkpoints.steps == [12, 9]
    assert restored(folder) == (12, 12.0)


@pytest.mark.parametrize("content", [b"[1]", b"{", b'{"ckpt-9": 3}', b"[" * 100_000])
def test_a_damaged_record_of_checksums_costs_no_checkpoint(folder: Path, content: bytes) -> None:
    (folder / "checksums.json").write_bytes(content)
    assert restored(folder) == (9, 9.0)


def test_without_any_sound_checkpoint_a_run_stops_and_leaves_the_files(folder: Path) -> None:
    for step in (5, 9):
        cut(folder / f"ckpt-{step}.data-00000-of-00001")
    with pytest.raises(
        UserError, match=r"found none of steps 9, 5; restore one .* or start afresh with --new"
    ) as error:
        restored(folder)
    assert "\n" not in str(error.value)
    assert len(list(folder.glob("ckpt-*.index"))) == 2


def test_a_new_run_has_no_checkpoint(tmp_path: Path) -> None:
    assert restored(tmp_path / "none") == (None, -1.0)


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(manager: tf.train.CheckpointManager, checkpoint_number: int) -> None:
        (folder / f"ckpt-{checkpoint_number}.data-00000-of-00001").write_bytes(b"half")
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    checkpoint, _ = state_of(12.0)
    with pytest.raises(UserError, match=r"step 12 cannot be written \(No space left on device\); make room"):
        Checkpoints(checkpoint, folder).save(12)
    assert not list(folder.glob("ckpt-12*"))
    assert restored(folder) == (9, 9.0)


def test_every_checkpoint_in_use_has_its_checksums_in_the_record(folder: Path) -> None:
    record = json.loads((folder / "checksums.json").read_text())
    assert {name: sorted(files) for name, files in record.items()} == {
        name: [f"{name}.data-00000-of-00001", f"{name}.index"] for name in ("ckpt-5", "ckpt-9")
    }


def test_the_corpus_tells_the_samples_of_every_recording(speech_folder: Path, tmp_path: Path) -> None:
    files = find_speech(speech_folder)
    found = PackedCorpus.pack(files, tmp_path).checksums()
    assert set(found) == {str(file.path) for file in files}
    assert len(set(found.values())) == len(files)
