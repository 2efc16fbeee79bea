import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from export import __main__ as command
from export import codec_folder, device
from kinds.samples import batch as feed_forward
from kinds.samples.batch import Coded
from kinds.samples.cascade import SampleCascade
from kinds.samples.graphs import INPUT_LENGTH, PAST, device_graphs
from kinds.samples.rate import integer_tables
from kinds.samples.serving import KerasNetwork
from lpc_utilities import without_float64
from nn_core_operator import Film
from nsc.errors import UserError
from nsc.kinds.samples.network import network_symbols
from runs.saved_model import SavedModel, load_model, save_model
from tests.export.exported import Exported
from tests.helpers.clumsy import STOPS, after
from tests.helpers.coding import CODE_GAIN
from tests.helpers.tiny import config
from utilities import group_levels

Signal = NDArray[np.float32]
SPAN = 7680
TIES = 0.005  # of all symbols: where two entries of a codebook are equally near, rounding decides


def untrained(**changes: Any) -> SampleCascade:
    """Two codecs whose codes fill their bins and whose FiLM layers do something."""
    keras.utils.set_random_seed(1)
    cascade = SampleCascade(config(**({"num_modules": 2, "bins": (9, 7)} | changes)))
    for each in cascade.codecs:
        last = each.encoder.layers[-1]
        last.kernel.assign(last.kernel * CODE_GAIN)
        for layer in (*each.encoder.layers, *each.decoder.layers):
            if isinstance(layer, Film):
                layer.modulation.kernel.assign(
                    0.1 * np.random.default_rng(2).standard_normal(layer.modulation.kernel.shape)
                )
    return cascade


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("check") / "run"
    cascade = untrained(film_units=4)
    counts = {part.name: np.ones((part.shape[1], part.alphabet), np.int64) for part in cascade.parts()}
    save_model(run, "first", cascade, integer_tables(counts), 2)
    return run / "stages" / "first"


@pytest.fixture(scope="module")
def model(model_folder: Path) -> SavedModel:
    return load_model(model_folder)


