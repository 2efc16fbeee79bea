from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinds.samples.tables import training_symbols
from nsc.entropy.context_model import ContextModel, Symbols, code_lengths, frame_code_lengths, read_models
from nsc.entropy.range_coding import RangeDecoder
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.errors import UserError
from runs.saved_model import SavedModel
from tests.helpers.coding import symbols_of
from tests.helpers.reference_decoder import decode_part

GROUPS = 8


@pytest.fixture(scope="module")
def model(coding_model: SavedModel) -> SavedModel:
    return coding_model


@pytest.fixture(scope="module")
def symbols(model: SavedModel, speech_signals: list[NDArray[np.float32]]) -> dict[str, Symbols]:
    found = symbols_of(model.cascade, speech_signals[-2:])
    return {name: values[:GROUPS] for name, values in found.items()}


def shapes(model: SavedModel) -> dict[str, tuple[int, int]]:
    return {part.name: part.shape for part in model.cascade.parts()}


def plain(model: SavedModel) -> dict[str, ContextModel]:
    return read_models({name: table for name, table in model.tables.items() if ":" not in name})


def group(symbols: dict[str, Symbols], number: int, frames: int = 16) -> dict[str, Symbols]:
    return {name: values[number, :frames] for name, values in symbols.items()}


@pytest.mark.parametrize("frames", [1, 2, 3, 15, 16])
def test_a_group_of_any_length_comes_back_as_it_was(
    model: SavedModel, symbols: dict[str, Symbols], frames: int
) -> None:
    for models in (read_models(model.tables), plain(model)):
        coder = SymbolCoder(models, shapes(model))
        sent = group(symbols, 0, frames)
        decoded = coder.decode(coder.encode(sent), frames)
        for name, values in sent.items():
            assert np.array_equal(decoded[name], values), name


def test_the_first_parts_come_back_without_the_later_ones(model: SavedModel, symbols: dict[str, Symbols]) -> None:
    coder = SymbolCoder(read_models(model.tables), shapes(model))
    decoded = coder.decode(coder.encode(group(symbols, 1))[:2], 16)
    assert list(decoded) == ["lpc", "codec 1"]
    assert np.array_equal(decoded["codec 1"], symbols["codec 1"][1])


def test_the_payload_exceeds_the_ideal_code_length_by_less_than_half_a_per_cent_and_four_bytes_a_part(
    model: SavedModel, symbols: dict[str, Symbols]
) -> None:
    for models in (read_models(model.tables), plain(model)):
        ideal = code_lengths(models, symbols)
        coder = SymbolCoder(models, shapes(model))
        payloads = [coder.encode(group(symbols, number)) for number in range(len(symbols["lpc"]))]
        for part, name in enumerate(symbols):
            size = sum(len(each[part]) for each in payloads)
            assert size <= ideal[name].sum() / 8 * 1.005 + 4, name
        total = sum(len(payload) for each in payloads for payload in each)
        assert total <= sum(bits.sum() for bits in ideal.values()) / 8 * 1.005 + 4


def test_a_decoder_written_from_the_document_reads_the_same_symbols(
    model: SavedModel, symbols: dict[str, Symbols]
) -> None:
    coder = SymbolCoder(read_models(model.tables), shapes(model))
    frames = 3
    sent = group(symbols, 2, frames)
    before = None
    for payload, (name, values) in zip(coder.encode(sent), sent.items(), strict=True):
        columns = len(model.tables[f"{name}:levels"])
        decoded, before = decode_part(model.tables, name, payload, values.size // columns, before)
        assert np.array_equal(np.reshape(decoded, values.shape), values), name


def test_contexts_cost_fewer_bits_than_one_table_a_channel(model: SavedModel, symbols: dict[str, Symbols]) -> None:
    by_context = code_lengths(read_models(model.tables), symbols)
    by_table = code_lengths(plain(model), symbols)
    for name in symbols:
        assert by_context[name].sum() < by_table[name].sum(), name


@pytest.mark.parametrize("length", [5, 16, 32, 37])
def test_a_signal_costs_what_its_groups_cost(model: SavedModel, symbols: dict[str, Symbols], length: int) -> None:
    models, whole = read_models(model.tables), length // 16 * 16
    frames = {name: values.reshape(-1, *values.shape[2:])[:length] for name, values in symbols.items()}
    rest = code_lengths(models, group_of(frames, slice(whole, length)))
    for name, bits in frame_code_lengths(models, frames).items():
        assert bits[:whole] == pytest.approx(code_lengths(models, symbols)[name].reshape(-1)[:whole])
        assert bits[whole:] == pytest.approx(rest[name][0])


def group_of(frames: dict[str, Symbols], which: slice) -> dict[str, Symbols]:
    return {name: values[None, which] for name, values in frames.items()}


def test_tables_come_from_files_taken_by_chance(model: SavedModel, speech_folder: Path) -> None:
    paths = sorted(speech_folder.rglob("*.flac"))
    found = training_symbols(model.cascade, 1, [*paths, Path("none.wav")], minutes=0.1)
    assert list(found) == ["lpc", "codec 1"]
    assert 12 <= len(found["lpc"]) <= 24
    assert found["codec 1"].shape[1:] == (16, *model.cascade.codecs[0].symbols_shape)
    with pytest.raises(UserError, match="found none"):
        training_symbols(model.cascade, 1, [Path("none.wav")], minutes=0.1)


def test_every_table_is_whole_positive_and_sums_to_two_to_the_sixteenth(model: SavedModel) -> None:
    for name, context_model in read_models(model.tables).items():
        assert context_model.tables.min() >= 1, name
        assert (context_model.tables.sum(-1) == 1 << 16).all(), name


def test_a_saved_context_model_is_the_same_when_read_again(model: SavedModel) -> None:
    for name, context_model in read_models(model.tables).items():
        again = read_models({name: model.tables[name]} | context_model.arrays(name))[name]
        for field, values in vars(context_model).items():
            assert np.array_equal(getattr(again, field), values), field


def test_corrupt_payloads_end_in_symbols_of_the_alphabet_or_a_value_error(model: SavedModel) -> None:
    coder = SymbolCoder(read_models(model.tables), shapes(model))
    rng = np.random.default_rng(5)
    for _ in range(50):
        payloads = [rng.bytes(int(rng.integers(0, 60))) for _ in range(3)]
        try:
            decoded = coder.decode(payloads, 1)
        except ValueError:
            continue
        for part in model.cascade.parts():
            assert 0 <= decoded[part.name].min() <= decoded[part.name].max() < part.alphabet


def test_symbols_that_were_never_seen_can_be_sent(model: SavedModel) -> None:
    coder = SymbolCoder(read_models(model.tables), shapes(model))
    rng = np.random.default_rng(6)
    sent = {
        part.name: rng.integers(0, part.alphabet, (2, *part.shape)).astype(np.int32) for part in model.cascade.parts()
    }
    decoded = coder.decode(coder.encode(sent), 2)
    assert all(np.array_equal(decoded[name], values) for name, values in sent.items())


def test_an_empty_payload_is_read_as_zeros() -> None:
    assert RangeDecoder(b"").decode(np.array([[65535.0, 1.0]] * 3)).tolist() == [0, 0, 0]
