"""Models of any rate in the comparison."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from comparison.coders import model_coder
from nsc.errors import UserError
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
