"""Rates of whole files, of bounded ones and of streams, by a model that ships."""

import math
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from nsc.coding.encoder import Coding
from nsc.coding.interface import Model
from nsc.coding.rate import BoundedPace, BucketPace, Rate, offset_for_rate
from nsc.coding.whole import PIECE, PIECES, _pieces, encoded_blocks
from nsc.errors import UserError
from nsc.format import pack_group, read_contents

pytestmark = pytest.mark.slow

Signal = NDArray[np.float32]
FRAME = 0.04  # seconds


@pytest.fixture(scope="module")
def model() -> Model:
    return nsc.load("cq")


@pytest.fixture(scope="module")
def speech(speech_signals: list[Signal]) -> Signal:
    return np.concatenate(speech_signals)


def sizes(data: bytes) -> NDArray[np.int64]:
    return np.array([len(pack_group(group)) for group in read_contents(data).groups])


def test_the_rate_is_that_of_the_whole_file_whatever_it_begins_with(model: Model, speech: Signal) -> None:
    noise = 1e-3 * np.random.default_rng(0).standard_normal(8 * 16_000).astype(np.float32)
    for lead in (np.zeros(8 * 16_000, np.float32), noise):
        data = nsc.encode(np.concatenate([lead, speech[:96_000]]), model, kbps=9)
        assert nsc.info(data).kbps() == pytest.approx(9, rel=0.02)


def test_blocks_of_any_size_become_the_bytes_of_the_whole(model: Model, speech: Signal) -> None:
    signal = speech[:80_000]
    blocks = (signal[start : start + 30_000] for start in range(0, len(signal), 30_000))
    streamed = b"".join(encoded_blocks(blocks, len(signal), Coding(model), Rate(kbps=10)))
    assert streamed == nsc.encode(signal, model, kbps=10)


