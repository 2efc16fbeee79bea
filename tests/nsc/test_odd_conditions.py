"""The command under odd conditions: pipes, links and modes, full disks, closed streams, no home, names of any bytes."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.helpers.places import ROOT

pytestmark = pytest.mark.slow


class Place:
    """A folder with speech.wav and speech.nsc, a model called tiny, and a shell in which $NSC is the command."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder, self._models = folder, models

    def shell(self, command: str, *, largest_file: int = 0, **variables: str) -> subprocess.CompletedProcess[bytes]:
        def limit() -> None:
            if largest_file:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        environment = os.environ | {"NSC": f"{sys.executable} -m nsc", "NSC_MODELS": str(self._models)}
        environment |= {"PYTHONPATH": str(ROOT)} | variables
        return subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=environment, capture_output=True, preexec_fn=limit
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, codec_folder: Path, speech_signals: list[NDArray[np.float32]]
) -> Path:
    folder = tmp_path_factory.mktemp("template")
    soundfile.write(folder / "speech.wav", speech_signals[0][:20_000], 16_000)
    result = Place(folder, codec_folder.parent).shell("$NSC encode speech.wav speech.nsc --model tiny")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def place(tmp_path: Path, template: Path, codec_folder: Path) -> Place:
    for path in template.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return Place(tmp_path, codec_folder.parent)


def lines(result: subprocess.CompletedProcess[bytes]) -> list[str]:
    return result.stderr.decode().splitlines()


@pytest.mark.parametrize("source", ["<(cat speech.wav)", "/dev/stdin < speech.wav", "/dev/stdin < <(cat speech.wav)"])
def test_pipes_by_name_are_read_as_files_are(place: Place, source: str) -> None:
    name, _, rest = source.partition(" < ") if source.startswith("/dev") else (source, "", "")
    result = place.shell(f"$NSC encode {name} again.nsc --model tiny {'< ' + rest if rest else ''}")
    assert result.returncode == 0, result.stderr
    assert (place.folder / "again.nsc").read_bytes() == (place.folder / "speech.nsc").read_bytes()


def test_a_linked_output_stays_a_link_and_a_private_one_private(place: Place) -> None:
    (place.folder / "real.wav").write_bytes(b"")
    (place.folder / "real.wav").chmod(0o600)
    (place.folder / "decoded.wav").symlink_to("real.wav")
    assert place.shell("$NSC decode speech.nsc decoded.wav --force").returncode == 0
    assert (place.folder / "decoded.wav").is_symlink()
    assert (place.folder / "real.wav").stat().st_mode & 0o777 == 0o600
    assert soundfile.info(place.folder / "real.wav").frames == 20_000
    assert place.names() == ["decoded.wav", "real.wav", "speech.nsc", "speech.wav"]


def test_a_disk_that_fills_up_while_decoding_is_one_line_and_leaves_nothing(place: Place) -> None:
    result = place.shell("$NSC decode speech.nsc decoded.wav", largest_file=20_000)
    assert result.returncode == 2
    assert lines(result) == ["nsc: decoded.wav cannot be written (File too large); choose another place"]
    assert place.names() == ["speech.nsc", "speech.wav"]


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("$NSC decode speech.nsc - > /dev/full", 2, "nsc: - cannot be written (No space left on device)"),
        ("$NSC info speech.nsc > /dev/full", 2, "nsc: "),
        ("$NSC encode - out.nsc <&-", 2, "nsc: expected speech or an .nsc file on standard input, found it closed"),
        ("$NSC decode speech.nsc - >&-", 2, "nsc: standard output is closed"),
        ("$NSC decode speech.nsc - | true; exit ${PIPESTATUS[0]}", 141, ""),
        ("$NSC decode speech.nsc a.wav --loss 0.1 --seed -1", 2, "nsc: argument --seed: expected a whole number"),
        ("$NSC decode speech.nsc a.wav --loss 0.1 --burst nan", 2, "nsc: argument --burst: expected a number from 1"),
        ("$NSC decode speech.nsc none/../speech.wav/a.wav", 2, "nsc: none/../speech.wav/a.wav cannot be written"),
    ],
)
def test_closed_full_and_foreign_ends_are_one_line(place: Place, command: str, status: int, words: str) -> None:
    result = place.shell(command)
    assert result.returncode == status, result.stderr
    assert len(lines(result)) == bool(words)
    assert result.stderr.decode().startswith(words)
    assert place.names() == ["speech.nsc", "speech.wav"]


def test_a_name_of_any_bytes_is_coded_and_shown_escaped(place: Place) -> None:
    result = place.shell("cp speech.wav $'l\\xe9\\xff.wav' && $NSC encode $'l\\xe9\\xff.wav' --model tiny")
    assert result.returncode == 0, result.stderr
    assert (place.folder / os.fsdecode(b"l\xe9\xff.nsc")).read_bytes() == (place.folder / "speech.nsc").read_bytes()
    assert b"l\\udce9\\udcff.nsc: 1.25 s" in result.stderr


def test_antiphase_and_cut_recordings_come_with_a_note(place: Place) -> None:
    signal, _ = soundfile.read(place.folder / "speech.wav", dtype="float32")
    soundfile.write(place.folder / "stereo.wav", np.stack([signal, -signal], 1), 16_000)
    (place.folder / "cut.wav").write_bytes((place.folder / "speech.wav").read_bytes()[:30_044])
    stereo = place.shell("$NSC encode stereo.wav --model tiny")
    assert any("the channels cancel each other: channel 1" in line for line in lines(stereo))
    assert (place.folder / "stereo.nsc").read_bytes() == (place.folder / "speech.nsc").read_bytes()
    cut = place.shell("$NSC encode cut.wav --model tiny")
    assert any("the header promises 40000 bytes of samples, 30000 are there" in line for line in lines(cut))
    assert (place.folder / "cut.nsc").exists()


def test_two_encoders_on_one_output_leave_it_whole(place: Place) -> None:
    command = "$NSC encode speech.wav both.nsc --model tiny --force"
    assert place.shell(f"{command} & {command} & wait").returncode == 0
    assert (place.folder / "both.nsc").read_bytes() == (place.folder / "speech.nsc").read_bytes()
    assert place.names() == ["both.nsc", "speech.nsc", "speech.wav"]


CONDITIONS: dict[str, dict[str, Any]] = {
    "optimised Python": {"PYTHONOPTIMIZE": "2"},
    "a home that is not there": {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"},
    "no GPU of this name": {"CUDA_VISIBLE_DEVICES": "nonsense,-7"},
    "a plain locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_coding_is_the_same_under_odd_conditions(place: Place, condition: str) -> None:
    spaced = place.folder / "a folder with spaces"
    spaced.mkdir()
    result = place.shell(f"$NSC encode speech.wav '{spaced}/out put.nsc' --model tiny", **CONDITIONS[condition])
    assert result.returncode == 0, result.stderr
    assert (spaced / "out put.nsc").read_bytes() == (place.folder / "speech.nsc").read_bytes()


def test_no_home_at_all_is_no_hindrance(place: Place) -> None:
    assert place.shell("env -u HOME $NSC encode speech.wav again.nsc --model tiny").returncode == 0
    assert (place.folder / "again.nsc").read_bytes() == (place.folder / "speech.nsc").read_bytes()
