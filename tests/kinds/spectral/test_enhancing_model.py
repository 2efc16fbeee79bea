"""A model that enhances what it decodes: saved, exported, streamed, with groups lost."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

import nsc
from export.codec_folder import export_codec
from nsc.coding.decoder import Decoder
from nsc.coding.whole import decode, encode
from nsc.errors import UserError
from nsc.format import HEADER_BYTES, pack_group, read_contents
from nsc.kinds.samples.level import gains_of
from nsc.kinds.spectral.level import offset_of
from nsc.loading.folder import DESCRIPTION, ENHANCER
from runs.saved_model import SavedModel, load_model, save_model
from tests.helpers.spectral import random_coder
from tests.helpers.spectral_cascade import cascade_of

Signal = NDArray[np.float32]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    """Untrained, with an enhancer that does something."""
    cascade = cascade_of(stir=0.01, num_modules=1, enhancer_width=16)
    assert cascade.enhancer
    for layer in (cascade.enhancer.gains, cascade.enhancer.added):
        layer.kernel.assign(0.3 * np.random.default_rng(0).standard_normal(layer.kernel.shape))
    run = tmp_path_factory.mktemp("check")
    save_model(run, "first", cascade, random_coder(codecs=1).arrays(), 1)
    return load_model(run / "stages" / "first")


@pytest.fixture(scope="module")
def folder(saved: SavedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("exported") / "enhancing"
    export_codec(saved, place)
    return place


def test_a_file_decodes_to_what_training_heard(saved: SavedModel, folder: Path, real_speech: Signal) -> None:
    """The exported enhancer, group by group, against the layer on the whole decoded signal."""
    model = nsc.load(str(folder))
    data = encode(real_speech, model, spans=2)
    hop = saved.cascade.hop
    padded = encode_length(len(real_speech), hop)
    plain = decode(data, dataclasses.replace(saved.coding, enhancer=None)).signal
    # the first hop, which is before the signal, is nearly silent, and the last frame reaches beyond its end
    plain = np.pad(plain, (hop, padded - len(plain)))
    _, groups, _, _ = read_contents(data)
    hops = len(plain) // hop
    steps = np.repeat([group.side for group in groups], 1280 // hop, axis=0)[:hops]
    levels, offsets = gains_of(steps[:, 0])[None], np.array([[offset_of(each) for each in steps[:, 1]]])
    facts = [tf.constant(each.astype(np.float32)) for each in (levels, offsets)]
    expected = saved.cascade.enhancer.enhance(tf.constant(plain[None]), *facts, 1)[0].numpy()
    found = decode(data, model).signal
    assert np.abs(found - plain[hop : hop + len(found)]).max() > 0.01
    inside = slice(2560, len(real_speech) - 640)
    np.testing.assert_allclose(found[inside], expected[hop:][inside], atol=2e-4)


def without_groups(data: bytes, lost: list[int]) -> bytes:
    """A file in which groups are missing."""
    _, groups, _, _ = read_contents(data)
    kept = [pack_group(group) for group in groups if group.number not in lost]
    return data[:HEADER_BYTES] + b"".join(kept)


def encode_length(samples: int, hop: int) -> int:
    """Samples of whole blocks of 5 ms in the hops of so many."""
    return samples + -(samples + hop) % hop


@pytest.mark.parametrize("lost", [[], [1, 4, 5]])
def test_bytes_in_any_pieces_give_the_same_samples(lost: list[int], folder: Path, real_speech: Signal) -> None:
    model = nsc.load(str(folder))
    data = without_groups(encode(real_speech[:32_000], model, spans=2), lost)
    whole = decode(data, model)
    assert whole.damage.lost == lost
    decoder, blocks = Decoder(model), []
    for start in range(0, len(data), 41):
        blocks.append(decoder.write(data[start : start + 41]))
    blocks.append(decoder.finish())
    np.testing.assert_allclose(np.concatenate(blocks), whole.signal, atol=1e-6)
    assert np.isfinite(whole.signal).all()


def test_silence_and_what_follows_speech_stay_silent(folder: Path, real_speech: Signal) -> None:
    model = nsc.load(str(folder))
    silence = np.zeros(16_000, np.float32)
    for signal in (silence, np.concatenate([real_speech[:16_000], silence])):
        decoded = decode(encode(signal, model, spans=1), model).signal
        assert np.abs(decoded[-8_000:]).max() < 1e-6


def test_the_enhancer_is_saved_counted_and_described(saved: SavedModel, folder: Path) -> None:
    description = json.loads((folder / DESCRIPTION).read_text())
    enhancer = saved.cascade.enhancer
    assert description["settings"]["enhancer_state"] == enhancer.state_size
    plain = saved.cascade.count_parameters(1) - enhancer.count_params()
    assert description["parameters"][0] - plain == enhancer.count_params() > 1000
    assert any(np.abs(weight).max() > 0.01 for weight in enhancer.gains.weights)


def test_bits_are_estimated_of_files_of_any_length(saved: SavedModel, real_speech: Signal) -> None:
    estimate = saved.kind.estimate(saved)
    for length in (16_000, 20_001):
        signal = real_speech[:length]
        assert np.isfinite(estimate.add(signal, encode(signal, saved.coding), 1)())


def test_a_folder_without_the_graph_that_it_describes_is_refused(folder: Path, real_speech: Signal) -> None:
    model = nsc.load(str(folder))
    data = encode(real_speech[:6400], model)
    graph = (folder / ENHANCER).read_bytes()
    try:
        (folder / ENHANCER).unlink()
        with pytest.raises(UserError, match=ENHANCER.replace(".", r"\.")):
            decode(data, nsc.load(str(folder)))
    finally:
        (folder / ENHANCER).write_bytes(graph)
