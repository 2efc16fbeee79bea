import hashlib
import subprocess
import sys
import zlib

import numpy as np
import pytest

from nsc.entropy.coefficient_model import LARGEST_INDEX, in_coding_order
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.errors import UserError
from tests.helpers.spectral import random_coder, random_symbols, table_of

GROUP_SIZES = (1, 2, 3, 8, 16)
OFFSET = 47


@pytest.fixture(scope="module")
def coder() -> SpectralCoder:
    return random_coder()


def assert_equal(first: SpectralSymbols, second: SpectralSymbols) -> None:
    assert np.array_equal(first.lsf, second.lsf)
    assert np.array_equal(first.gains, second.gains)
    for one, other in zip(first.indices, second.indices, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("frames", GROUP_SIZES)
def test_a_group_of_any_length_comes_back_as_it_was(coder: SpectralCoder, frames: int) -> None:
    symbols = random_symbols(frames, seed=frames)
    assert_equal(coder.decode(coder.encode(symbols, OFFSET), frames, OFFSET), symbols)


def test_the_coder_needs_neither_tensorflow_nor_scipy() -> None:
    code = "import sys, nsc.entropy.spectral_coder; print(*{'tensorflow', 'keras', 'scipy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_extreme_symbols_come_back_as_they_were(coder: SpectralCoder) -> None:
    for value in (-LARGEST_INDEX, 0, LARGEST_INDEX):
        lsf, gains = np.full((2, 16), 255, np.int32), np.array([1, 63, 1, 63], np.int32)
        indices = np.full((4, 320), value, np.int32)
        symbols = SpectralSymbols(lsf, gains, (indices, -indices))
        for offset in (0, len(coder.offsets) - 1):
            assert_equal(coder.decode(coder.encode(symbols, offset), 2, offset), symbols)


def test_an_offset_that_the_model_lacks_is_refused_as_corrupt_bytes_are(coder: SpectralCoder) -> None:
    messages = coder.encode(random_symbols(4), OFFSET)
    with pytest.raises(ValueError, match="expected one of 81 offsets, found 81"):
        coder.decode(messages, 4, len(coder.offsets))


def test_the_first_codecs_come_back_without_the_later_ones(coder: SpectralCoder) -> None:
    symbols = random_symbols(4)
    messages = coder.encode(symbols, OFFSET)
    first = SpectralSymbols(symbols.lsf, symbols.gains, symbols.indices[:1])
    assert coder.encode(first, OFFSET) == messages[:1]
    assert_equal(coder.decode(messages[:1], 4, OFFSET), first)


def test_bytes_are_exactly_these(coder: SpectralCoder) -> None:
    messages = coder.encode(random_symbols(16), OFFSET)
    digest = hashlib.sha256(b"".join(messages)).hexdigest()[:16]
    assert ([len(message) for message in messages], digest) == ([4270, 4302], "26a357182a6cce3f")


def test_bytes_of_a_group_do_not_depend_on_other_groups(coder: SpectralCoder) -> None:
    groups = random_symbols(2, groups=(3,))
    lengths = coder.code_lengths(groups, np.full(3, OFFSET))
    for number in range(3):
        alone = coder.code_lengths(groups.group(number), np.array(OFFSET))
        assert np.array_equal(alone.lsf, lengths.lsf[number])
        assert np.array_equal(alone.gains, lengths.gains[number])
        assert all(np.array_equal(a, b[number]) for a, b in zip(alone.indices, lengths.indices, strict=True))


def test_tables_are_those_that_whole_numbers_alone_choose(coder: SpectralCoder) -> None:
    symbols = random_symbols(2, seed=5)
    places = in_coding_order(np.arange(320, dtype=np.int32))
    random = np.random.default_rng(3)
    for codec, classes in enumerate(coder.classes(symbols, OFFSET)):
        assert len(np.unique(classes)) > 20, "the test should see many tables"
        for spectrum in range(4):
            for column in [*random.choice(320, 20, replace=False), 0, 79, 80, 159, 160, 319]:
                expected = table_of(coder, symbols, OFFSET, codec, spectrum, int(places[column]))
                assert classes[spectrum, column] == expected, (codec, spectrum, places[column])


@pytest.mark.parametrize("frames", GROUP_SIZES)
def test_messages_are_as_long_as_the_ideal_code_and_two_bytes_at_most(coder: SpectralCoder, frames: int) -> None:
    symbols = random_symbols(frames, seed=frames)
    lengths = coder.code_lengths(symbols, np.array(OFFSET))
    ideal = [lengths.lsf.sum() + lengths.gains.sum() + lengths.indices[0].sum(), lengths.indices[1].sum()]
    for message, bits in zip(coder.encode(symbols, OFFSET), ideal, strict=True):
        # 24-bit probabilities made of 16-bit tables give rare symbols a little more than their share
        assert 0.999 * bits - 8 < 8 * len(message) < 1.001 * bits + 16


def test_any_bytes_decode_to_symbols_or_to_a_value_error(coder: SpectralCoder) -> None:
    for seed in range(200):
        random = np.random.default_rng(seed)
        messages = [random.bytes(int(random.integers(0, 300))) for _ in range(2)]
        try:
            found = coder.decode(messages, 2, int(random.integers(len(coder.offsets))))
        except ValueError:
            continue
        assert found.lsf.min() >= 0 and found.lsf.max() <= 255, seed
        assert np.abs(found.indices).max() <= LARGEST_INDEX, seed


def test_damaged_messages_decode_to_symbols_or_to_a_value_error(coder: SpectralCoder) -> None:
    symbols = random_symbols(2)
    messages = coder.encode(symbols, OFFSET)
    for seed in range(100):
        random = np.random.default_rng(seed)
        damaged = bytearray(messages[0])
        damaged[int(random.integers(len(damaged)))] ^= int(random.integers(1, 256))
        try:
            found = coder.decode([bytes(damaged), messages[1]], 2, OFFSET)
        except ValueError:
            continue
        assert found.indices[1].shape == (4, 320), seed


def test_a_coder_comes_back_from_its_arrays(coder: SpectralCoder) -> None:
    arrays = coder.arrays("spectral/")
    assert all(array.dtype == np.int32 for array in arrays.values())
    again = SpectralCoder.read(arrays | {"other": np.zeros(3)}, "spectral/")
    assert again.encode(random_symbols(3), OFFSET) == coder.encode(random_symbols(3), OFFSET)
    assert {key: zlib.crc32(value.tobytes()) for key, value in again.arrays("spectral/").items()} == {
        key: zlib.crc32(value.tobytes()) for key, value in arrays.items()
    }


def test_each_missing_array_is_refused_by_name(coder: SpectralCoder) -> None:
    arrays = coder.arrays()
    for name in arrays:
        if name == "codec_2:tables":
            continue  # that says how many codecs there are
        rest = {key: value for key, value in arrays.items() if key != name}
        with pytest.raises(UserError, match=name.split(":")[-1]):
            SpectralCoder.read(rest)


def test_each_array_of_another_kind_or_shape_is_refused_by_name(coder: SpectralCoder) -> None:
    arrays = coder.arrays()
    for name, array in arrays.items():
        for other in (array.astype(np.float32), array[None], array.reshape(-1)[:0], array.astype("U3"), np.array(None)):
            with pytest.raises(UserError, match=name.split(":")[0]) as caught:
                SpectralCoder.read(arrays | {name: other})
            assert "\n" not in str(caught.value)


def test_numbers_out_of_range_are_refused(coder: SpectralCoder) -> None:
    arrays = coder.arrays()
    bad = {
        "offsets": arrays["offsets"][::-1],
        "lsf:angles": arrays["lsf:angles"] + 20_000,
        "lsf:below": np.ones_like(arrays["lsf:below"]),
        "lsf:step": np.zeros_like(arrays["lsf:step"]),
        "lsf:counts": arrays["lsf:counts"] + 1,
        "lsf:tables": arrays["lsf:tables"] + 1,
        "lsf:cosines": arrays["lsf:cosines"].astype(np.int64) << 30,
        "gains:tables": arrays["gains:tables"] * 0,
        "codec_1:tables": np.roll(arrays["codec_1:tables"], 1, axis=1),
        "codec_1:round_0:hidden": arrays["codec_1:round_0:hidden"].astype(np.int64) << 40,
        "codec_2:offsets": arrays["codec_2:offsets"][:316],
    }
    for name, array in bad.items():
        with pytest.raises(UserError, match=name.split(":")[0]):
            SpectralCoder.read(arrays | {name: array})


def test_every_model_file_of_random_numbers_is_refused_or_works(coder: SpectralCoder) -> None:
    arrays, symbols = coder.arrays(), random_symbols(1)
    for seed in range(60):
        random = np.random.default_rng(seed)
        name = list(arrays)[int(random.integers(len(arrays)))]
        changed = arrays[name].copy()
        changed.flat[int(random.integers(changed.size))] = random.integers(-(2**31), 2**31)
        try:
            other = SpectralCoder.read(arrays | {name: changed})
        except UserError:
            continue
        assert_equal(other.decode(other.encode(symbols, 0), 1, 0), symbols)


def test_indices_go_towards_zero_exactly_where_that_is_worth_it() -> None:
    coder, symbols, worth = random_coder(), random_symbols(2, seed=5), 0.5
    random = np.random.default_rng(6)
    bins = np.arange(-LARGEST_INDEX, LARGEST_INDEX + 1) * 1.01
    for codec in coder.codecs:
        codec.bins = np.rint(bins * 65536).astype(np.int64)
    last = symbols.indices[-1]
    codes = (1.01 * last + random.uniform(-0.5, 0.5, last.shape) * (last != 0)).astype(np.float32)
    found = coder.nearer_to_zero(symbols, codes, OFFSET, worth)
    assert np.array_equal(found.indices[0], symbols.indices[0])
    tables, moved = coder.codecs[1].tables, 0
    for spectrum in range(4):
        for place in range(0, 320, 3):
            index = int(last[spectrum, place])
            lower = index - int(np.sign(index))
            table = tables[table_of(coder, symbols, OFFSET, 1, spectrum, place)]
            saved = np.log2(table[lower + LARGEST_INDEX] / table[index + LARGEST_INDEX])
            error = [(float(codes[spectrum, place]) - 1.01 * each) ** 2 for each in (index, lower)]
            expected = lower if index and error[1] - error[0] < worth * saved else index
            assert found.indices[1][spectrum, place] == expected
            moved += expected != index
    assert 20 < moved < 400
    assert np.array_equal(coder.nearer_to_zero(symbols, codes, OFFSET, 0.0).indices[1], last)
