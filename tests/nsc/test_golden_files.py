"""Files of format version 1 decode to the same symbols for ever; these goldens are never made anew."""

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nsc import format as bitstream
from nsc.entropy.context_model import read_models
from nsc.entropy.symbol_coding import SymbolCoder
from tests.helpers.places import GOLDEN, ROOT
from tests.helpers.reference_decoder import decode_part
from utilities import number_of_frames

FOLDER = GOLDEN / "nsc" / "version_1"
RECORD = json.loads((FOLDER / "golden.json").read_text())
NAMES = sorted(RECORD["files"])

# Symbols of one file in a process of its own, printed as their hash.
SCRIPT = "from tests.nsc import test_golden_files as t; print(t.symbols_hash({name!r}))"


def tables(name: str) -> dict[str, NDArray[np.int32]]:
    with np.load(FOLDER / "tables.npz") as file:
        kept = {key: file[key] for key in file.files}
    return kept if RECORD["files"][name]["contexts"] else {key: kept[key] for key in kept if ":" not in key}


def coder_of(name: str, header: bitstream.Header) -> SymbolCoder:
    shapes = {part: tuple(shape) for part, shape in RECORD["shapes"].items()}
    kept = list(shapes)[: len(header.part_names)]
    return SymbolCoder(read_models(tables(name)), {part: shapes[part] for part in kept})


def group_symbols(name: str) -> list[dict[str, NDArray[np.int32]]]:
    header, groups, missing, damaged = bitstream.read_contents((FOLDER / f"{name}.nsc").read_bytes())
    assert (missing, damaged) == (0, 0)
    assert header.num_samples is not None
    left = number_of_frames(header.num_samples)
    coder, found = coder_of(name, header), []
    for group in groups:
        found.append(coder.decode(group.parts, min(left, header.group_frames)))
        left -= header.group_frames
    return found


def symbols_hash(name: str) -> str:
    groups, digest = group_symbols(name), hashlib.sha256()
    for part in groups[0]:
        symbols = np.concatenate([group[part] for group in groups])
        digest.update(part.encode() + symbols.astype("<i4").tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_file_decodes_to_its_symbols(name: str) -> None:
    assert symbols_hash(name) == RECORD["files"][name]["symbols_sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_the_symbols_of_a_golden_file_are_coded_to_its_bytes(name: str) -> None:
    data = (FOLDER / f"{name}.nsc").read_bytes()
    header, groups, *_ = bitstream.read_contents(data)
    coder = coder_of(name, header)
    coded = [
        bitstream.pack_group(group._replace(parts=tuple(coder.encode(symbols))))
        for group, symbols in zip(groups, group_symbols(name), strict=True)
    ]
    assert bitstream.pack_header(header) + b"".join(coded) == data
    assert hashlib.sha256(data).hexdigest() == RECORD["files"][name]["file_sha256"]


def test_a_decoder_written_from_the_document_reads_the_last_group_of_a_golden_file() -> None:
    groups = bitstream.read_contents((FOLDER / "one_layer.nsc").read_bytes()).groups
    expected, arrays, before = group_symbols("one_layer")[-1], tables("one_layer"), None
    for payload, (part, symbols) in zip(groups[-1].parts, expected.items(), strict=True):
        rows = symbols.size // len(arrays[f"{part}:levels"])
        decoded, before = decode_part(arrays, part, payload, rows, before)
        assert np.array_equal(np.reshape(decoded, symbols.shape), symbols)


@pytest.mark.parametrize("settings", [{"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}])
def test_symbols_do_not_depend_on_threads_or_on_the_kind_of_arithmetic(settings: dict[str, Any]) -> None:
    script = SCRIPT.format(name="contexts")
    environment = os.environ | settings | {"OPENBLAS_NUM_THREADS": settings["OMP_NUM_THREADS"]}
    output = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == RECORD["files"]["contexts"]["symbols_sha256"]
