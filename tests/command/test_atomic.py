"""Files are whole or not there, through links, under any umask, beside whoever else writes them."""

import errno
import os
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nsc import atomic
from nsc.atomic import atomic_write, folder_written_whole, written_whole
from nsc.audio import write_speech


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("disk/real.txt")
    atomic_write(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "disk" / "real.txt").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["disk", "link.txt", "real.txt"]


def test_a_link_to_nothing_makes_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "new" / "file")
    atomic_write(tmp_path / "link", b"x")
    assert (tmp_path / "new" / "file").read_bytes() == b"x"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_of_a_file_that_is_there_is_kept(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(mode)
    atomic_write(tmp_path / "a", "new")
    assert mode_of(tmp_path / "a") == mode


def test_a_new_file_has_the_mode_that_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "a", "new")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "a") == 0o640


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt), written_whole(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_the_unfinished_file_has_a_name_that_nobody_can_plant(tmp_path: Path) -> None:
    names = set()
    for _ in range(5):
        with written_whole(tmp_path / "a") as file:
            names.add(os.readlink(f"/proc/self/fd/{file.fileno()}"))
    assert len(names) == 5


def test_what_a_killed_process_left_is_swept_and_what_another_one_writes_is_not(tmp_path: Path) -> None:
    left, planted, other = (tmp_path / name for name in (".a.0123456789abcdef.part", ".a.1.part", ".b.2.part"))
    for path in (left, other):
        path.write_bytes(b"half")
        os.utime(path, (0, time.time() - 3600))
    planted.symlink_to(tmp_path / "victim")
    with written_whole(tmp_path / "a") as file:
        held = Path(os.readlink(f"/proc/self/fd/{file.fileno()}"))
        os.utime(held, (0, time.time() - 3600))
        atomic_write(tmp_path / "a", "second")
        assert held.exists()
    assert not left.exists()
    assert other.exists()
    assert not (tmp_path / "victim").exists()


def test_two_writers_of_one_file_leave_one_of_both_whole(tmp_path: Path) -> None:
    texts = [letter * 100_000 for letter in "abcdefgh"]
    threads = [threading.Thread(target=atomic_write, args=(tmp_path / "a", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() in texts
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_name_of_255_bytes_is_written(tmp_path: Path) -> None:
    atomic_write(tmp_path / ("x" * 255), "new")
    assert (tmp_path / ("x" * 255)).read_text() == "new"


def test_errors_name_the_file_and_not_the_unfinished_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path, number in ((tmp_path / "file" / "a", errno.ENOTDIR), (tmp_path / "folder", errno.EISDIR)):
        with pytest.raises(OSError) as error:
            atomic_write(path, "new")
        assert error.value.errno in (number, errno.EEXIST)
        assert "part" not in str(error.value)
    with pytest.raises(OSError, match="a full disk") as error, written_whole(tmp_path / "b"):
        raise OSError(errno.ENOSPC, "a full disk")
    assert error.value.filename == str(tmp_path / "b")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError), folder_written_whole(tmp_path / "a") as unfinished:
        (unfinished / "half").write_text("")
        raise ValueError
    assert not list(tmp_path.iterdir())
    with folder_written_whole(tmp_path / "a") as unfinished:
        (unfinished / "x").write_text("first")
        with folder_written_whole(tmp_path / "a") as faster:
            (faster / "x").write_text("faster")
    assert (tmp_path / "a" / "x").read_text() == "faster"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_wav_file_in_blocks_is_what_soundfile_writes(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).uniform(-1.2, 1.2, 5001).astype(np.float32)
    with written_whole(tmp_path / "a.wav") as file:
        assert write_speech(file, [signal[:2000], signal[2000:2000], signal[2000:]], ".wav") == 5001
    steps = np.clip(np.rint(signal * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(tmp_path / "b.wav", steps, 16_000)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_disk_that_fills_up_while_a_wav_is_written_is_the_systems_error_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match="No space left") as error, open("/dev/full", "wb", buffering=0) as file:
        write_speech(file, [np.zeros(100_000, np.float32)], ".wav")
    assert error.value.errno == errno.ENOSPC
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("letter", ["a", "\u00e4", "\u65e5", "\U0001f3a4"])
def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path, letter: str) -> None:
    name = letter * (255 // len(letter.encode()))
    for _ in range(2):
        atomic_write(tmp_path / name, b"x")
    with folder_written_whole(tmp_path / f"f{name[1:]}") as unfinished:
        (unfinished / "x").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"f{name[1:]}"])


def test_a_file_system_without_locks_can_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    left = tmp_path / ".a.0123456789abcdef.part"
    left.write_bytes(b"half")
    monkeypatch.setattr(atomic.fcntl, "flock", unsupported)
    for age, stays in ((3600, True), (2 * 86_400, False)):  # nobody knows whether it is held: days decide
        os.utime(left, (time.time() - age,) * 2)
        atomic_write(tmp_path / "a", b"x")
        assert (tmp_path / "a").read_bytes() == b"x"
        assert left.exists() is stays