@pytest.fixture(scope="module")
def folder_of(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every format, each exported once by the command line."""
    pytest.importorskip("ai_edge_litert", reason="LiteRT's interpreter is an optional extra")
    place = tmp_path_factory.mktemp("exports")
    flags = {
        "litert": ["--format", "litert"],
        "savedmodel": ["--format", "savedmodel"],
        "int8": ["--format", "litert", "--weights", "int8"],
    }
    for name, options in flags.items():
        assert command.main([str(place / name), "--model", str(model_folder), *options]) == 0
    assert sorted(path.name for path in place.iterdir()) == sorted(flags)
    return {name: place / name for name in flags}


def library_symbols(cascade: SampleCascade, signal: Signal) -> Coded:
    prepared = feed_forward.prepare(signal, cascade.config)
    symbols = network_symbols(KerasNetwork(cascade), prepared.contexts, cascade.parts())
    return Coded(symbols, prepared.gain_indices, len(signal))


def share_of_differences(found: Coded, expected: Coded) -> float:
    pairs = [(found.symbols[part], expected.symbols[part]) for part in expected.symbols]
    return sum(int((one != other).sum()) for one, other in pairs) / sum(one.size for one, _ in pairs)


@pytest.mark.parametrize("form", ["litert", "savedmodel"])
def test_the_exported_decoder_gives_the_samples_of_the_library(
    form: str, folder_of: dict[str, Path], model: SavedModel, real_speech: Signal
) -> None:
    coded = library_symbols(model.cascade, real_speech)
    expected = feed_forward.decode(model.cascade, coded)[-1]
    assert np.abs(expected).max() > 0.05
    assert Exported(folder_of[form]).decode(coded) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("form", ["litert", "savedmodel"])
def test_the_exported_encoder_gives_the_symbols_of_the_library_but_for_ties(
    form: str, folder_of: dict[str, Path], model: SavedModel, real_speech: Signal
) -> None:
    found, expected = Exported(folder_of[form]).encode(real_speech), library_symbols(model.cascade, real_speech)
    assert np.array_equal(found.gain_indices, expected.gain_indices)
    assert share_of_differences(found, expected) < TIES


@pytest.mark.parametrize("length", [1, 447, 448, 449, SPAN - 32, SPAN - 31, SPAN, 2 * SPAN + 1])
def test_the_end_of_a_signal_is_where_the_library_has_it(
    length: int, folder_of: dict[str, Path], model: SavedModel, real_speech: Signal
) -> None:
    graphs, signal = Exported(folder_of["litert"]), real_speech[8000 : 8000 + length]
    expected = library_symbols(model.cascade, signal)
    found = graphs.encode(signal)
    assert np.array_equal(found.gain_indices, expected.gain_indices)
    assert {part: values.shape for part, values in found.symbols.items()} == {
        part: values.shape for part, values in expected.symbols.items()
    }
    assert share_of_differences(found, expected) < 3 * TIES  # of few symbols
    decoded = graphs.decode(expected)
    assert decoded == pytest.approx(feed_forward.decode(model.cascade, expected)[-1], abs=1e-4)
    assert decoded.shape == (length,)


def test_silence_stays_silence(folder_of: dict[str, Path], model: SavedModel) -> None:
    graphs, silence = Exported(folder_of["litert"]), np.zeros(SPAN, np.float32)
    coded = graphs.encode(silence)
    assert share_of_differences(coded, library_symbols(model.cascade, silence)) < TIES
    assert set(coded.gain_indices) == {0}
    assert np.abs(graphs.decode(coded)).max() < 1e-3


def test_eight_bit_weights_leave_lpc_alone_and_change_the_codecs_little(
    folder_of: dict[str, Path], real_speech: Signal
) -> None:
    small, large = Exported(folder_of["int8"]), Exported(folder_of["litert"])
    sizes = [(folder_of[name] / "decoder.tflite").stat().st_size for name in ("int8", "litert")]
    assert sizes[0] < sizes[1]
    expected = large.encode(real_speech)
    assert np.array_equal(small.encode(real_speech).symbols["lpc"], expected.symbols["lpc"])
    clean, rounded = large.decode(expected), small.decode(expected)
    noise = np.sum(np.square(rounded - clean)) / np.sum(np.square(clean))
    assert 0 < noise < 0.01


def test_fewer_layers_decode_as_they_do_in_the_library(model: SavedModel, real_speech: Signal) -> None:
    signal = real_speech[8000 : 8000 + SPAN - 32]
    expected = library_symbols(model.cascade, signal)
    encoder, decoder = device_graphs(model.cascade, 1).graphs
    assert [port.part for port in encoder.outputs if port.part] == ["lpc", "codec 1"]
    gain, state = tf.constant(expected.gain_indices.astype(np.int32)), tf.zeros(decoder.inputs[-1].shape)
    decoded = decoder.run(gain, expected.symbols["lpc"], expected.symbols["codec 1"], state)["samples"]
    reference = feed_forward.decode(model.cascade, expected)[0]
    assert np.asarray(decoded)[32:] == pytest.approx(reference, abs=1e-4)


@pytest.mark.parametrize("form", ["litert", "int8"])
def test_the_description_tells_names_shapes_and_types(form: str, folder_of: dict[str, Path], model: SavedModel) -> None:
    from ai_edge_litert.interpreter import Interpreter

    description = json.loads((folder_of[form] / "export.json").read_text())
    assert description["model"] == model.digest
    for graph in ("encoder", "decoder"):
        told = description[graph]
        interpreter = Interpreter(str(folder_of[form] / told["file"]))
        signature = interpreter.get_signature_runner(told["signature"])
        for details, ports in (
            (signature.get_input_details(), told["inputs"]),
            (signature.get_output_details(), told["outputs"]),
        ):
            shapes = {
                name: (detail["shape"].tolist(), np.dtype(detail["dtype"]).name) for name, detail in details.items()
            }
            assert shapes == {port["name"]: (port["shape"], port["dtype"]) for port in ports}


def test_a_graph_for_small_devices_holds_no_float64_and_no_foreign_operation(folder_of: dict[str, Path]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for graph in ("encoder", "decoder"):
        interpreter = Interpreter(str(folder_of["litert"] / f"{graph}.tflite"))
        interpreter.allocate_tensors()  # which fails where an operation is not LiteRT's own
        assert np.float64 not in {detail["dtype"] for detail in interpreter.get_tensor_details()}


VARIANTS: dict[str, dict[str, Any]] = {
    "gated": {"block": "gln", "residual": "taper"},
    "bottleneck without LPC": {"block": "bottleneck", "time_domain": True, "mu_law": True, "pre_emphasis": False},
    "vectors": {"quantizer": "vector", "residual": "subframe", "strides": (4,), "bandwidth_expansion": 0.98},
    "one gain an utterance": {"gain": "utterance", "num_modules": 1},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_graphs_of_every_kind_of_model_do_what_the_library_does(name: str, real_speech: Signal) -> None:
    cascade = untrained(**VARIANTS[name])
    signal = real_speech[8000 : 8000 + SPAN - 32]
    expected = library_symbols(cascade, signal)
    gain = tf.constant(group_levels(signal, cascade.config.gain).astype(np.int32))
    encoder, decoder = device_graphs(cascade, len(cascade.codecs)).graphs
    padded = np.pad(signal, (PAST, INPUT_LENGTH - PAST - len(signal)))
    third = gain if cascade.config.gain == "utterance" else tf.constant([-90.0])
    with without_float64():
        found = encoder.run(tf.constant(padded), tf.constant([PAST + len(signal)]), third)
        state = tf.zeros(decoder.inputs[-1].shape)
        decoded = decoder.run(gain, *(tf.constant(values) for values in expected.symbols.values()), state)["samples"]
    symbols = {port.part: np.asarray(found[port.name]) for port in encoder.outputs if port.part}
    assert share_of_differences(Coded(symbols, expected.gain_indices, len(signal)), expected) < 3 * TIES
    reference = feed_forward.decode(cascade, expected)[-1]
    assert np.asarray(decoded)[32:] == pytest.approx(reference[: SPAN - 32], abs=1e-4)


class TestOneClearLine:
    def refused(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
        assert command.main(list(arguments)) == 2
        line = capsys.readouterr().err.strip()
        assert "\n" not in line
        return line

    def test_a_folder_that_exists_is_never_overwritten(
        self, tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("mine")
        assert "does not exist yet" in self.refused(capsys, str(tmp_path / "out"), "--model", str(model_folder))
        assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]

    def test_a_saved_model_with_eight_bits(
        self, tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ["--model", str(model_folder), "--format", "savedmodel", "--weights", "int8"]
        assert "int8 goes with --format litert" in self.refused(capsys, str(tmp_path / "out"), *options)

    def test_more_layers_than_there_are(
        self, tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ["--model", str(model_folder), "--format", "litert", "--layers", "3"]
        assert "expected 1 to 2 layers" in self.refused(capsys, str(tmp_path / "out"), *options)

    def test_an_unknown_format(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "invalid choice: 'onnx'" in self.refused(capsys, str(tmp_path / "out"), "--format", "onnx")

    def test_a_place_where_nothing_can_be_written(
        self, tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("")
        line = self.refused(capsys, str(tmp_path / "file" / "out"), "--model", str(model_folder))
        assert "cannot be written" in line

    def test_a_folder_without_an_export(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no readable export"):
            Exported(tmp_path)

    def test_a_model_with_a_high_pass(self, model: SavedModel) -> None:
        cascade = untrained()
        cascade.config = dataclasses.replace(cascade.config, high_pass=True)
        with pytest.raises(UserError, match="high_pass"):
            device_graphs(cascade, 1)


@pytest.mark.parametrize(("signalled", "form"), [*zip(STOPS, ("nsc", "litert", "nsc"), strict=True)])
def test_a_signal_while_exporting_is_one_line_and_leaves_nothing(
    signalled: tuple[str, int],
    form: str,
    tmp_path: Path,
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, status = signalled
    for module in (codec_folder, device):
        monkeypatch.setattr(module, "as_litert", after(2, lambda graph, weights: b"graph", name))
    assert command.main([str(tmp_path / "out"), "--model", str(model_folder), "--format", form]) == status
    assert capsys.readouterr().err == "export: stopped\n"
    assert list(tmp_path.iterdir()) == []
