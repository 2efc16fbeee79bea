from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from export.codec_folder import export_codec
from kinds.spectral.serving import settings_of
from nsc.coding.decoder import Decoder
from nsc.coding.encoder import Encoder
from nsc.coding.interface import Model
from nsc.coding.rate import offset_for_quality, offset_for_rate
from nsc.coding.whole import Rate, decode, encode
from nsc.errors import UserError
from nsc.format import DamagedError, info, pack_group, read_contents, truncate, unpack_header, version_2
from nsc.format.channel import lose_groups
from nsc.kinds.spectral.level import START_DB, ZERO_OFFSET, LevelMeter, decibels, offset_of
from nsc.kinds.spectral.model import SpectralModel
from nsc.loading.folder import read_description
from runs.saved_model import SavedModel
from tests.helpers.places import CORPUS
from tests.helpers.spectral_cascade import cascade_of, saved_spectral_model

Signal = NDArray[np.float32]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    return saved_spectral_model(tmp_path_factory.mktemp("check"), sorted(CORPUS.rglob("*.flac")))


@pytest.fixture(scope="module")
def model(saved: SavedModel) -> SpectralModel:
    return saved.coding


def snr(reference: Signal, decoded: Signal) -> float:
    return float(10 * np.log10(np.sum(reference**2) / np.sum((reference - decoded) ** 2)))


@pytest.mark.parametrize("frames", [1, 2, 3, 16])
def test_files_come_back_at_their_length_whatever_the_group(
    frames: int, model: SpectralModel, real_speech: Signal
) -> None:
    data = encode(real_speech, model, spans=frames)
    decoded = decode(data, model)
    assert len(decoded.signal) == len(real_speech) and not decoded.damage
    assert snr(real_speech, decoded.signal) > 15
    assert info(data).header.group_frames == frames


@pytest.mark.parametrize("length", [0, 1, 319, 320, 640, 10_240, 10_241])
def test_signals_of_any_length_come_back_at_it(length: int, model: SpectralModel, real_speech: Signal) -> None:
    assert len(decode(encode(real_speech[:length], model), model).signal) == length


def test_blocks_of_any_size_give_the_same_bytes_and_samples(model: SpectralModel, real_speech: Signal) -> None:
    whole = encode(real_speech, model, spans=2)
    encoder, data = Encoder(model, spans=2, num_samples=len(real_speech)), b""
    for start in range(0, len(real_speech), 777):
        data += encoder.write(real_speech[start : start + 777])
    data += encoder.finish()
    assert data == whole
    decoder, blocks = Decoder(model), []
    for start in range(0, len(data), 50):
        blocks.append(decoder.write(data[start : start + 50]))
    blocks.append(decoder.finish())
    np.testing.assert_allclose(np.concatenate(blocks), decode(whole, model).signal, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 4])
def test_a_stream_is_no_later_than_its_delay_says(frames: int, model: SpectralModel, real_speech: Signal) -> None:
    encoder, decoder = Encoder(model, spans=frames), Decoder(model)
    delay = encoder.header.delay_samples
    assert delay == 640 * frames + 320
    given = 0
    for start in range(0, 32_000, 160):
        given += len(decoder.write(encoder.write(real_speech[start : start + 160])))
        assert start + 160 - given <= delay
    assert 1000 * Encoder(model, spans=1).header.delay_samples / 16_000 == 60


def test_a_file_cut_to_the_first_codec_is_what_encoding_with_one_gives(
    model: SpectralModel, real_speech: Signal
) -> None:
    both, first = encode(real_speech, model), encode(real_speech, model, 1)
    assert truncate(both, 1) == first
    shallow, deep = (decode(both, model, layers).signal for layers in (1, 2))
    np.testing.assert_array_equal(shallow, decode(first, model).signal)
    assert snr(real_speech, deep) > snr(real_speech, shallow)


def test_the_payload_is_within_one_per_cent_of_the_ideal_code_length(model: SpectralModel, real_speech: Signal) -> None:
    data = encode(real_speech, model)
    payload = 8 * sum(size for name, size in info(data).bytes.items() if name.startswith("codec"))
    lengths = model.code_lengths(data).bits
    ideal = sum(each.sum() for each in lengths.values())
    assert ideal < payload < 1.01 * ideal
    assert list(lengths) == ["lpc", "gain", "codec 1", "codec 2"]


def test_a_rate_is_met_and_a_bound_is_kept(model: SpectralModel, real_speech: Signal) -> None:
    for kbps in (32, 45):
        data = encode(real_speech, model, rate=Rate(kbps=kbps))
        assert info(data).kbps() == pytest.approx(kbps, rel=0.03)
    bound = 38.0
    data = encode(real_speech, model, spans=4, rate=Rate(kbps=bound, bounded=True))
    most = bound * 1000 * 4 * 640 / 16_000 / 8
    assert all(len(pack_group(group)) <= most for group in read_contents(data).groups)
    assert len({group.side[1] for group in read_contents(data).groups}) > 1


def test_a_file_without_a_rate_has_the_steps_that_the_model_names() -> None:
    settings = settings_of(cascade_of(rate_range=(6.0, 32.0), default_offset=0.5), 2)
    assert offset_of(settings.offset) == 0.5