def test_a_long_recording_is_searched_on_pieces_from_all_over_it(
    model: Model, speech: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nsc.coding.whole.PIECE", PIECE // 20)
    signal = np.concatenate([0.001 * speech[:100_000], speech[:100_000]])
    assert len(signal) > PIECES * PIECE // 20
    assert nsc.info(nsc.encode(signal, model, kbps=12)).kbps() == pytest.approx(12, rel=0.02)


def test_the_longer_a_recording_the_more_pieces_of_it_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nsc.coding.whole.PIECE", 5)
    monkeypatch.setattr("nsc.coding.whole.APART", 900)
    assert [len(_pieces([np.zeros(count, np.float32)], count)) for count in (60, 3_600, 36_000)] == [60, 60, 200]


class Recorded:
    """A long recording that is read again whenever it is gone through; counts its blocks in memory."""

    def __init__(self, speech: Signal, seconds: int) -> None:
        self.speech, self.seconds, self.passes = speech, seconds, 0
        self.blocks = list[weakref.ref[Signal]]()

    def __iter__(self) -> Iterator[Signal]:
        self.passes += 1
        for second in range(self.seconds):
            block = self.speech[16_000 * (second % 9) :][:16_000].copy()
            self.blocks.append(weakref.ref(block))
            assert sum(each() is not None for each in self.blocks) <= 3
            yield block


def test_a_long_recording_at_a_rate_is_read_again_and_never_held(
    model: Model, speech: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nsc.coding.whole.PIECE", PIECE // 20)
    recorded = Recorded(speech, 20)
    data = b"".join(encoded_blocks(recorded, 20 * 16_000, Coding(model), Rate(kbps=12)))
    assert 2 <= recorded.passes <= 4
    signal = np.concatenate([speech[16_000 * (second % 9) :][:16_000] for second in range(20)])
    assert data == nsc.encode(signal, model, kbps=12)


def test_a_bound_costs_three_to_five_encodings_a_group() -> None:
    """Levels that speech takes from group to group, on the usual slope of a group's bytes."""
    pace, trials = BoundedPace(12, 40, 97), []
    for loudness in np.random.default_rng(0).normal(0, 0.5, 200):
        sizes: dict[int, float] = {}
        index: int | None = pace.first(0.64, quiet=False)
        while index is not None:
            sizes[index] = round(2000 * np.exp(loudness - 0.027 * index))
            index = pace.following(sizes)
        trials.append(len(sizes))
        assert sizes[pace.chosen(sizes)] <= 960
    assert np.mean(trials) < 4 and max(trials) <= 8


@pytest.mark.parametrize("steep", [0.01, 0.027, 0.2])
@pytest.mark.parametrize("step", [0, 30])
def test_a_rate_is_found_on_steep_curves_and_on_broken_ones(steep: float, step: int) -> None:
    rates = [40 * np.exp(-steep * index) / (3 if index > step > 0 else 1) for index in range(97)]
    for kbps in (3.0, 12.0, 23.5):
        found = offset_for_rate(kbps, 97, 40, rates.__getitem__)
        best = min(abs(np.log(np.array(rates) / kbps)))
        assert abs(np.log(rates[found] / kbps)) <= max(best, 0.004) + 1e-9


@pytest.mark.parametrize("frames", [1, 4, 16])
def test_no_group_of_a_bounded_rate_takes_more_and_a_short_last_one_takes_its_share(
    frames: int, model: Model, speech: Signal
) -> None:
    data = nsc.encode(speech[: 16_000 * 3 + 5000], model, kbps=24, bounded=True, spans=frames)
    found, most = sizes(data), 1000 * 24 * FRAME * frames / 8
    assert found.max() <= most
    assert found[:-1].mean() > 0.85 * most
    header = nsc.info(data).header
    last = header.frames_of(16_000 * 3 + 5000) - (len(found) - 1) * frames
    assert found[-1] <= most * last / frames


def test_a_bound_that_no_step_size_keeps_is_refused_with_how_many_exceed_it(model: Model, speech: Signal) -> None:
    with pytest.raises(UserError, match=r"groups of at most 4 kbps, found \d+ that take more"):
        nsc.encode(speech[:48_000], model, kbps=4, bounded=True, spans=1)
    encoder = nsc.Encoder(model, kbps=4, bounded=True, spans=1)
    encoder.write(speech[:48_000])
    encoder.finish()
    assert encoder.exceeded > 0


def test_a_stream_keeps_its_rate_over_any_ten_seconds(model: Model, speech: Signal) -> None:
    encoder, kbps = nsc.Encoder(model, kbps=12, spans=4), 12
    blocks = [encoder.write(speech[start : start + 6400]) for start in range(0, 16 * 16_000, 6400)]
    found = np.concatenate([[0], np.cumsum(sizes(b"".join([*blocks, encoder.finish()])))])
    window = round(10 / (4 * FRAME))
    rates = 8 * (found[window:] - found[:-window]) / (window * 4 * FRAME) / 1000
    assert abs(rates / kbps - 1).max() < 0.1
    assert found[-1] * 8 / 1000 / 16 == pytest.approx(kbps, rel=0.05)


def test_a_stream_at_a_quality_has_even_steps(model: Model, speech: Signal) -> None:
    encoder = nsc.Encoder(model, quality=4, spans=4)
    data = encoder.write(speech[:48_000]) + encoder.finish()
    assert {group.side[1] for group in read_contents(data).groups} == {58}


@pytest.mark.parametrize("name", ["cq", "cq-scalable"])
@pytest.mark.parametrize("frames", [1, 16])
def test_silence_takes_no_more_than_framing_and_speech_after_it_sounds_alike(
    name: str, frames: int, speech: Signal
) -> None:
    model, silence = nsc.load(name), np.zeros(32_000, np.float32)
    contents = read_contents(nsc.encode(silence, model, spans=frames))
    assert {part for group in contents.groups for part in group.parts} == {b""}
    data = nsc.encode(np.concatenate([silence, speech[:16_000]]), model, spans=frames)
    decoded = nsc.decode(data, model).signal
    assert np.abs(decoded[:30_000]).max() < 1e-9  # -180 dB
    heard = nsc.decode(
        nsc.encode(np.concatenate([1e-4 * speech[:32_000], speech[:16_000]]), model, spans=frames)
    ).signal
    errors = [np.sum(np.square(each[32_000:] - speech[:16_000])) for each in (decoded, heard)]
    assert errors[0] < 1.3 * errors[1]


def test_nothing_is_written_after_the_end(model: Model) -> None:
    encoder = nsc.Encoder(model)
    data = encoder.write(np.zeros(1000, np.float32)) + encoder.finish()
    for call in (encoder.finish, lambda: encoder.write(np.zeros(1, np.float32))):
        with pytest.raises(UserError, match="another"):
            call()
    decoder = nsc.Decoder(model)
    decoder.write(data)
    decoder.finish()
    for late in (decoder.finish, lambda: decoder.write(b"")):
        with pytest.raises(UserError, match="another decoder"):
            late()


def test_what_soft_groups_leave_unused_goes_to_those_after_them() -> None:
    pace, seconds, total = BucketPace(8, 40, 97), 0.04, 0.0
    for number in range(2000):
        quiet = number % 75 < 25
        size = (lambda index: 3.0) if quiet else (lambda index: 150 * math.exp(-0.85 / 32 * index))
        index: int | None = pace.first(seconds, quiet=quiet)
        sizes: dict[int, float] = {}
        while index is not None:
            sizes[index] = size(index)
            index = pace.following(sizes)
        total += sizes[pace.chosen(sizes)]
    assert total == pytest.approx(1000 * 2000 * seconds, rel=0.01)
