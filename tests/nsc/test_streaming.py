import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from constants import FRAMES_PER_GROUP
from kinds.samples import batch as feed_forward
from nsc import Decoder, Encoder, decode, encode
from nsc import format as bitstream
from nsc.errors import UserError
from nsc.format import BitstreamError, DamagedError, Group, WrongModelError
from nsc.format.version_1 import Header, delay_samples
from nsc.kinds.samples.model import CascadeModel
from runs.saved_model import SavedModel, save_model
from tests.helpers.coding import make_model
from tests.helpers.tiny import ROOT, eager_and_short

Signal = NDArray[np.float32]


@pytest.fixture(scope="module")
def clips(speech_signals: list[Signal]) -> list[Signal]:
    return speech_signals


@pytest.fixture(scope="module")
def saved(coding_model: SavedModel) -> SavedModel:
    return coding_model


@pytest.fixture(scope="module")
def model(saved: SavedModel) -> CascadeModel:
    return saved.coding


@pytest.fixture(scope="module")
def speech(clips: list[Signal]) -> Signal:
    return np.concatenate(clips[-2:])


@pytest.fixture(scope="module")
def file(model: CascadeModel, speech: Signal) -> bytes:
    return encode(speech, model)


def without(data: bytes, lost: set[int]) -> bytes:
    header, groups, *_ = bitstream.read_contents(data)
    kept = [bitstream.pack_group(group) for number, group in enumerate(groups) if number not in lost]
    return bitstream.pack_header(header) + b"".join(kept)


def header_of(data: bytes) -> Header:
    header = bitstream.unpack_header(data)
    assert isinstance(header, Header)
    return header


def in_blocks(model: CascadeModel, signal: Signal, size: int) -> bytes:
    encoder = Encoder(model, num_samples=len(signal))
    blocks = [encoder.write(signal[start : start + size]) for start in range(0, len(signal), size)]
    return b"".join([*blocks, encoder.finish()])


def test_the_file_holds_the_symbols_and_gains_that_the_cascade_found(
    model: CascadeModel, saved: SavedModel, speech: Signal, file: bytes
) -> None:
    coded = feed_forward.encode(saved.cascade, speech, 2)
    for name, values in model.symbols(file).items():
        # another batch size moves codes by 1e-6, which may flip a symbol now and then
        assert values.shape == coded.symbols[name].shape
        assert (values != coded.symbols[name]).mean() < 1e-3, name
    gains = [group.side[0] for group in bitstream.read_contents(file).groups]
    assert gains == coded.gain_indices.tolist()


def test_the_decoded_file_is_what_the_cascade_decodes(
    model: CascadeModel, saved: SavedModel, speech: Signal, file: bytes
) -> None:
    coded = feed_forward.Coded(
        model.symbols(file), feed_forward.encode(saved.cascade, speech, 2).gain_indices, len(speech)
    )
    for depth, expected in enumerate(feed_forward.decode(saved.cascade, coded), start=1):
        signal, damage = decode(file, model, depth)
        assert not damage
        assert signal == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [333, 7680, 7936, 20_000])
def test_blocks_of_any_size_make_the_same_file(model: CascadeModel, speech: Signal, file: bytes, size: int) -> None:
    assert in_blocks(model, speech, size) == file


def test_a_filtered_stream_is_a_filtered_file(tmp_path: Path, clips: list[Signal]) -> None:
    saved = make_model(tmp_path, clips[:2], contexts=False, high_pass=True, pre_emphasis=False)
    model = saved.coding
    assert in_blocks(model, clips[0], 1000) == encode(clips[0], model)
    gains = feed_forward.prepare(clips[0], saved.cascade.config).gain_indices
    assert [group.side[0] for group in bitstream.read_contents(encode(clips[0], model)).groups] == gains.tolist()


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_bytes_in_blocks_of_any_size_decode_to_the_same_samples(model: CascadeModel, file: bytes, size: int) -> None:
    decoder = Decoder(model)
    blocks = [decoder.write(file[start : start + size]) for start in range(0, len(file), size)]
    assert np.concatenate([*blocks, decoder.finish()]) == pytest.approx(decode(file, model).signal, abs=1e-5)


