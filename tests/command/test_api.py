"""The face of `nsc`: what a user of a trained model sees."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal as scipy_signal

import nsc
from nsc.coding.filters import HighPass, high_pass_coefficients
from nsc.format import HEADER_BYTES, pack_header, unpack_header
from tests.helpers.places import CORPUS, ROOT
from utilities import high_pass_sections

Signal = NDArray[np.float32]


def modules_after(program: str) -> set[str]:
    """What a process has imported in the end."""
    script = f"{program}\nimport sys; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.split()
    )


@pytest.fixture(scope="module")
def model() -> nsc.Model:
    return nsc.load("cq-9k")


def test_everything_that_is_promised_is_there() -> None:
    assert {"load", "models", "encode", "decode", "info", "Encoder", "Decoder"} <= set(nsc.__all__)
    for name in nsc.__all__:
        assert getattr(nsc, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'encoder'"):
        nsc.encoder  # noqa: B018


def test_models_have_names_hashes_and_costs() -> None:
    models = {each.name: each for each in nsc.models()}
    assert list(models)[:6] == ["cq", "cq-1", "cq-2", "cq-9k", "cq-16k", "cq-24k"]
    assert [name for name, each in models.items() if not each.encodes] == [
        "cq-1",
        "cq-2",
        "cq-16k",
        "cq-24k",
        "cq-scalable-1",
    ]
    for each in models.values():
        assert nsc.load(each.digest).digest == each.digest
        assert each.parameters[-1] < 1_000_000


def test_speech_goes_to_bytes_and_back(model: nsc.Model, real_speech: Signal) -> None:
    data = nsc.encode(real_speech, model)
    assert data == nsc.encode(real_speech.astype(np.float64), "cq-9k")
    signal, damage = nsc.decode(data)
    assert not damage
    assert signal.dtype == np.float32 and len(signal) == len(real_speech)
    assert nsc.info(data).kbps() < 12


def test_a_stream_is_a_file(model: nsc.Model, real_speech: Signal) -> None:
    encoder, decoder = nsc.Encoder(model, num_samples=len(real_speech)), nsc.Decoder(model)
    blocks = [encoder.write(real_speech[start : start + 1000]) for start in range(0, len(real_speech), 1000)]
    data = b"".join([*blocks, encoder.finish()])
    assert data == nsc.encode(real_speech, model)
    found = np.concatenate([decoder.write(data), decoder.finish()])
    assert np.array_equal(found, nsc.decode(data, model).signal)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(100, np.int16), "divide by full scale"),
        (np.zeros((2, 100)), "one channel"),
        (np.array([np.nan]), "NaN"),
        (np.float32(0), "one channel"),
    ],
)
def test_samples_that_are_no_speech_are_a_clear_error(model: nsc.Model, samples: Signal, message: str) -> None:
    with pytest.raises(nsc.UserError, match=message):
        nsc.encode(samples, model)


def test_a_file_of_an_unknown_model_is_a_clear_error(model: nsc.Model, real_speech: Signal) -> None:
    data = nsc.encode(real_speech[:8000], model)
    with pytest.raises(nsc.BitstreamError, match="give that model"):
        nsc.decode(data, "cq-16k")


@pytest.mark.parametrize(("own", "other"), [("cq", "cq-9k"), ("cq-9k", "cq"), ("cq", "cq-scalable")])
def test_symbols_and_code_lengths_of_another_models_file_are_refused(own: str, other: str, real_speech: Signal) -> None:
    model, data = nsc.load(own), nsc.encode(real_speech[:8000], other)
    for call in (model.symbols, model.code_lengths):
        with pytest.raises(nsc.BitstreamError, match=f"expected a file of model {model.digest}, found one of model"):
            call(data)
    header: Any = unpack_header(data)
    relabelled = pack_header(header._replace(model=model.digest)) + data[HEADER_BYTES:]
    for call in (model.symbols, model.code_lengths):
        if other != "cq-scalable":
            with pytest.raises(nsc.BitstreamError, match="expected the parts of model"):
                call(relabelled)


def test_coding_needs_neither_tensorflow_nor_scipy() -> None:
    clip = sorted(CORPUS.rglob("*.flac"))[0]
    program = f"import nsc, nsc.cli, soundfile\nx, _ = soundfile.read({str(clip)!r}, dtype='float32')\n"
    loaded = modules_after(program + "nsc.decode(nsc.encode(x, 'cq-9k'))")
    assert not {"tensorflow", "keras", "scipy", "utilities", "constants", "cmrl", "runs"} & loaded
    assert {"ai_edge_litert", "constriction"} <= loaded


def test_info_does_not_wait_for_numpy(tmp_path: Path, model: nsc.Model, real_speech: Signal) -> None:
    (tmp_path / "speech.nsc").write_bytes(nsc.encode(real_speech, model))
    loaded = modules_after(f"from nsc.cli import main\nmain(['info', {str(tmp_path / 'speech.nsc')!r}])")
    assert not {"numpy", "soundfile", "ai_edge_litert", "constriction"} & loaded


def test_without_litert_a_model_says_what_to_install(real_speech: Signal) -> None:
    program = (
        "import sys; sys.modules['ai_edge_litert.interpreter'] = None\n"
        "import nsc, numpy\n"
        "try:\n    nsc.encode(numpy.zeros(100, 'f4'))\nexcept nsc.UserError as error:\n    print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "pip install ai-edge-litert" in found.stdout


def test_the_high_pass_is_that_of_training(real_speech: Signal) -> None:
    assert np.concatenate(high_pass_coefficients()) == pytest.approx(high_pass_sections()[0], rel=1e-12)
    filtered, expected = HighPass(), scipy_signal.sosfilt(high_pass_sections(), real_speech)
    blocks = [filtered(real_speech[start : start + 999]) for start in range(0, len(real_speech), 999)]
    assert np.concatenate(blocks) == pytest.approx(expected, abs=1e-7)


def test_models_are_listed_whatever_was_imported_before() -> None:
    code = "import nsc, nsc.loading.find; nsc.load('cq'); print('cq' in [model.name for model in nsc.models()])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout == "True\n"
