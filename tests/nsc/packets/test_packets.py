"""Packets: coded in chains, converted to files and back, read by a decoder written from the document."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from nsc.entropy.packet_side import GroupSteps
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.format import DamagedError, file_of, packets_of, read_contents, sent_bytes, version_4
from nsc.kinds.spectral.symbol_stream import CodedSymbols, SymbolReader, SymbolWriter
from tests.helpers.reference_packets import ReferencePacketDecoder
from tests.helpers.spectral import random_coder, random_symbols

pytestmark = pytest.mark.slow  # the networks of models that ship

Signal = NDArray[np.float32]
HEADER = version_4.Header("01234567", None, 2, 2, 320)
FRAMES, REFRESH = 2, 3
HOP = nsc.load("cq").settings.hop  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def coder() -> SpectralCoder:
    return random_coder()


@pytest.fixture(scope="module")
def sent() -> list[CodedSymbols]:
    """Seven packets, some with silent spectra, levels and offsets that go up and down."""
    random = np.random.default_rng(5)
    found = []
    for number in range(7):
        symbols = random_symbols(FRAMES, seed=number)
        gains = symbols.gains * (random.random(len(symbols.gains)) > 0.3)
        audible = (gains > 0)[:, None]
        symbols = symbols._replace(gains=gains, indices=tuple(each * audible for each in symbols.indices))
        found.append(CodedSymbols(symbols, GroupSteps(int(random.integers(64)), int(random.integers(81)))))
    return found


def written(coder: SpectralCoder, sent: list[CodedSymbols], refresh: int = REFRESH) -> list[tuple[bytes, ...]]:
    writer, parts = SymbolWriter(coder, refresh), []
    for symbols, steps, *_ in sent:
        coded = CodedSymbols(symbols, steps, writer.before)
        parts.append(writer.content(coded).parts)
        writer.sent(coded)
    return parts


def assert_same(found: SpectralSymbols, expected: SpectralSymbols) -> None:
    assert np.array_equal(found.lsf, expected.lsf)
    assert np.array_equal(found.gains, expected.gains)
    assert all(map(np.array_equal, found.indices, expected.indices))


def group(parts: tuple[bytes, ...]) -> nsc.format.Group:
    return nsc.format.Group(0, (0,), parts)


@pytest.mark.parametrize("layers", [1, 2])
def test_packets_come_back_with_their_steps_at_every_depth(
    coder: SpectralCoder, sent: list[CodedSymbols], layers: int
) -> None:
    reader = SymbolReader(HEADER, coder)
    for parts, (symbols, steps, *_) in zip(written(coder, sent), sent, strict=True):
        found = reader.read(group(parts), layers, FRAMES)
        assert found.steps == steps
        assert_same(found.symbols, symbols._replace(indices=symbols.indices[:layers]))


def test_after_a_loss_packets_are_read_from_the_next_that_stands_alone(
    coder: SpectralCoder, sent: list[CodedSymbols]
) -> None:
    reader, read = SymbolReader(HEADER, coder), []
    for number, parts in enumerate(written(coder, sent)):
        if number == 1:
            reader.missed()
            continue
        try:
            assert_same(reader.read(group(parts), 2, FRAMES).symbols, sent[number].symbols)
            read.append(number)
        except ValueError as error:
            assert "stands alone" in str(error)
    assert read == [0, 3, 4, 5, 6]


def test_a_decoder_written_from_the_document_reads_the_same(coder: SpectralCoder, sent: list[CodedSymbols]) -> None:
    frames = [CodedSymbols(_first_frame(each.symbols), each.steps) for each in sent[:5]]
    reference = ReferencePacketDecoder(coder.arrays(), 2, 1, 2)
    for parts, (symbols, steps, *_) in zip(written(coder, frames), frames, strict=True):
        found = reference.decode(nsc.format.pack_parts(parts))
        assert found is not None
        assert GroupSteps(found.level, found.offset) == steps
        assert found.lsf == symbols.lsf.tolist() and found.gains == symbols.gains.tolist()
        assert found.indices == [each.tolist() for each in symbols.indices]


def _first_frame(symbols: SpectralSymbols) -> SpectralSymbols:
    return SpectralSymbols(symbols.lsf[:1], symbols.gains[:2], tuple(each[:2] for each in symbols.indices))


def test_a_chain_costs_its_ideal_code_length(coder: SpectralCoder, sent: list[CodedSymbols]) -> None:
    writer = SymbolWriter(coder, 100)
    for symbols, steps, *_ in sent:
        coded = CodedSymbols(symbols, steps, writer.before)
        one = SpectralSymbols(symbols.lsf[None], symbols.gains[None], tuple(each[None] for each in symbols.indices))
        lengths = coder.code_lengths(one, np.array([steps.offset]), coded.context)
        ideal = [lengths.lsf.sum() + lengths.gains.sum() + lengths.indices[0].sum(), lengths.indices[1].sum()]
        side = coded.side_bits(coder)
        for message, bits in zip(writer.content(coded).parts, ideal, strict=True):
            assert bits + side <= 8 * len(message) < 1.001 * (bits + side) + 16
            side = 0.0
        writer.sent(coded)


@pytest.fixture(scope="module")
def file(speech_signals: list[Signal]) -> bytes:
    return nsc.encode(np.concatenate(speech_signals)[:40_000], "cq", quality=3, refresh=5)


def test_a_file_and_its_packets_are_the_same_but_for_the_container(file: bytes) -> None:
    header, packets = packets_of(file)
    assert file_of(header, packets) == file
    assert len(header) == 16 and len(packets) == 63
    assert sent_bytes(file) == sum(map(len, packets))


def test_packets_decode_to_the_samples_of_their_file(file: bytes) -> None:
    header, packets = packets_of(file)
    decoder = nsc.PacketDecoder("cq", header)
    signal = np.concatenate([decoder.write(packet) for packet in packets])
    expected = nsc.decode(file)
    assert not decoder.damage and not expected.damage
    assert np.array_equal(signal[: len(expected.signal)], expected.signal)


def test_a_file_of_packets_of_which_some_were_lost_decodes_to_its_length(file: bytes) -> None:
    header, packets = packets_of(file)
    kept = [packet if number not in (7, 31) else None for number, packet in enumerate(packets)]
    signal, damage = nsc.decode(file_of(header, kept))
    assert len(signal) == 40_000
    assert damage.lost == [7, 8, 9, 31, 32, 33, 34]
    with pytest.raises(DamagedError, match="2 missing"):
        packets_of(file_of(header, kept))


@pytest.mark.parametrize("size", [100, 640, 9_000])
def test_blocks_of_any_size_become_the_same_packets(real_speech: Signal, size: int) -> None:
    encoder, signal = nsc.PacketEncoder("cq", quality=4), real_speech[:20_000]
    packets = [each for start in range(0, len(signal), size) for each in encoder.write(signal[start : start + size])]
    whole = packets_of(nsc.encode(signal, "cq", quality=4, refresh=5))
    assert packets + encoder.finish() == whole.packets
    assert nsc.decode(file_of(encoder.header, whole.packets)).signal.shape >= (20_000,)


def test_a_packet_stands_alone_when_it_is_asked_for(real_speech: Signal) -> None:
    encoder = nsc.PacketEncoder("cq", quality=3, refresh=100)
    before = encoder.write(real_speech[: 10 * 640])
    encoder.refresh()
    asked, *others = encoder.write(real_speech[10 * 640 : 15 * 640])
    missing = nsc.PacketDecoder("cq", encoder.header)
    blocks = [missing.write(before[0], 0)] + [missing.write(each, 10 + n) for n, each in enumerate((asked, *others))]
    assert missing.damage.lost == list(range(1, 10))
    whole = nsc.PacketDecoder("cq", encoder.header)
    expected = [whole.write(each) for each in (*before, asked, *others)]
    assert np.abs(blocks[-1] - expected[-1]).max() < 0.05 < np.abs(expected[-1]).max()


def test_packets_of_several_frames_are_all_whole(real_speech: Signal) -> None:
    data = nsc.encode(real_speech[:20_000], "cq", quality=2, refresh=2, spans=3)
    header, packets = packets_of(data)
    decoder = nsc.PacketDecoder("cq", header)
    assert [len(decoder.write(packet)) for packet in packets[:2]] == [3 * 640 - HOP, 3 * 640]
    assert len(nsc.decode(data).signal) == 20_000 and not nsc.decode(data).damage


def test_packets_cost_little_more_than_long_groups(real_speech: Signal) -> None:
    signal = real_speech[:80_000]
    groups = len(nsc.encode(signal, "cq", quality=3))
    assert sent_bytes(nsc.encode(signal, "cq", quality=3, refresh=5)) < 1.08 * groups


def test_the_first_packet_costs_little_more_than_those_after_it(speech_signals: list[Signal]) -> None:
    sizes = [
        list(map(len, nsc.PacketEncoder("cq", refresh=1, quality=5).write(signal[8_000:16_000])))
        for signal in speech_signals
    ]
    assert sum(first for first, *_ in sizes) < 1.8 * sum(np.mean(rest) for _, *rest in sizes)


def decoded_in(header: bytes, packets: dict[int, bytes], order: list[int]) -> tuple[Signal, nsc.Damage]:
    decoder = nsc.PacketDecoder("cq", header)
    blocks = [decoder.write(packets[number], (number + 65_520) % 65_536) for number in order]
    return np.concatenate(blocks), decoder.damage


def test_late_and_repeated_packets_are_left_out_and_counted(file: bytes) -> None:
    header, packets = packets_of(file)
    sent = dict(enumerate(packets))
    signal, damage = decoded_in(header, sent, [*range(20), 19, 3, *range(20, 40), 39])
    expected, _ = decoded_in(header, sent, list(range(40)))
    assert np.array_equal(signal, expected)
    assert damage.left_out == 3 and not damage


def test_what_is_missing_is_concealed_until_a_packet_stands_alone(file: bytes) -> None:
    header, packets = packets_of(file)
    order = [number for number in range(40) if number not in (11, 12)]
    signal, damage = decoded_in(header, dict(enumerate(packets)), order)
    assert damage.lost == [11, 12, 13, 14]
    assert len(signal) == 40 * 640 - HOP


def test_a_decoder_joins_anywhere_and_goes_on_where_a_stream_begins_anew(file: bytes) -> None:
    header, packets = packets_of(file)
    decoder = nsc.PacketDecoder("cq", header)
    assert len(decoder.write(packets[5], 9)) == 640 - HOP
    assert len(decoder.write(packets[6], 10)) == 640
    assert len(decoder.write(packets[10], 40_000)) == 0
    assert len(decoder.write(packets[11], 40_001)) == 640
    assert decoder.damage.left_out == 1


def test_two_hundred_packets_lost_in_a_row_cost_two_hundred(file: bytes) -> None:
    header, packets = packets_of(file)
    decoder = nsc.PacketDecoder("cq", header)
    decoder.write(packets[0], 7)
    assert len(decoder.write(packets[5], 208)) == 201 * 640
    assert decoder.damage.lost == list(range(1, 201))


def test_a_packet_is_concealed_at_once_and_left_out_when_it_comes(file: bytes) -> None:
    header, packets = packets_of(file)
    decoder = nsc.PacketDecoder("cq", header)
    for number in range(5):
        decoder.write(packets[number], number)
    assert len(decoder.lost()) == 640
    assert len(decoder.write(packets[5], 5)) == 0
    assert len(decoder.write(packets[6], 6)) == 640
    assert (decoder.damage.lost, decoder.damage.left_out) == ([5, 6], 1)


def test_any_bytes_end_in_samples_of_a_packet_each(file: bytes) -> None:
    header, packets = packets_of(file)
    decoder, random = nsc.PacketDecoder("cq", header), np.random.default_rng(6)
    decoder.write(packets[0])
    for trial in range(60):
        kind = trial % 3
        data = bytearray(packets[trial])
        if kind == 1:
            data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
        signal = decoder.write(random.bytes(int(random.integers(80))) if kind == 2 else bytes(data))
        assert len(signal) == 640 and np.isfinite(signal).all()
    assert len(decoder.write(b"\xff" * 100_000)) == 640


@pytest.mark.slow
def test_the_rate_of_a_file_of_packets_is_theirs(real_speech: Signal) -> None:
    data = nsc.encode(real_speech, "cq", kbps=6, refresh=5)
    assert 8 * sent_bytes(data) * 16 / len(real_speech) == pytest.approx(6, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kbps", [6, 12])
def test_the_rate_of_a_stream_of_packets_counts_all_their_bytes(speech_signals: list[Signal], kbps: float) -> None:
    signal = np.concatenate(speech_signals)[: 24 * 16_000]
    encoder = nsc.PacketEncoder("cq", kbps=kbps)
    packets = encoder.write(signal) + encoder.finish()
    assert 8 * sum(map(len, packets)) / 1000 / 24 == pytest.approx(kbps, rel=0.02)


@pytest.mark.parametrize(("name", "frames", "layers"), [("cq", 16, 1), ("cq-scalable", 4, 2)])
def test_a_file_of_long_groups_becomes_packets_and_back_without_being_coded_again(
    name: str, frames: int, layers: int, real_speech: Signal
) -> None:
    signal = np.concatenate([np.zeros(9_000, np.float32), real_speech[:31_000]])
    model = nsc.load(name)
    file = nsc.encode(signal, model, layers, spans=frames)
    for spans in (1, frames // 2):
        packets = nsc.regroup(file, model, spans=spans, refresh=5)
        assert nsc.info(packets).header.layers == layers
        assert len(packets_of(packets).packets) == -(-len(model.symbols(file)["lpc"]) // spans)
        found = nsc.decode(packets, model)
        assert not found.damage
        np.testing.assert_allclose(found.signal, nsc.decode(file, model).signal, atol=1e-4)
        for part, symbols in model.symbols(file).items():
            assert np.array_equal(model.symbols(packets)[part][: len(symbols)], symbols)
        assert nsc.regroup(packets, model, spans=frames) == file
    assert sent_bytes(nsc.regroup(file, refresh=100)) < 1.06 * len(file)


def test_packets_of_several_levels_are_no_long_group(file: bytes) -> None:
    with pytest.raises(nsc.UserError, match="several in group 0; choose shorter groups"):
        nsc.regroup(file, spans=16)
    singly = nsc.regroup(file, spans=1)
    assert nsc.info(singly).header.version == 3 and nsc.regroup(singly, refresh=5) == file
    with pytest.raises(nsc.UserError, match="expected a file of a model on the lapped spectrum"):
        nsc.regroup(nsc.encode(np.zeros(9_000), "cq-9k"), refresh=5)


def test_what_is_no_header_of_packets_is_refused(file: bytes, real_speech: Signal) -> None:
    other = nsc.encode(real_speech[:10_000], "cq")
    for call in (lambda: nsc.PacketDecoder("cq", other[:16]), lambda: packets_of(other), lambda: file_of(other, [])):
        with pytest.raises(nsc.UserError, match="expected packets, version 4"):
            call()
    with pytest.raises(nsc.UserError, match="expected a file of model"):
        nsc.PacketDecoder("cq-scalable", file[:16])
    with pytest.raises(nsc.UserError, match="lapped spectrum for packets"):
        nsc.PacketEncoder("cq-9k")


def test_a_cut_file_of_packets_decodes_as_so_many_layers_of_the_whole(real_speech: Signal) -> None:
    signal = real_speech[:12_000]
    whole = nsc.encode(signal, "cq-scalable", quality=5, refresh=3)
    cut = nsc.format.truncate(whole, 2)
    assert nsc.info(cut).header.layers == 2
    np.testing.assert_array_equal(nsc.decode(cut).signal, nsc.decode(whole, layers=2).signal)
    direct = nsc.encode(signal, "cq-scalable", 2, quality=5, refresh=3)  # which leaves out bits of its last codec
    first, same = ([group.parts[0] for group in read_contents(data).groups] for data in (cut, direct))
    assert first == same
    kinds = [a.parts[0] != b.parts[0] for a, b in pairwise(read_contents(whole).groups)]
    assert any(kinds)
