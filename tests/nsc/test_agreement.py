"""The pipeline's Keras layers and the graphs that ship: files that decode alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from nsc.format.channel import lose_groups
from nsc.kinds.samples.model import CascadeModel
from runs.saved_model import SavedModel, load_model
from runs.stages import find_model

Signal = NDArray[np.float32]
MODEL = "cq-9k"


@pytest.fixture(scope="module")
def pair() -> tuple[CascadeModel, CascadeModel]:
    """A model that ships, by Keras and by LiteRT."""
    keras, graphs = load_model(find_model(MODEL, Path("check"))).coding, nsc.load(MODEL)
    assert isinstance(keras, CascadeModel) and isinstance(graphs, CascadeModel)
    return keras, graphs


def test_they_have_the_same_settings_and_tables(pair: tuple[CascadeModel, CascadeModel]) -> None:
    keras, graphs = pair
    assert (keras.digest, keras.settings) == (graphs.digest, graphs.settings)
    assert keras.tables.keys() == graphs.tables.keys()
    assert all(np.array_equal(keras.tables[name], graphs.tables[name]) for name in keras.tables)


def test_their_encoders_differ_in_less_than_a_thousandth_of_all_symbols(
    pair: tuple[CascadeModel, CascadeModel], speech_signals: list[Signal]
) -> None:
    different = total = 0
    for signal in speech_signals[::2]:
        first, second = (model.symbols(nsc.encode(signal, model)) for model in pair)
        different += sum(int((first[name] != second[name]).sum()) for name in first)
        total += sum(values.size for values in first.values())
    assert different < 1e-3 * total


def test_their_decoders_read_the_same_symbols_and_give_the_same_samples(
    pair: tuple[CascadeModel, CascadeModel], speech_signals: list[Signal]
) -> None:
    keras, graphs = pair
    for writer in pair:
        data = nsc.encode(speech_signals[0], writer)
        first, second = keras.symbols(data), graphs.symbols(data)
        assert all(np.array_equal(first[name], second[name]) for name in first)
        for received in (data, lose_groups(data, 0.3, 1.5, 3)):
            expected, damage = nsc.decode(received, keras)
            found, same_damage = nsc.decode(received, graphs)
            assert np.abs(found - expected).max() < 1e-4
            assert damage == same_damage


def test_a_cascade_cut_to_fewer_layers_decodes_alike(
    codec_folder: Path, coding_model: SavedModel, speech_signals: list[Signal]
) -> None:
    keras, graphs = coding_model.coding, nsc.load(str(codec_folder))
    data = nsc.encode(speech_signals[0], keras)
    for layers in (1, 2):
        expected, found = nsc.decode(data, keras, layers).signal, nsc.decode(data, graphs, layers).signal
        assert np.abs(found - expected).max() < 1e-4
        assert len(nsc.encode(speech_signals[0], graphs, layers)) == pytest.approx(
            len(nsc.encode(speech_signals[0], keras, layers)), rel=0.01
        )