def test_a_stream_of_unknown_length_decodes_to_its_length(model: CascadeModel, speech: Signal, file: bytes) -> None:
    encoder = Encoder(model)
    data = encoder.write(speech) + encoder.finish()
    signal, damage = decode(data, model)
    assert not damage
    assert np.array_equal(signal, decode(file, model).signal)
    groups, known = bitstream.read_contents(data).groups, bitstream.read_contents(file).groups
    assert [group.parts for group in groups] == [group.parts for group in known]
    broken, damage = decode(without(data, {len(groups) - 1}), model)
    assert damage.end_missing
    assert np.array_equal(broken[:7680], signal[:7680])


def test_no_sample_waits_longer_than_the_stated_delay(model: CascadeModel, speech: Signal) -> None:
    encoder, decoder = Encoder(model), Decoder(model)
    arrived = given = 0
    for start in range(0, len(speech), 64):
        block = speech[start : start + 64]
        arrived += len(block)
        given += len(decoder.write(encoder.write(block)))
        assert given >= arrived - delay_samples() - 63


@pytest.mark.parametrize("length", [0, 1, 447, 448, 449, 7680, 7935, 7936, 8100, 15_361])
def test_a_signal_of_any_length_comes_back_in_its_length(model: CascadeModel, speech: Signal, length: int) -> None:
    signal, damage = decode(encode(speech[:length], model), model)
    assert len(signal) == length
    assert not damage


@pytest.mark.parametrize("spans", [1, 2, 5])
def test_longer_groups_carry_the_same_symbols(model: CascadeModel, speech: Signal, file: bytes, spans: int) -> None:
    data = encode(speech, model, spans=spans)
    found, expected = model.symbols(data), model.symbols(file)
    assert all(np.array_equal(found[name], values) for name, values in expected.items())
    assert decode(data, model).signal == pytest.approx(decode(file, model).signal, abs=1e-5)


@pytest.mark.parametrize("level", [0.0, 50.0])
def test_silence_and_clipped_speech_come_back_finite(model: CascadeModel, speech: Signal, level: float) -> None:
    signal, _ = decode(encode(np.clip(level * speech[:20_000], -1, 1), model), model)
    assert len(signal) == 20_000
    assert np.isfinite(signal).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_cutting_layers_is_encoding_with_fewer(model: CascadeModel, speech: Signal, file: bytes, layers: int) -> None:
    assert bitstream.truncate(file, layers) == encode(speech, model, layers)


def test_a_lost_group_loses_its_own_half_second_only(model: CascadeModel, file: bytes) -> None:
    whole = decode(file, model).signal
    signal, damage = decode(without(file, {3}), model)
    assert damage.lost == [3]
    assert len(signal) == len(whole)
    start, end = 3 * 7680 - 32, 4 * 7680
    assert np.array_equal(signal[:start], whole[:start])
    # de-emphasis remembers the gap, 0.68 a sample
    assert signal[end + 64 :] == pytest.approx(whole[end + 64 :], abs=1e-5)


def test_concealed_speech_begins_like_the_last_frame_and_fades(model: CascadeModel, file: bytes) -> None:
    signal, _ = decode(without(file, {3, 4, 5}), model)
    frames = signal[2 * 7680 : 6 * 7680].reshape(-1, 480)
    levels = 10 * np.log10(np.square(frames).mean(1) + 1e-12)
    before, first, last = levels[14], levels[17], levels[60]
    assert before - 12 < first < before + 6
    assert last < first - 30


def test_a_file_without_its_first_group_begins_in_silence(model: CascadeModel, file: bytes) -> None:
    signal, damage = decode(without(file, {0}), model)
    assert damage.lost == [0]
    assert not signal[: 7680 - 32].any()


