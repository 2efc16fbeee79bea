"""Graphs of networks on the lapped spectrum for programs on other machines."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from export.device import export_model
from kinds.spectral.serving import KerasSpectralNetwork
from nsc.errors import UserError
from nsc.loading.litert import Runner
from runs.saved_model import SavedModel
from tests.export.exported import Exported
from tests.helpers.places import CORPUS
from tests.helpers.spectral_cascade import saved_spectral_model

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    return saved_spectral_model(tmp_path_factory.mktemp("check"), sorted(CORPUS.rglob("*.flac"))[:3])


def called(path: Path, form: str, inputs: Arrays) -> Arrays:
    """What a graph on disk gives."""
    if form == "litert":
        return Runner(path.read_bytes())(**inputs)
    graph = tf.saved_model.load(str(path)).signatures["serving_default"]
    return {name: np.asarray(value) for name, value in graph(**inputs).items()}


@pytest.mark.parametrize("form", ["litert", "savedmodel"])
def test_exported_graphs_code_as_the_library_does(
    form: str, model: SavedModel, tmp_path: Path, real_speech: NDArray[np.float32]
) -> None:
    folder, layers, frames = tmp_path / form, 1, 3
    export_model(model, folder, form, layers=layers)
    description = json.loads((folder / "export.json").read_text())
    spectra, hop = frames * description["span"]["spectra_per_frame"], description["span"]["hop"]
    inputs = {
        "samples": real_speech[8000 : 8000 + (spectra + 1) * hop],
        "levels": np.full(spectra, 0.1, np.float32),
        "offsets": np.zeros(spectra, np.float32),
        "state": np.zeros(model.cascade.encoder_state(layers), np.float32),
    }
    assert [port["name"] for port in description["encoder"]["inputs"]] == list(inputs)

    found = called(folder / description["encoder"]["file"], form, inputs)
    network = KerasSpectralNetwork(model.cascade, layers)
    given = inputs["samples"], inputs["levels"], inputs["offsets"]
    expected = network.quantised(*given, layers, inputs["state"]).symbols
    assert np.array_equal(found["gains"], expected.gains)
    assert np.mean(found["codec_1"] != expected.indices[0]) < 0.001
    assert {port["part"] for port in description["encoder"]["outputs"] if "part" in port} == {"lpc", "gain", "codec 1"}

    symbols = {"lsf": expected.lsf, "gains": expected.gains, "codec_1": expected.indices[0]}
    steps = {name: inputs[name] for name in ("levels", "offsets")}
    state = np.zeros(model.cascade.decoder_state(layers), np.float32)
    decoder = symbols | steps | {"used": np.ones(1, np.float32), "state": state}
    samples = called(folder / description["decoder"]["file"], form, decoder)["samples"]
    assert samples == pytest.approx(network.samples(expected, *given[1:], None, state)[0], abs=1e-4)
    with pytest.raises(UserError, match="graphs of any number of frames"):
        Exported(folder)
