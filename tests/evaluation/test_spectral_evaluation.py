import json
from pathlib import Path

import numpy as np
import pytest

import nsc
from corpus.speech_file import SpeechFile
from evaluation.evaluate import evaluate
from evaluation.results import rate_check, summary, table
from nsc.errors import UserError
from runs.saved_model import SavedModel
from tests.helpers.places import CORPUS
from tests.helpers.spectral_cascade import saved_spectral_model
from utilities import load_speech

PATHS = sorted(CORPUS.rglob("*.flac"))
CLIPS = [SpeechFile(path, path.parent.name, "test") for path in PATHS[:2]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    return saved_spectral_model(tmp_path_factory.mktemp("check"), PATHS)


def test_a_model_for_any_rate_is_scored_at_each_rate_and_depth_through_written_files(
    model: SavedModel, tmp_path: Path
) -> None:
    results = evaluate(model, CLIPS, tmp_path, rates=(32, 45))
    assert [(row["asked_kbps"], row["depth"]) for row in summary(results)] == [(32, 1), (32, 2), (45, 1), (45, 2)]
    for each in results:
        data = (tmp_path / each.written).read_bytes()
        assert each.kbps == pytest.approx(8 * len(data) / each.seconds / 1000)
        assert sum(each.byte_counts.values()) == len(data)
        decoded = load_speech(tmp_path / each.decoded)
        np.testing.assert_allclose(decoded, np.clip(nsc.decode(data, model.coding).signal, -1, 1), atol=1e-4)
        if each.depth == 2:
            assert each.kbps == pytest.approx(each.asked_kbps, rel=0.05)
    for row in summary(results):
        assert abs(row["payload_kbps"] / row["ideal_kbps"] - 1) < 0.01
    assert "PESQ-WB" in table(results) and "rate check" in rate_check(results)
    depths = json.loads((tmp_path / "summary.json").read_text())["depths"]
    assert [row["asked_kbps"] for row in depths] == [32, 32, 45, 45]


def test_training_estimates_what_files_of_an_untrained_rate_take_to_a_fifth(model: SavedModel, tmp_path: Path) -> None:
    row = summary(evaluate(model, CLIPS[:1], tmp_path))[-1]
    assert row["training_kbps"] == pytest.approx(row["ideal_kbps"], rel=0.2)


def test_rates_of_a_model_of_one_rate_are_refused(coding_model: SavedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="requires a variable-rate model"):
        evaluate(coding_model, CLIPS[:1], tmp_path, rates=(12,))
