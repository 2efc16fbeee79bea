"""Models of any rate in the comparison."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from comparison.coders import model_coder
from comparison.figures.bits import allocate, codebooks, draw_bits
from nsc.errors import UserError
from runs.saved_model import load_model
from tests.helpers.places import CORPUS
from tests.helpers.spectral_cascade import saved_spectral_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("check") / "20260101-000000-abcdef01"
    saved_spectral_model(run, sorted(CORPUS.rglob("*.flac")))
    return run / "stages" / "first"


def test_a_model_of_any_rate_is_a_codec_at_each_rate_and_one_curve(
    folder: Path, tmp_path: Path, speech_clips: list[NDArray[np.int16]]
) -> None:
    coders = [model_coder(f"any={folder}@{kbps}", tmp_path) for kbps in (32, 45)]
    assert [coder.codec.label for coder in coders] == ["any 32", "any 45"]
    assert len({coder.codec.name for coder in coders}) == 2 and {coder.codec.family for coder in coders} == {"any"}
    for coder, kbps in zip(coders, (32, 45), strict=True):
        deepest = coder.code(speech_clips[0], tmp_path / "cache")[-1]
        assert deepest.bits * 16 / len(speech_clips[0]) == pytest.approx(kbps, rel=0.05)


def test_a_rate_that_is_no_number_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MODEL@KBPS"):
        model_coder(f"{folder}@much", tmp_path)


def test_bits_of_all_parts_add_up_to_the_file_and_every_symbol_is_counted(
    folder: Path, speech_signals: list[NDArray[np.float32]]
) -> None:
    model, signal = load_model(folder), speech_signals[0]
    found = allocate(model, signal)
    payload = 8 * sum(
        size for name, size in nsc.info(nsc.encode(signal, model.coding)).bytes.items() if "codec" in name
    )
    assert sum(bits.sum() for bits in found.bits.values()) == pytest.approx(payload, rel=0.01)
    frames = len(found.bits["lpc"])
    assert [count.sum() / frames for count in found.counts.values()] == [16, 2, 640, 640]
    assert {name: len(book) for name, book in codebooks(model).items()} == {
        name: len(count) for name, count in found.counts.items()
    }


def test_the_picture_of_bits_is_drawn(folder: Path, tmp_path: Path) -> None:
    lines = draw_bits(load_model(folder), sorted(CORPUS.rglob("*.flac"))[:1], tmp_path)
    assert Path(lines[0]).is_file() and "bits per frame of 40 ms" in lines[1]
