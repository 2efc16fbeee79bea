"""Where the bits of a file go: that the shares add up to the file, and that dead bins are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
import report
from comparison.figures.bits import _bin_lines, allocate, codebooks
from runs.saved_model import SavedModel, save_model
from tests.helpers.places import CORPUS

CLIP = sorted(CORPUS.rglob("*.flac"))[0]


def test_bits_a_frame_of_all_parts_add_up_to_the_payload_of_the_file(
    coding_model: SavedModel, speech_signals: list[NDArray[np.float32]]
) -> None:
    signal = speech_signals[0]
    bits = allocate(coding_model, signal).bits
    sizes = nsc.info(nsc.encode(signal, coding_model.coding)).bytes
    assert list(bits) == ["lpc", "codec 1", "codec 2"]
    for name in ("lpc", "codec 1", "codec 2"):
        # a group's part ends on a whole byte, and a few more come with the coder's end
        groups = -(-len(bits[name]) // 16)
        assert 0 <= 8 * sizes[name] - bits[name].sum() <= 8 * (4 * groups + 0.005 * sizes[name])
    assert len({len(values) for values in bits.values()}) == 1


def test_every_symbol_is_counted_in_its_bin(
    coding_model: SavedModel, speech_signals: list[NDArray[np.float32]]
) -> None:
    allocation = allocate(coding_model, speech_signals[0])
    frames = len(allocation.bits["lpc"])
    assert allocation.counts["lpc"].sum() == 16 * frames
    assert allocation.counts["codec 1"].sum() == 256 * frames
    assert {name: len(book) for name, book in codebooks(coding_model).items()} == {
        name: len(counts) for name, counts in allocation.counts.items()
    }


def test_dead_bins_are_named_with_their_places() -> None:
    lines = _bin_lines({"codec 1": np.array([0, 50, 50, 0])}, {"codec 1": np.array([-1, 0, 0.5, 2], np.float32)})
    assert lines == [
        "codec 1: 2 of 4 bins used, 1.00 bits per symbol without context; never used: 0 (at -1.000), 3 (at 2.000)"
    ]
    (line,) = _bin_lines({"codec 1": np.r_[1, np.zeros(20, int)]}, {"codec 1": np.zeros((21, 2), np.float32)})
    assert line.endswith("and 8 more")


@pytest.mark.filterwarnings("error:constrained_layout")
def test_the_command_draws_a_picture_and_says_what_each_part_costs(
    tmp_path: Path, coding_model: SavedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
    save_model(tmp_path / "tiny", "first", coding_model.cascade, coding_model.tables, 2)
    folder = tmp_path / "tiny" / "stages" / "first"
    assert report.main(["bits", "--model", str(folder), "--output", str(tmp_path), str(CLIP)]) == 0
    picture = tmp_path / "plots" / f"bits_{coding_model.digest}_{CLIP.stem}.png"
    assert picture.stat().st_size > 10_000 and picture.with_suffix(".svg").is_file()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == str(picture)
    assert [line.split(":")[0] for line in lines[1:]] == [CLIP.name, "lpc", "codec 1", "codec 2"]


def test_a_missing_file_is_named(tmp_path: Path, coding_model: SavedModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["bits", "--model", "none", "--check_dir", str(tmp_path), "none.wav"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
