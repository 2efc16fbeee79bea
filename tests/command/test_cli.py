import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import nsc
from nsc import cli, recording
from nsc import format as bitstream
from nsc.format.version_1 import Header
from runs.saved_model import SavedModel
from tests.helpers.clumsy import STOPS
from tests.helpers.places import ROOT

RunCommand = Callable[..., int]


@pytest.fixture
def place(tmp_path: Path, real_speech: NDArray[np.float32]) -> Path:
    soundfile.write(tmp_path / "speech.wav", real_speech, 16_000, subtype="PCM_16")
    return tmp_path


@pytest.fixture
def run(codec_folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """The command in a folder of its own; it finds the model `tiny` by name and codes with it."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("NSC_MODELS", str(codec_folder.parent))
    monkeypatch.setattr(cli, "DEFAULT_MODEL", "tiny")
    return lambda *arguments: cli.main(list(arguments))


def test_speech_becomes_a_file_and_the_file_speech(run: RunCommand, place: Path) -> None:
    assert run("speech.wav", "speech.nsc") == 0
    assert run("speech.nsc", "decoded.wav") == 0
    reference, _ = soundfile.read("speech.wav", dtype="float32")
    decoded, rate = soundfile.read("decoded.wav", dtype="float32")
    assert rate == 16_000
    assert len(decoded) == len(reference)
    expected = nsc.decode(nsc.encode(reference, "tiny")).signal
    assert decoded == pytest.approx(np.clip(expected, -1, 1), abs=1 / 32768)
    assert sorted(path.name for path in place.iterdir()) == ["decoded.wav", "speech.nsc", "speech.wav"]


def test_outputs_have_names_by_default(run: RunCommand, place: Path) -> None:
    assert run("speech.wav") == 0
    assert run("truncate", "speech.nsc", "--layers", "1") == 0
    assert run("decode", "speech-1.nsc") == 0
    names = ["speech-1.nsc", "speech-1.wav", "speech.nsc", "speech.wav"]
    assert sorted(path.name for path in place.iterdir()) == names


def test_nothing_is_overwritten_unless_it_is_asked_for(run: RunCommand, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("speech.wav") == 0
    before = Path("speech.nsc").read_bytes()
    assert run("encode", "speech.wav", "speech.nsc", "--layers", "1") == 2
    assert "speech.nsc exists; --force" in capsys.readouterr().err
    assert Path("speech.nsc").read_bytes() == before
    assert run("encode", "speech.wav", "speech.nsc", "--layers", "1", "--force") == 0
    assert Path("speech.nsc").read_bytes() != before
    assert run("truncate", "speech.nsc", "speech.nsc", "--layers", "1", "--force") == 2
    assert "is the input itself" in capsys.readouterr().err


def test_a_file_that_is_called_like_a_command_can_be_coded(run: RunCommand) -> None:
    Path("speech.wav").rename("info")
    assert run("encode", "info", "info.nsc") == 0
    assert run("./info", "again.nsc") == 0
    assert Path("again.nsc").read_bytes() == Path("info.nsc").read_bytes()


def test_a_model_goes_by_its_name_its_hash_or_its_folder(
    run: RunCommand, codec_folder: Path, coding_model: SavedModel
) -> None:
    for number, name in enumerate(("tiny", coding_model.digest, str(codec_folder))):
        assert run("encode", "speech.wav", f"{number}.nsc", "--model", name) == 0
    assert len({Path(f"{number}.nsc").read_bytes() for number in range(3)}) == 1


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44_100, 2), (48_000, 3)])
def test_other_rates_and_channels_are_converted_with_a_note(
    run: RunCommand, real_speech: NDArray[np.float32], rate: int, channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = np.repeat(real_speech[: rate // 2, None], channels, axis=1)
    soundfile.write("other.wav", samples, rate)
    assert run("other.wav", "other.nsc") == 0
    assert f"{rate} Hz and {channels} channels become 16 kHz mono" in capsys.readouterr().err
    assert nsc.info(Path("other.nsc").read_bytes()).header.num_samples == round(len(samples) * 16_000 / rate)


def test_info_tells_where_every_byte_goes_and_what_the_model_costs(
    run: RunCommand, capsys: pytest.CaptureFixture[str], coding_model: SavedModel, real_speech: NDArray[np.float32]
) -> None:
    run("speech.wav", "speech.nsc")
    capsys.readouterr()
    assert run("info", "speech.nsc") == 0
    shown = capsys.readouterr().out
    size, seconds = Path("speech.nsc").stat().st_size, len(real_speech) / 16_000
    for word in (coding_model.digest, "tiny", "header", "gain", "lpc", "codec 1", "codec 2", "498 ms", "parameters"):
        assert word in shown
    assert f"{8 * size / 1000 / seconds:.3f} kbps" in shown
    assert f"{coding_model.cascade.count_params():,} parameters" in shown
    run("truncate", "speech.nsc", "small.nsc", "--layers", "1")
    run("info", "small.nsc")
    codecs = coding_model.cascade.codecs
    fewer = coding_model.cascade.count_params() - codecs[1].count_params()
    assert f"{fewer:,} parameters" in capsys.readouterr().out
    found = nsc.info(Path("speech.nsc").read_bytes())
    assert sum(found.bytes.values()) == size
    assert found.kbps() == pytest.approx(8 * size / 1000 / seconds)


@pytest.mark.parametrize(("kbps", "reached"), [("12", True), ("2", False), ("60", False)])
def test_a_rate_is_that_of_the_api_and_named_where_no_step_size_gives_it(
    run: RunCommand, kbps: str, reached: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("speech.wav", "--model", "cq", "--kbps", kbps) == 0
    assert (f"asked for {kbps} kbps; no step size" in capsys.readouterr().err) is not reached
    speech, _ = soundfile.read("speech.wav", dtype="float32")
    assert Path("speech.nsc").read_bytes() == nsc.encode(speech, "cq", kbps=float(kbps))


def test_models_are_listed(run: RunCommand, capsys: pytest.CaptureFixture[str], coding_model: SavedModel) -> None:
    assert run("models") == 0
    shown = capsys.readouterr().out
    for word in ("cq-9k", "cq-16k", "cq-24k", "tiny", coding_model.digest):
        assert word in shown


def test_a_file_is_cut_to_one_layer_and_still_decodes(run: RunCommand) -> None:
    run("speech.wav", "speech.nsc")
    run("speech.wav", "first.nsc", "--layers", "1")
    assert run("truncate", "speech.nsc", "small.nsc", "--layers", "1") == 0
    assert Path("small.nsc").read_bytes() == Path("first.nsc").read_bytes()
    assert run("small.nsc", "small.wav") == 0
    assert run("speech.nsc", "depth_1.wav", "--layers", "1") == 0
    assert Path("small.wav").read_bytes() == Path("depth_1.wav").read_bytes()


def test_a_file_of_long_groups_becomes_packets(run: RunCommand, capsys: pytest.CaptureFixture[str]) -> None:
    run("speech.wav", "speech.nsc", "--model", "cq", "--frames_per_group", "4")
    assert run("regroup", "speech.nsc", "--refresh", "5") == 0
    data = Path("speech.nsc").read_bytes()
    assert Path("speech-regrouped.nsc").read_bytes() == nsc.regroup(data, refresh=5)
    assert run("regroup", "speech.nsc", "16.nsc", "--frames_per_group", "16") == 2
    assert "choose shorter groups" in capsys.readouterr().err and not Path("16.nsc").exists()


def test_lost_groups_are_named(run: RunCommand, capsys: pytest.CaptureFixture[str]) -> None:
    run("speech.wav", "speech.nsc")
    assert run("speech.nsc", "lossy.wav", "--loss", "0.4", "--burst", "2", "--seed", "3") == 0
    assert "groups lost and concealed" in capsys.readouterr().err
    assert soundfile.info("lossy.wav").frames == soundfile.info("speech.wav").frames


def test_pipes_carry_both_directions(place: Path, codec_folder: Path) -> None:
    command = [sys.executable, "-m", "nsc"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NSC_MODELS": str(codec_folder.parent)}
    speech = (place / "speech.wav").read_bytes()
    encode = [*command, "encode", "-", "-", "--model", "tiny"]
    data = subprocess.run(encode, input=speech, capture_output=True, check=True, env=environment).stdout
    assert bitstream.unpack_header(data).layers == 2
    decode = [*command, "decode", "/dev/stdin", "/dev/stdout"]
    wav = subprocess.run(decode, input=data, capture_output=True, check=True, env=environment).stdout
    assert soundfile.info(io.BytesIO(wav)).frames == soundfile.info(place / "speech.wav").frames


def test_a_named_pipe_is_read_and_written_like_a_file(run: RunCommand) -> None:
    os.mkfifo("in.wav")
    os.mkfifo("out.nsc")
    speech, found = Path("speech.wav").read_bytes(), list[bytes]()
    ends = [
        threading.Thread(target=lambda: Path("in.wav").write_bytes(speech)),
        threading.Thread(target=lambda: found.append(Path("out.nsc").read_bytes())),
    ]
    for end in ends:
        end.start()
    assert run("in.wav", "out.nsc") == 0
    for end in ends:
        end.join()
    assert run("speech.wav", "speech.nsc") == 0
    assert found == [Path("speech.nsc").read_bytes()]


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in ("encode", "decode", "regroup"))])
def test_the_help_fits_a_screen(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) < 30


def write(name: str, data: bytes) -> str:
    Path(name).write_bytes(data)
    return name


def loud(name: str) -> str:
    """Floating-point speech in units of 16 bits."""
    soundfile.write(name, np.full(1000, 20_000.0), 16_000, subtype="FLOAT")
    return name


def nsc_file(model: str = "0" * 8) -> str:
    return write("x.nsc", bitstream.pack_header(Header(model, 9, 1, True, 1)))


def model_without(name: str) -> str:
    """A copy of the model without a file, or with a changed description."""
    folder = Path("broken")
    folder.mkdir()
    for file in Path(os.environ["NSC_MODELS"], "tiny").iterdir():
        if file.name != name:
            (folder / file.name).write_bytes(file.read_bytes())
    return str(folder)


def model_of_another_layout() -> str:
    folder = Path(model_without("none"))
    description = (folder / "codec.json").read_text()
    (folder / "codec.json").write_text(description.replace('"layout": 1', '"layout": 9'))
    return str(folder)


MISTAKES = {
    "neither side is .nsc": (
        lambda: ["speech.wav", "decoded.wav"],
        "one of the two files must end in .nsc (got speech.wav",
    ),
    "both sides are .nsc": (lambda: ["a.nsc", "b.nsc"], "expected speech on one side"),
    "three names": (lambda: ["a.wav", "b.nsc", "c"], "expected an input and an output, found 3 names"),
    "pipes without a command": (lambda: ["-", "-"], "say nsc encode or nsc decode"),
    "an unknown flag": (
        lambda: ["speech.wav", "a.nsc", "--layer", "1"],
        "unknown flag --layer; did you mean --layer",
    ),
    "an unknown flag with a value": (lambda: ["speech.wav", "a.nsc", "--bitrate=12"], "unknown flag --bitrate"),
    "another codec's flag": (lambda: ["speech.wav", "a.nsc", "-q", "5"], "unknown flag -q"),
    "this folder": (lambda: ["."], "argument input: expected the name of a file, found '.'; name a file in it"),
    "no name": (lambda: [""], "argument input: expected the name of a file, found ''"),
    "the root": (lambda: ["/"], "argument input: expected the name of a file, found '/'"),
    "the folder above": (lambda: [".."], "expected"),
    "a zero in a name": (lambda: ["a\0b.wav"], "argument input: expected the name of a file, found 'a\\x00b.wav'"),
    "a folder as input": (lambda: [str(Path.cwd())], "expected an audio file, found a folder"),
    "a name that is too long": (lambda: ["x" * 5000 + ".wav", "a.nsc"], "File name too long; choose a"),
    "coded speech under another name": (lambda: ["encode", "speech.wav", "a.opus"], "ends in .nsc for coded speech, f"),
    "no rate": (lambda: ["speech.wav", "a.nsc", "--kbps", "0"], "argument --kbps: expected a number above 0, at most"),
    "a rate that is none": (lambda: ["speech.wav", "a.nsc", "--kbps", "nan"], "at most 1000, found 'nan'"),
    "an infinite rate": (lambda: ["speech.wav", "a.nsc", "--kbps", "inf"], "at most 1000, found 'inf'"),
    "a rate of 10^308": (lambda: ["speech.wav", "a.nsc", "--cbr", "--kbps", "1e308"], "at most 1000, found '1e308'"),
    "quality and a rate": (
        lambda: ["speech.wav", "a.nsc", "--quality", "5", "--kbps", "12"],
        "expected quality or kbps, found both",
    ),
    "quality and a bound": (lambda: ["speech.wav", "a.nsc", "--quality", "5", "--cbr"], "expected quality or a bound"),
    "a bound without a rate": (lambda: ["speech.wav", "a.nsc", "--cbr"], "expected kbps with a bounded rate"),
    "a bound that no group keeps": (
        lambda: ["speech.wav", "a.nsc", "--model", "cq", "--kbps", "2", "--cbr"],
        "expected groups of at most 2 kbps, found",
    ),
    "layers of 5000 digits": (lambda: ["speech.wav", "a.nsc", "--layers", "9" * 5000], "from 1 to 63, found '9999"),
    "no port": (lambda: ["demo", "--port", "70000"], "argument --port: expected a whole number from 0 to 65535"),
    "speech on another scale": (lambda: [loud("loud.wav"), "a.nsc"], "loud.wav: expected samples from -1 to 1, found"),
    "a flag of the other direction": (lambda: ["speech.wav", "a.nsc", "--loss", "0.5"], "unrecognized arguments"),
    "a burst without a loss": (lambda: [nsc_file(), "a.wav", "--burst", "2"], "--burst, --seed: only with --loss"),
    "a number that is none": (lambda: ["speech.wav", "a.nsc", "--layers", "one"], "from 1 to 63, found 'one'"),
    "no such input": (lambda: ["none.nsc", "a.wav"], "expected a file none.nsc"),
    "no such speech": (lambda: ["none.wav", "a.nsc"], "none.wav: expected an audio file"),
    "empty speech": (lambda: [write("empty.wav", b""), "a.nsc"], "empty.wav: expected"),
    "not an .nsc file": (lambda: [write("x.nsc", b"RIFF"), "a.wav"], "expected an .nsc file"),
    "another version": (lambda: [write("x.nsc", b"NSC\x07"), "a.wav"], "expected version 1"),
    "the model of a file is unknown": (lambda: [nsc_file("01234567"), "a.wav"], "the file needs model 01234567"),
    "a misspelt model": (lambda: ["speech.wav", "a.nsc", "--model", "cq-24"], "did you mean cq-24k?"),
    "decoded speech that is no wav": (
        lambda: [nsc_file(), "a.mp3"],
        "ends in .wav or .flac or .ogg for decoded speech, found a.mp3",
    ),
    "truncation without layers": (lambda: ["truncate", "speech.wav", "a.nsc"], "--layers"),
    "too many layers": (lambda: ["speech.wav", "a.nsc", "--layers", "3"], "expected 1 to 2 layers"),
    "an impossible channel": (
        lambda: [nsc_file(), "a.wav", "--loss", "2"],
        "argument --loss: expected a number",
    ),
    "a folder as output": (lambda: ["encode", "speech.wav", "."], "found '.'; name a file in it"),
    "a place where nothing can be written": (
        lambda: ["speech.wav", f"{write('file', b'')}/a.nsc"],
        "cannot be written",
    ),
    "a missing graph": (
        lambda: ["speech.wav", "a.nsc", "--model", model_without("encoder.tflite")],
        "encoder.tflite cannot be read",
    ),
    "a model of another layout": (
        lambda: ["speech.wav", "a.nsc", "--model", model_of_another_layout()],
        "another layout",
    ),
    "a model without graphs": (
        lambda: ["speech.wav", "a.nsc", "--model", str(next(ROOT.glob("nsc/pretrained/*/stages/*")))],
        "python -m export",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_status_two(
    run: RunCommand, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = MISTAKES[mistake]
    assert run(*arguments()) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("nsc: ")
    assert message in shown
    assert "\n" not in shown
    assert not Path("a.nsc").exists()
    assert not Path("a.wav").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_one_clear_line(
    run: RunCommand, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("nan.wav", np.array([0.0, value]), 16_000, subtype="FLOAT")
    assert run("nan.wav", "a.nsc") == 2
    assert "nan.wav: contains NaN or infinite samples" in capsys.readouterr().err
    assert not Path("a.nsc").exists()


def test_speech_that_is_cut_off_is_one_clear_line(
    run: RunCommand, real_speech: NDArray[np.float32], capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("cut.flac", real_speech, 16_000)
    Path("cut.flac").write_bytes(Path("cut.flac").read_bytes()[:20_000])
    assert run("cut.flac", "a.nsc") == 2
    shown = capsys.readouterr().err.strip()
    assert f"cut.flac: expected {len(real_speech)} samples, found" in shown
    assert "\n" not in shown


def test_an_hour_of_speech_is_read_in_blocks(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "BLOCK_SECONDS", 1)
    assert run("speech.wav", "speech.nsc") == 0
    speech, _ = soundfile.read("speech.wav", dtype="float32")
    assert Path("speech.nsc").read_bytes() == nsc.encode(speech, "tiny")


def test_a_graph_with_another_hash_is_refused(run: RunCommand, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(model_without("none"))
    graph = bytearray((folder / "encoder.tflite").read_bytes())
    graph[-1] ^= 1
    (folder / "encoder.tflite").write_bytes(graph)
    assert run("speech.wav", "a.nsc", "--model", str(folder)) == 2
    assert "does not have the hash" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["decoded.flac", "decoded.OGG"])
def test_speech_is_decoded_into_the_container_of_its_name(run: RunCommand, name: str) -> None:
    assert run("speech.wav", "speech.nsc") == 0
    assert run("speech.nsc", name) == 0
    assert run("speech.nsc", "decoded.wav") == 0
    expected, found = soundfile.read("decoded.wav")[0], soundfile.read(name)[0]
    assert soundfile.info(name).format == Path(name).suffix[1:].upper()
    assert len(found) == len(expected)
    if name.endswith("flac"):
        assert np.array_equal(found, expected)
    else:
        assert np.corrcoef(found, expected)[0, 1] > 0.8  # untrained codes are noise to Vorbis


@pytest.mark.parametrize("name", ["full.wav", "full.flac", "full.ogg"])
def test_a_full_disk_is_one_line_in_every_container(
    run: RunCommand, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("speech.wav", "speech.nsc") == 0
    capsys.readouterr()
    full, opened = os.open("/dev/full", os.O_WRONLY), os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda descriptor, mode: opened(full, mode))
    assert run("speech.nsc", name) == 2
    shown = capsys.readouterr().err
    assert f"{name} cannot be written (No space left on device)" in shown
    assert shown.count("\n") == 1


def test_samples_just_beyond_full_scale_are_clipped_with_a_note(
    run: RunCommand, real_speech: NDArray[np.float32], capsys: pytest.CaptureFixture[str]
) -> None:
    peak = 1.74 * real_speech / np.abs(real_speech).max()
    soundfile.write("hot.wav", peak, 16_000, subtype="FLOAT")
    assert run("hot.wav", "hot.nsc") == 0
    assert "hot.wav: samples of up to 1.74 times full scale are clipped\n" in capsys.readouterr().err
    assert Path("hot.nsc").read_bytes() == nsc.encode(np.clip(peak, -1, 1).astype(np.float32), "tiny")


def test_names_are_escaped_in_every_line(run: RunCommand, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b]0;title\x07\n.wav"
    soundfile.write(name, np.zeros((4000, 2)), 8000, format="WAV")
    assert run(name, "b\x1b[31m.nsc") == 0
    assert run("b\x1b[31m.nsc", "c\x1b[31m.wav") == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.err and "\x07" not in printed.err
    assert "a\\x1b]0;title\\x07\\n.wav: 8000 Hz and 2 channels" in printed.err
    assert printed.err.count("\n") == 3


def test_a_folder_of_models_with_an_odd_name_is_escaped_in_the_list(
    run: RunCommand,
    codec_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "my\x1b[31mmodels"
    shutil.copytree(codec_folder, place / "tiny")
    monkeypatch.setenv("NSC_MODELS", str(place))
    assert run("models") == 0
    shown = capsys.readouterr().out
    assert "my\\x1b[31mmodels" in shown and "\x1b" not in shown


def test_more_layers_than_the_model_has_are_told_by_info(run: RunCommand, capsys: pytest.CaptureFixture[str]) -> None:
    digest = next(each.digest for each in nsc.models() if each.name == "cq-9k")
    write("x.nsc", bitstream.pack_header(Header(digest, 9000, 3, True, 1)))
    assert run("info", "x.nsc") == 0
    assert "3 layers, of which the model has 1: it cannot be decoded" in capsys.readouterr().out


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_coding_is_and_how_long_the_rest_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = [np.zeros(60 * 16_000, np.float32)] * 4
    times = iter(range(0, 10_000, 1800))
    monkeypatch.setattr(cli.time, "monotonic", lambda: float(next(times)))
    monkeypatch.setattr(cli.sys, "stderr", screen := Screen())
    progress = cli._Progress(minutes, 4 * 60 * 16_000)
    assert len(list(progress)) == 4
    shown = [line.strip() for line in screen.getvalue().split("\r")]
    assert [line for line in shown if line] == [
        *("25 %, 1:30:00 left", "50 %, 1:00:00 left", "75 %, 30:00 left", "100 %, 0:00 left")
    ]
    times, before = iter(range(100_000)), len(screen.getvalue())
    list(progress)
    assert "pass 2:  25 %, 0:03 left" in screen.getvalue()[before:]
    monkeypatch.setattr(cli.sys, "stderr", pipe := io.StringIO())
    assert len(list(progress)) == 4 and not pipe.getvalue()


def test_a_terminal_tells_that_a_recording_is_read(
    run: RunCommand, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr(cli.sys, "stderr", screen)
    assert run("encode", str(place / "speech.wav"), "--force") == 0
    assert screen.getvalue().startswith(f"\r{'reading':40}\r\r{'':40}\r")


@pytest.mark.parametrize(("name", "status"), STOPS)
def test_a_signal_while_encoding_leaves_nothing_half_written(
    run: RunCommand,
    place: Path,
    name: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(blocks: Any, total: int) -> Any:
        yield next(iter(blocks))
        assert list(place.glob(".speech.nsc.*.part"))
        signal.raise_signal(signal.Signals[name])

    monkeypatch.setattr(cli, "_Progress", stopped)
    assert run("speech.wav", "speech.nsc") == status
    assert capsys.readouterr().err == "nsc: stopped\n"
    assert [path.name for path in place.iterdir()] == ["speech.wav"]