def test_better_quality_takes_more_bytes(model: SpectralModel, real_speech: Signal) -> None:
    sizes = [len(encode(real_speech, model, rate=Rate(quality=quality))) for quality in (0, 5, 10)]
    assert sizes == sorted(sizes) and sizes[2] > 2 * sizes[0]


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (Rate(kbps=0), "kbps: expected a number"),
        (Rate(kbps=float("nan")), "kbps: expected a number"),
        (Rate(quality=11), "quality: expected a number"),
        (Rate(bounded=True), "kbps with a bounded rate"),
        (Rate(kbps=0.01, bounded=True), "groups of at most 0.01 kbps"),
    ],
)
def test_rates_that_there_are_not_are_refused(rate: Rate, message: str, model: SpectralModel) -> None:
    with pytest.raises(UserError, match=message):
        encode(np.zeros(16_000, np.float32), model, rate=rate)


@pytest.mark.parametrize(("frames", "message"), [(0, "spans: expected a whole number from 1"), (17, "1 to 16 frames")])
def test_groups_have_1_to_16_frames(frames: int, message: str, model: SpectralModel) -> None:
    with pytest.raises(UserError, match=message):
        encode(np.zeros(16_000, np.float32), model, spans=frames)


def test_the_search_for_a_rate_ends_near_it_on_any_falling_curve() -> None:
    for fall in (0.3, 0.85, 2.0):
        rates = [14 * np.exp(-fall * (index - ZERO_OFFSET) / 32) for index in range(version_2.OFFSETS)]
        index = offset_for_rate(12.0, version_2.OFFSETS, ZERO_OFFSET, rates.__getitem__)
        assert abs(np.log(rates[index] / 12)) <= 1.01 * min(abs(np.log(np.array(rates) / 12))) + 0.02
    assert [offset_for_quality(quality, 97) for quality in (0, 10)] == [96, 0]


def test_lost_groups_are_named_and_fade(model: SpectralModel, real_speech: Signal) -> None:
    data = encode(real_speech, model, spans=2)
    lost = lose_groups(data, 0.2, 2, seed=1)
    decoded = decode(lost, model)
    assert len(decoded.signal) == len(real_speech)
    assert decoded.damage.lost and np.abs(decoded.signal).max() < 2 * np.abs(real_speech).max()
    nothing_after = b"".join([lost[:16], data[16 : len(data) // 3]])
    silent = decode(nothing_after, model).signal[-8000:]
    assert np.abs(silent).max() < 0.01 * np.abs(real_speech).max()


def test_a_lost_group_harms_no_more_than_the_reach_of_the_networks(model: SpectralModel, real_speech: Signal) -> None:
    data = encode(real_speech, model, spans=2)
    header, groups = data[:16], read_contents(data).groups
    without = header + b"".join(pack_group(group) for group in groups if group.number != 5)
    difference = np.abs(decode(without, model).signal - decode(data, model).signal)
    start, end = (2 * 640 * number - 320 for number in (5, 6))
    reach = 320 * (2 * model.settings.history + 2)
    assert not difference[: start - 1].any() and difference[start:end].max() > 1e-3
    assert difference[end + reach :].max() < 1e-3


def test_silence_stays_silent_and_costs_little(model: SpectralModel) -> None:
    data = encode(np.zeros(48_000, np.float32), model)
    assert not decode(data, model).signal.any()
    assert info(data).kbps() < 2


def test_headers_say_what_they_were_given() -> None:
    for frames in (1, 7, 16):
        for hop in (160, 320, 480):
            for ahead in (False, True):
                header = version_2.Header("01234567", 1234, 3, frames, hop, ahead)
                assert version_2.read("01234567", 1234, header.version_bytes()) == header
    with pytest.raises(DamagedError, match="1 to 63 layers"):
        version_2.read("01234567", 1234, (0, 0))


def levels(signal: Signal) -> list[float]:
    meter = LevelMeter(640)
    return [meter.frame(signal[start : start + 640]) for start in range(0, len(signal) - 639, 640)]


def noise(seconds: float, level: float) -> Signal:
    random = np.random.default_rng(0).standard_normal(round(seconds * 16_000))
    return (10 ** (level / 20) * random).astype(np.float32)


def test_noise_ahead_of_the_first_word_is_soft_whether_or_not_silence_goes_before() -> None:
    for lead in (0, 16_000):
        assert set(levels(np.pad(noise(3, -55), (lead, 0)))) == {START_DB}


def test_the_level_of_speech_stays_in_a_pause(real_speech: Signal) -> None:
    speech = levels(real_speech)
    assert np.ptp(levels(np.concatenate([real_speech, noise(10, -60)]))[len(speech) :]) == 0
    loudest = max(decibels(real_speech[start : start + 640]) for start in range(0, len(real_speech) - 639, 640))
    assert max(speech) == pytest.approx(loudest)


def test_the_level_follows_a_softer_talker_within_seconds(real_speech: Signal) -> None:
    softer = np.concatenate([real_speech, *[0.1 * real_speech] * 4])
    assert levels(softer)[-1] < max(levels(real_speech)) - 15
    louder = np.concatenate([0.1 * real_speech, real_speech])
    assert max(levels(louder)) == pytest.approx(max(levels(real_speech)), abs=1)


def test_exported_graphs_code_as_the_layers_do(saved: SavedModel, tmp_path: Path, real_speech: Signal) -> None:
    export_codec(saved, tmp_path / "model")
    exported: Model = nsc.load(str(tmp_path / "model"))
    for frames in (1, 16):
        ours, theirs = (encode(real_speech, each, spans=frames) for each in (saved.coding, exported))
        assert len(ours) == pytest.approx(len(theirs), rel=1e-3)
        for layers in (1, 2):
            expected = decode(ours, saved.coding, layers).signal
            np.testing.assert_allclose(decode(ours, exported, layers).signal, expected, atol=1e-4)
    described = read_description(tmp_path / "model")
    assert described.kind == "spectral" and described.parameters == sorted(described.parameters)
    assert unpack_header(ours).model == described.digest
