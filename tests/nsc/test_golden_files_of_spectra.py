"""Files of versions 2 and 4 decode to the same symbols for ever; these goldens are never made anew."""

import hashlib
import json

import numpy as np
import pytest

from nsc import format as bitstream
from nsc.entropy.spectral_coder import SpectralCoder
from nsc.kinds.spectral.model import file_groups
from nsc.kinds.spectral.symbol_stream import CodedSymbols, SymbolWriter
from tests.helpers.places import GOLDEN

FOLDER = GOLDEN / "nsc" / "version_2"
RECORD = json.loads((FOLDER / "golden.json").read_text())
NAMES = sorted(RECORD)
# The symbols of a golden file of groups of one frame as packets, every fifth of which stands alone.
PACKETS = (GOLDEN / "nsc" / "version_4" / "every_fifth_alone.nsc").read_bytes()
PACKETS_OF, REFRESH = "coarse_groups_of_one", 5
PACKETS_SHA256 = "523fbf64744b7f1016d4578d2cadefb2621c26b1159c885eaf2aea4050d0d5b7"


@pytest.fixture(scope="module")
def coder() -> SpectralCoder:
    with np.load(FOLDER / "tables.npz") as file:
        return SpectralCoder.read({key: file[key] for key in file.files})


def symbols_hash(data: bytes, coder: SpectralCoder) -> str:
    digest = hashlib.sha256()
    for symbols, steps, *_ in file_groups(data, coder):
        for array in (np.array(steps), symbols.lsf, symbols.gains, *symbols.indices):
            digest.update(array.astype("<i4").tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_file_decodes_to_its_symbols(name: str, coder: SpectralCoder) -> None:
    data = (FOLDER / f"{name}.nsc").read_bytes()
    assert hashlib.sha256(data).hexdigest() == RECORD[name]["file_sha256"]
    assert symbols_hash(data, coder) == RECORD[name]["symbols_sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_the_symbols_of_a_golden_file_are_coded_to_its_bytes(name: str, coder: SpectralCoder) -> None:
    data = (FOLDER / f"{name}.nsc").read_bytes()
    header, groups, *_ = bitstream.read_contents(data)
    coded = [
        bitstream.pack_group(group._replace(parts=tuple(coder.encode(found.symbols, found.steps.offset))))
        for group, found in zip(groups, file_groups(data, coder), strict=True)
    ]
    assert bitstream.pack_header(header) + b"".join(coded) == data


def test_golden_packets_hold_the_symbols_and_steps_of_the_golden_file(coder: SpectralCoder) -> None:
    assert hashlib.sha256(PACKETS).hexdigest() == PACKETS_SHA256
    assert symbols_hash(PACKETS, coder) == RECORD[PACKETS_OF]["symbols_sha256"]


def test_the_symbols_of_the_golden_file_are_coded_to_the_golden_packets(coder: SpectralCoder) -> None:
    writer, parts = SymbolWriter(coder, REFRESH), []
    for symbols, steps, *_ in file_groups((FOLDER / f"{PACKETS_OF}.nsc").read_bytes(), coder):
        coded = CodedSymbols(symbols, steps, writer.before)
        parts.append(writer.content(coded).parts)
        writer.sent(coded)
    assert parts == [group.parts for group in bitstream.read_contents(PACKETS).groups]
