import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import codec
from nsc import format as bitstream
from runs.saved_model import SavedModel, save_model
from tests.helpers.places import ROOT

RunCodec = Callable[..., int]


@pytest.fixture(scope="module")
def check_dir(tmp_path_factory: pytest.TempPathFactory, coding_model: SavedModel) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    save_model(folder / "20261122-204500-0badcafe", "first", coding_model.cascade, coding_model.tables, 2)
    return folder


@pytest.fixture
def place(tmp_path: Path, real_speech: NDArray[np.float32]) -> Path:
    soundfile.write(tmp_path / "speech.wav", real_speech, 16_000, subtype="PCM_16")
    return tmp_path


@pytest.fixture
def run(check_dir: Path, coding_model: SavedModel, place: Path, monkeypatch: pytest.MonkeyPatch) -> RunCodec:
    monkeypatch.chdir(place)

    def run_codec(*arguments: str) -> int:
        model = ["--model", coding_model.digest] if "info" not in arguments else []
        return codec.main([*arguments, "--check_dir", str(check_dir), *([] if "--model" in arguments else model)])

    return run_codec


def test_speech_becomes_a_file_and_the_file_speech(run: RunCodec, place: Path, coding_model: SavedModel) -> None:
    assert run("speech.wav", "speech.nsc") == 0
    assert run("speech.nsc", "decoded.wav") == 0
    reference, _ = soundfile.read("speech.wav", dtype="float32")
    decoded, rate = soundfile.read("decoded.wav", dtype="float32")
    assert rate == 16_000
    assert len(decoded) == len(reference)
    expected = codec.decode(codec.encode(reference, coding_model), coding_model).signal
    assert decoded == pytest.approx(np.clip(expected, -1, 1), abs=1 / 32768)
    assert sorted(path.name for path in place.iterdir()) == ["decoded.wav", "speech.nsc", "speech.wav"]


def test_the_model_of_a_file_is_found_by_its_hash(run: RunCodec, check_dir: Path) -> None:
    run("speech.wav", "speech.nsc")
    assert codec.main(["speech.nsc", "decoded.wav", "--check_dir", str(check_dir)]) == 0


