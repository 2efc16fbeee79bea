"""Systems that lack what Unix has: the codec works, tested by hiding it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.places import CORPUS, ROOT

# as on Windows: no such modules, functions, flags, signals
HIDDEN = """
import os, signal, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog"):
    sys.modules[name] = None
for home, names in ((os, ("fchmod", "mkfifo", "O_NOFOLLOW", "O_NONBLOCK", "fork", "preadv", "pread", "posix_fadvise",
        "geteuid", "getuid", "killpg")), (signal, ("SIGHUP", "SIGKILL", "SIGALRM", "SIGPIPE"))):
    for name in names:
        if hasattr(home, name):
            delattr(home, name)
"""


@pytest.mark.slow
def test_the_codec_works_where_nothing_of_unix_is(tmp_path: Path) -> None:
    speech = next(CORPUS.rglob("*.flac"))
    commands = [
        ["encode", str(speech), "a.nsc", "--model", "cq"],
        ["decode", "a.nsc", "a.wav"],
        ["decode", "a.nsc", "a.wav", "--force"],
        ["info", "a.nsc"],
        ["models"],
    ]
    imports = "import nsc.call.command, nsc.cli, nsc.demo.server"
    script = f"{HIDDEN}\n{imports}\nfor words in {commands!r}:\n    assert nsc.cli.main(words) == 0, words\n"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nsc", "a.wav"]


@pytest.mark.slow
def test_the_codec_runs_from_within_an_archive(tmp_path: Path) -> None:
    speech, archive = next(CORPUS.rglob("*.flac")), tmp_path / "nsc.pyz"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted((ROOT / "nsc").rglob("*")):
            place = path.relative_to(ROOT)
            if path.is_file() and "stages" not in place.parts and "__pycache__" not in place.parts:
                packed.write(path, place)
        packed.writestr("__main__.py", "import sys\nfrom nsc.cli import main\nsys.exit(main())\n")
    (tmp_path / "temporary").mkdir()
    environment = {"TMPDIR": str(tmp_path / "temporary")}

    def run(*words: str) -> str:
        command = [sys.executable, "-P", str(archive), *words]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert "cq-9k" in run("models")
    run("encode", str(speech), "a.nsc")
    run("a.nsc", "a.wav")
    assert (tmp_path / "a.wav").stat().st_size > 10_000
    assert list((tmp_path / "temporary").iterdir()) == []
