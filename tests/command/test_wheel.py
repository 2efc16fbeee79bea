"""The wheel: one package, its command and its models, in an environment without the pipeline."""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import nsc
from tests.helpers.places import ROOT

pytestmark = pytest.mark.slow
NEEDED = ("numpy", "soundfile", "soxr", "constriction", "ai-edge-litert")
LARGEST = 20e6  # bytes
USER_PROGRAM = """
import constants, numpy, soundfile, sys
import nsc
assert constants.MINE == 1
samples, rate = soundfile.read("speech.wav", dtype="float32")
data = nsc.encode(samples, "cq-9k")
signal, damage = nsc.decode(data)
assert len(signal) == len(samples) and not damage
assert not {"tensorflow", "scipy", "main", "utilities"} & set(sys.modules)
print(nsc.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], check=True, stdout=(place / "files").open("wb"))
    for name in (place / "files").read_bytes().decode().split("\0")[:-1]:
        if name.startswith("nsc/") or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    (source / "build" / "lib" / "nsc").mkdir(parents=True)
    (source / "build" / "lib" / "nsc" / "removed.py").write_text("")  # of an earlier release
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(place), str(source)]
    subprocess.run(command, check=True)
    [path] = place.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, which sees what it asks for where the tests have it: others download it."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--disable-pip-version-check", str(wheel)], check=True, env=clean())
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def clean() -> dict[str, str]:
    """The environment's variables without those that would lead to the clone."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NSC_MODELS")}


@pytest.fixture
def place(tmp_path: Path, real_speech: NDArray[np.float32]) -> Path:
    """A user's folder, with a module of his own that is called like one of the pipeline."""
    soundfile.write(tmp_path / "speech.wav", real_speech, 16_000)
    (tmp_path / "constants.py").write_text("MINE = 1\n")
    return tmp_path


def test_the_wheel_holds_one_package_and_the_models(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"nsc"}
    for model in nsc.models():
        for file in ("codec.json", "README.md", *model.files):
            assert f"nsc/pretrained/{model.name}/{file}" in names
    assert "nsc/py.typed" in names
    assert not [name for name in names if name.endswith((".jsonl", "model.npz", "splits.json"))]
    assert wheel.stat().st_size < LARGEST


def test_the_wheel_asks_for_neither_tensorflow_nor_scipy(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
    asked = [line for line in archive.read(metadata).decode().splitlines() if line.startswith("Requires-Dist:")]
    assert sorted(re.split(r"[<>]", line.split()[1])[0] for line in asked if "extra ==" not in line) == sorted(NEEDED)


def test_it_codes_by_api_and_command_beside_a_users_own_modules(environment: Path, place: Path) -> None:
    python, command = environment / "bin" / "python", environment / "bin" / "nsc"
    (place / "program.py").write_text(USER_PROGRAM)

    def run(*words: str) -> str:
        return subprocess.run(words, cwd=place, env=clean(), check=True, capture_output=True, text=True).stdout

    shown = run(str(python), "program.py")
    assert Path(shown.strip()).is_relative_to(environment)
    run(str(command), "speech.wav")
    run(str(command), "speech.nsc", "decoded.wav")
    assert soundfile.info(place / "decoded.wav").frames == soundfile.info(place / "speech.wav").frames
    assert "(cq)" in run(str(command), "info", "speech.nsc")


def test_the_installed_package_is_typed(environment: Path, place: Path) -> None:
    (place / "typed.py").write_text('import nsc\nreveal_type(nsc.encode([0.0], "cq-9k"))\n')
    command = [sys.executable, "-m", "mypy", "--python-executable", str(environment / "bin" / "python"), "typed.py"]
    shown = subprocess.run(command, cwd=place, env=clean(), capture_output=True, text=True).stdout
    assert 'Revealed type is "bytes"' in shown


def test_nothing_that_an_earlier_build_left_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "nsc/cli.py" in names and "nsc/removed.py" not in names