@pytest.mark.parametrize("name", ["{digest}", "20261122-204500-0badcafe/stages/first"])
def test_a_model_goes_by_its_hash_or_its_folder(check_dir: Path, coding_model: SavedModel, name: str) -> None:
    name = name.format(digest=coding_model.digest)
    wanted = name if "/" not in name else str(check_dir / name)
    assert codec.find_model(wanted, check_dir) == check_dir / "20261122-204500-0badcafe/stages/first"


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44_100, 2), (48_000, 3)])
def test_other_rates_and_channels_are_converted_with_a_note(
    run: RunCodec, real_speech: NDArray[np.float32], rate: int, channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = np.repeat(real_speech[: rate // 2, None], channels, axis=1)
    soundfile.write("other.wav", samples, rate)
    assert run("other.wav", "other.nsc") == 0
    assert f"{rate} Hz and {channels} channels become 16 kHz mono" in capsys.readouterr().err
    assert codec.info(Path("other.nsc").read_bytes()).header.num_samples == round(len(samples) * 16_000 / rate)


def test_info_tells_where_every_byte_goes_and_what_the_model_costs(
    run: RunCodec, capsys: pytest.CaptureFixture[str], coding_model: SavedModel, real_speech: NDArray[np.float32]
) -> None:
    run("speech.wav", "speech.nsc")
    capsys.readouterr()
    assert run("info", "speech.nsc") == 0
    shown = capsys.readouterr().out
    size, seconds = Path("speech.nsc").stat().st_size, len(real_speech) / 16_000
    for word in (coding_model.digest, "header", "gain", "lpc", "codec 1", "codec 2", "498 ms", "parameters"):
        assert word in shown
    assert f"{8 * size / 1000 / seconds:.3f} kbps" in shown
    assert f"{coding_model.cascade.count_params():,} parameters" in shown
    run("truncate", "speech.nsc", "small.nsc", "--layers", "1")
    run("info", "small.nsc")
    codecs = coding_model.cascade.codecs
    fewer = coding_model.cascade.count_params() - codecs[1].count_params()
    assert f"{fewer:,} parameters" in capsys.readouterr().out
    found = codec.info(Path("speech.nsc").read_bytes())
    assert sum(found.bytes.values()) == size
    assert found.kbps() == pytest.approx(8 * size / 1000 / seconds)


def test_a_file_is_cut_to_one_layer_and_still_decodes(run: RunCodec) -> None:
    run("speech.wav", "speech.nsc")
    run("speech.wav", "first.nsc", "--layers", "1")
    assert run("truncate", "speech.nsc", "small.nsc", "--layers", "1") == 0
    assert Path("small.nsc").read_bytes() == Path("first.nsc").read_bytes()
    assert run("small.nsc", "small.wav") == 0
    assert run("speech.nsc", "depth_1.wav", "--layers", "1") == 0
    assert Path("small.wav").read_bytes() == Path("depth_1.wav").read_bytes()


def test_lost_groups_are_named(run: RunCodec, capsys: pytest.CaptureFixture[str]) -> None:
    run("speech.wav", "speech.nsc")
    assert run("speech.nsc", "lossy.wav", "--loss", "0.4", "--burst", "2", "--seed", "3") == 0
    assert "groups lost and concealed" in capsys.readouterr().err
    assert soundfile.info("lossy.wav").frames == soundfile.info("speech.wav").frames


def test_standard_input_and_output_carry_both_directions(place: Path, check_dir: Path) -> None:
    options = ["--check_dir", str(check_dir), "--model", str(next(check_dir.glob("*/stages/first")))]
    command = [sys.executable, str(ROOT / "codec.py"), "-", "-", *options]
    speech = (place / "speech.wav").read_bytes()
    data = subprocess.run(command, input=speech, capture_output=True, check=True).stdout
    assert bitstream.unpack_header(data).layers == 2
    wav = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    assert soundfile.info(io.BytesIO(wav)).frames == soundfile.info(place / "speech.wav").frames


def test_the_command_imports_nothing_slow_that_it_does_not_need() -> None:
    script = "import sys, codec, utilities; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not {"scipy.signal", "matplotlib", "tensorflow"} & set(loaded.split())


def write(name: str, data: bytes) -> str:
    Path(name).write_bytes(data)
    return name


MISTAKES = {
    "neither side is .nsc": (lambda: ["speech.wav", "decoded.wav"], "expected one file that ends in .nsc"),
    "both sides are .nsc": (lambda: ["a.nsc", "b.nsc"], "expected speech on one side"),
    "one name only": (lambda: ["speech.wav"], "expected 2 file names, found 1"),
    "an unknown flag": (lambda: ["speech.wav", "a.nsc", "--layer", "1"], "--help shows"),
    "a number that is none": (lambda: ["speech.wav", "a.nsc", "--layers", "one"], "invalid int value"),
    "no such input": (lambda: ["none.nsc", "a.wav"], "expected a file none.nsc"),
    "no such speech": (lambda: ["none.wav", "a.nsc"], "none.wav: expected an audio file"),
    "empty speech": (lambda: [write("empty.wav", b""), "a.nsc"], "empty.wav: expected"),
    "not an .nsc file": (lambda: [write("x.nsc", b"RIFF"), "a.wav"], "expected an .nsc file"),
    "another version": (lambda: [write("x.nsc", b"NSC\x07"), "a.wav"], "expected version 1"),
    "an unknown model": (
        lambda: [
            write("x.nsc", bitstream.pack_header(bitstream.Header("01234567", 9, 1, True, 1))),
            "a.wav",
            "--model",
            "01234567",
        ],
        "01234567",
    ),
    "decoded speech that is no wav": (
        lambda: [write("x.nsc", bitstream.pack_header(bitstream.Header("0" * 8, 9, 1, True, 1))), "a.mp3"],
        "expected a name that ends in .wav",
    ),
    "truncation without layers": (lambda: ["truncate", "speech.wav", "a.nsc"], "expected --layers"),
    "too many layers": (lambda: ["speech.wav", "a.nsc", "--layers", "3"], "expected 1 to 2 layers"),
    "an impossible channel": (
        lambda: [
            write("x.nsc", bitstream.pack_header(bitstream.Header("0" * 8, 9, 1, True, 1))),
            "a.wav",
            "--loss",
            "2",
        ],
        "expected a loss",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_status_two(
    run: RunCodec, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = MISTAKES[mistake]
    assert run(*arguments()) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("codec.py: ")
    assert message in shown
    assert "\n" not in shown
    assert not Path("a.nsc").exists()
    assert not Path("a.wav").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_one_clear_line(
    run: RunCodec, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("nan.wav", np.array([0.0, value]), 16_000, subtype="FLOAT")
    assert run("nan.wav", "a.nsc") == 2
    assert "nan.wav: expected finite samples, found NaN or infinity" in capsys.readouterr().err
    assert not Path("a.nsc").exists()


def test_speech_that_is_cut_off_is_one_clear_line(
    run: RunCodec, real_speech: NDArray[np.float32], capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("cut.flac", real_speech, 16_000)
    Path("cut.flac").write_bytes(Path("cut.flac").read_bytes()[:20_000])
    assert run("cut.flac", "a.nsc") == 2
    shown = capsys.readouterr().err.strip()
    assert f"cut.flac: expected {len(real_speech)} samples, found" in shown
    assert "\n" not in shown


def test_an_hour_of_speech_is_read_minute_by_minute(
    run: RunCodec, coding_model: SavedModel, real_speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "SAMPLE_BLOCK", 5000)
    assert run("speech.wav", "speech.nsc") == 0
    speech, _ = soundfile.read("speech.wav", dtype="float32")
    assert Path("speech.nsc").read_bytes() == codec.encode(speech, coding_model)
