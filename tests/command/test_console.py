"""One way out of every command: one line and a status for all that a user, a disk or a network can cause."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nsc.console import exit_status
from nsc.errors import UserError
from nsc.stops import WAITS, stops
from tests.helpers.clumsy import STOPS, after
from tests.helpers.places import ROOT

SCRIPT = """
import sys
from nsc.console import exit_status, show_own_lines, standard_input, standard_output
show_own_lines()
sys.exit(exit_status("nsc", lambda: {work}))
"""


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


class ResourceExhaustedError(Exception):
    __module__ = "tensorflow.python.framework.errors_impl"


ENDS: dict[str, tuple[BaseException, int, str]] = {
    "a user's mistake": (UserError("expected a, found b; do c"), 2, "nsc: expected a, found b; do c"),
    "a name with ends of lines in it": (UserError("a\nb\x1b[31m.wav"), 2, "nsc: a\\nb\\x1b[31m.wav"),
    "a full disk": (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 2, "nsc: /x/y: No space left on device;"),
    "no rights": (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "nsc: /x: Permission denied; check its"),
    "a file in place of a folder": (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/x"), 2, "a file is where"),
    "no memory": (MemoryError(), 2, "nsc: there is not enough memory for this;"),
    "TensorFlow without memory": (ResourceExhaustedError("OOM when\nallocating"), 2, "nsc: OOM when; make room"),
    "a pipe that nobody reads": (BrokenPipeError(), 141, ""),
    "Ctrl-C": (KeyboardInterrupt(), 130, "nsc: stopped"),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_end_is_one_line_and_a_status(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    error, status, line = ENDS[end]
    assert exit_status("nsc", raising(error), "stopped") == status
    shown = capsys.readouterr().err
    assert shown.count("\n") == bool(line)
    assert line in shown


@pytest.mark.parametrize("error", [None, SystemError, ImportError])
@pytest.mark.parametrize(("name", "status"), STOPS)
def test_a_signal_that_stops_is_one_line_and_its_status_whatever_native_code_makes_of_it(
    name: str, status: int, error: type[Exception] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.Signals[name])
    assert exit_status("nsc", after(1, bool, name, error), "stopped") == status
    assert capsys.readouterr().err == "nsc: stopped\n"
    assert signal.getsignal(signal.Signals[name]) == before


def test_a_signal_that_the_parent_ignores_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert exit_status("nsc", after(1, bool, "SIGHUP")) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_first_signal_waits_for_what_is_to_be_saved_and_a_second_does_not(
    capfd: pytest.CaptureFixture[str],
) -> None:
    done = []

    def work(twice: bool) -> None:
        with stops() as stop:
            stop.waits = True
            for _ in range(1 + twice):
                signal.raise_signal(signal.SIGTERM)
            done.append("saved")
            stop.raise_asked()

    assert exit_status("nsc", lambda: work(twice=False), "stopped") == 143
    assert exit_status("nsc", lambda: work(twice=True), "stopped") == 143
    assert done == ["saved"]
    assert capfd.readouterr().err == 2 * (WAITS.decode() + "nsc: stopped\n")


def test_a_mistake_in_the_code_is_no_users_mistake() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_status("nsc", raising(ZeroDivisionError()))


def test_nsc_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NSC_DEBUG", "1")
    assert exit_status("nsc", raising(UserError("plain words"))) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("nsc: plain words\n")


def in_shell(command: str, work: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Runs `command` by a shell, in which $P is a process that does the work."""
    (tmp_path / "work.py").write_text(SCRIPT.format(work=work))
    environment = os.environ | {"P": f"{sys.executable} {tmp_path / 'work.py'}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)


def test_a_pipe_that_is_closed_early_is_silent(tmp_path: Path) -> None:
    result = in_shell("$P | head -1; echo ${PIPESTATUS[0]}", "[print(n) for n in range(100_000)] and 0", tmp_path)
    assert (result.stdout, result.stderr) == ("0\n141\n", "")


@pytest.mark.parametrize("work", ["print('x' * 10)", "print('x' * 100_000)", "standard_output().write(b'x') and 0"])
def test_a_full_device_is_one_line(work: str, tmp_path: Path) -> None:
    result = in_shell("$P > /dev/full", work, tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines() in (
        ["nsc: standard output: No space left on device; make room, and the same command continues"],
        ["nsc: No space left on device; make room, and the same command continues"],
    )


@pytest.mark.parametrize(
    ("command", "work", "words"),
    [
        ("$P <&-", "standard_input().read() and 0", "nsc: expected speech or an .nsc file on standard input"),
        ("$P >&-", "standard_output().write(b'x')", "nsc: standard output is closed"),
    ],
)
def test_a_closed_stream_is_one_line(command: str, work: str, words: str, tmp_path: Path) -> None:
    result = in_shell(command, work, tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(words)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["$P 2>&-", "$P >&- 2>&- <&-"])
def test_without_standard_error_the_status_tells(command: str, tmp_path: Path) -> None:
    result = in_shell(command, "open('/none/x')", tmp_path)
    assert (result.returncode, result.stdout) == (2, "")


def test_a_file_does_not_take_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    work = f"print(open('{tmp_path}/new', 'wb').fileno(), file=sys.stderr)"
    assert int(in_shell("$P >&- <&-", work, tmp_path).stderr) > 2


def test_a_name_of_any_bytes_can_be_printed(tmp_path: Path) -> None:
    result = in_shell("$P", r"print('latin1_\udce9.wav')", tmp_path)
    assert (result.returncode, result.stdout) == (0, "latin1_\\udce9.wav\n")


def test_optimised_python_keeps_the_lines(tmp_path: Path) -> None:
    result = in_shell("PYTHONOPTIMIZE=2 $P", "open('/none/x')", tmp_path)
    assert result.stderr == "nsc: /none/x: No such file or directory; check the path\n"