def test_a_truncated_file_decodes_to_its_declared_length_or_says_that_too_little_is_left(
    model: CascadeModel, speech: Signal, file: bytes
) -> None:
    for length in range(0, len(file), len(file) // 20):
        try:
            signal, damage = decode(file[:length], model)
        except BitstreamError:
            assert length < len(file) / 5
        else:
            assert len(signal) == len(speech)
            assert damage


def test_a_length_that_lies_is_an_error_before_memory_is_spent(model: CascadeModel, file: bytes) -> None:
    header = header_of(file)._replace(num_samples=0xFFFFFFFE)
    with pytest.raises(DamagedError, match="too little of the speech is there"):
        decode(bitstream.pack_header(header) + file[16:], model)
    shorter, damage = decode(bitstream.pack_header(header._replace(num_samples=8000)) + file[16:], model)
    assert len(shorter) == 8000
    assert damage


def test_the_symbols_of_a_damaged_file_are_not_given_for_whole(model: CascadeModel, file: bytes) -> None:
    for damaged in (without(file, {2}), file + b"?"):
        with pytest.raises(DamagedError, match="expected a whole file"):
            model.symbols(damaged)


def test_a_file_of_another_model_is_refused(model: CascadeModel, file: bytes) -> None:
    header = header_of(file)
    for wrong in (
        header._replace(model="01234567"),
        header._replace(has_lpc=False),
        header._replace(layers=3),
    ):
        with pytest.raises(WrongModelError, match=r"expected .*, found"):
            decode(bitstream.pack_header(wrong) + file[16:], model)


@pytest.mark.parametrize("layers", [0, 3])
def test_layers_that_are_not_there_are_a_clear_error(
    model: CascadeModel, speech: Signal, file: bytes, layers: int
) -> None:
    with pytest.raises(UserError, match="expected 1 to 2 layers"):
        encode(speech, model, layers)
    with pytest.raises(UserError, match="expected 1 to 2 layers"):
        decode(file, model, layers)


@pytest.mark.parametrize("bad", [np.array([0.0, np.nan]), np.array([np.inf]), np.zeros((4, 2))])
def test_samples_that_are_no_speech_are_a_clear_error(model: CascadeModel, bad: Signal) -> None:
    with pytest.raises(UserError, match=r"expected (finite )?samples"):
        encode(bad, model)


def test_any_flipped_bit_of_a_payload_loses_one_group_and_is_reported(model: CascadeModel, file: bytes) -> None:
    rng = np.random.default_rng(9)
    for _ in range(5):
        flipped = bytearray(file)
        flipped[int(rng.integers(16, len(file)))] ^= 1 << int(rng.integers(8))
        _, damage = decode(bytes(flipped), model)
        assert len(damage.lost) == 1


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with bytes changed, cut out, doubled or put in; one in two keeps its header."""
    body = bytearray(data)
    first = int(rng.integers(2)) * 16
    for _ in range(int(rng.integers(1, 4))):
        at, size = int(rng.integers(first, len(body))), int(rng.integers(1, 40))
        kind = int(rng.integers(4))
        if kind == 0:
            body[at] = int(rng.integers(256))
        elif kind == 1:
            del body[at : at + size]
        elif kind == 2:
            body[at:at] = body[at : at + size]
        else:
            body[at:at] = rng.bytes(size)
        if len(body) <= first:
            break
    return bytes(body)


def resealed(data: bytes, rng: np.random.Generator) -> bytes:
    """A file whose payloads are corrupt under right checksums."""
    header, groups, *_ = bitstream.read_contents(data)
    groups = [
        Group(group.number, group.side, tuple(rng.bytes(int(rng.integers(0, 30))) for _ in group.parts))
        for group in groups
    ]
    return b"".join([bitstream.pack_header(header), *map(bitstream.pack_group, groups)])


def test_two_thousand_mutated_files_end_in_symbols_or_a_typed_error(model: CascadeModel, speech: Signal) -> None:
    seed = 10
    print("seed", seed)
    rng = np.random.default_rng(seed)
    file = encode(speech[:7700], model, 1)  # a whole group and one of a single frame
    coder, sent = model.symbol_coder(1), bitstream.read_contents(file).groups
    for trial in range(2000):
        data = resealed(file, rng) if trial % 10 == 0 else mutated(file, rng)
        try:
            contents = bitstream.read_contents(data)
            for group in contents.groups[-1:]:
                if group not in sent:
                    coder.decode(group.parts, 1)
        except (BitstreamError, ValueError):
            continue
        assert contents.header == bitstream.unpack_header(file), trial


def test_two_hundred_mutated_files_end_in_audio_of_the_declared_length_or_a_typed_error(
    model: CascadeModel, speech: Signal
) -> None:
    seed = 11
    print("seed", seed)
    rng = np.random.default_rng(seed)
    file = encode(speech[:20_000], model)
    for trial in range(200):
        data = resealed(file, rng) if trial % 4 == 0 else mutated(file, rng)
        try:
            signal, _ = decode(data, model)
        except BitstreamError:
            continue
        assert len(signal) == 20_000, trial
        assert np.isfinite(signal).all(), trial


DECODE = """
import numpy, tensorflow
tensorflow.config.threading.set_intra_op_parallelism_threads(2)
from nsc import decode
from pathlib import Path
from runs.saved_model import load_model
model, data = load_model(Path("stages/first")).coding, Path("speech.nsc").read_bytes()
numpy.savez("decoded.npz", signal=decode(data, model).signal, **model.symbols(data))
"""


def test_without_onednn_and_on_two_threads_symbols_are_equal_and_samples_alike(
    model: CascadeModel, saved: SavedModel, speech: Signal, tmp_path: Path
) -> None:
    data = encode(speech[:30_000], model)
    (tmp_path / "speech.nsc").write_bytes(data)
    save_model(tmp_path, "first", saved.cascade, saved.tables, 2)
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0", "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", DECODE], cwd=tmp_path, env=environment, check=True)
    with np.load(tmp_path / "decoded.npz") as decoded:
        for name, values in model.symbols(data).items():
            assert np.array_equal(decoded[name], values)
        assert decoded["signal"] == pytest.approx(decode(data, model).signal, abs=1e-5)


VARIANTS: dict[str, dict[str, Any]] = {
    "without LPC": {"time_domain": True},
    "gated blocks, whose codes have one channel": {"block": "gln", "shape": (3, 3, 8, 4, 1), "strides": (2, 4)},
    "vectors": {"quantizer": "vector"},
    "different strides": {"strides": (4, 2)},
    "mu-law and tapered residual": {"mu_law": True, "residual": "taper"},
    "one gain an utterance": {"gain": "utterance"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_cascade_codes_its_own_symbols(tmp_path: Path, clips: list[Signal], variant: str) -> None:
    signal = clips[0][:20_000]
    with eager_and_short():
        saved = make_model(tmp_path, clips[:2], **VARIANTS[variant])
        model = saved.coding
        data = encode(signal, model)
        coded = feed_forward.encode(saved.cascade, signal, 2)
        for name, values in model.symbols(data).items():
            assert (values != coded.symbols[name]).mean() < 1e-3, name
        exact = coded._replace(symbols=model.symbols(data))
        assert decode(data, model).signal == pytest.approx(feed_forward.decode(saved.cascade, exact)[-1], abs=1e-5)
        assert bitstream.truncate(data, 1) == encode(signal, model, 1)
        damaged = decode(without(data, {1}), model)
    assert np.isfinite(damaged.signal).all()
    assert damaged.damage.lost == [1]


def test_a_model_with_one_gain_an_utterance_codes_files_but_no_streams(tmp_path: Path, clips: list[Signal]) -> None:
    model = make_model(tmp_path, clips[:1], contexts=False, gain="utterance").coding
    with pytest.raises(UserError, match="takes its gain from the whole utterance"):
        Encoder(model)


def test_a_group_is_sixteen_frames() -> None:
    assert FRAMES_PER_GROUP == 16
    assert delay_samples() == 7968
