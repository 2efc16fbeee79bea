"""A third kind costs a module and a line of the registry: docs/new_kind.md."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import kinds
import nsc
from corpus.find import find_speech
from evaluation.evaluate import evaluate
from export.codec_folder import export_codec
from runs.saved_model import load_model
from runs.stages import stage_folders
from tests.helpers.places import CORPUS
from tests.helpers.tiny import Workplace


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    kinds.register("toy", ("toy",), "tests.helpers.toy_kind", "kinds.samples.options")
    yield
    del kinds.NETWORKS["toy"], kinds.KINDS["toy"], kinds.OPTIONS["toy"]
    kinds.CHOICES.remove("toy")


def test_a_new_kind_trains_codes_exports_and_is_evaluated(tmp_path: Path, real_speech: NDArray[np.float32]) -> None:
    place = Workplace(tmp_path)
    greedy = place.train(training_mode=3, num_modules=2, block="toy")
    run = place.train(training_mode=5, base_model_id=greedy.id, num_modules=2, block="toy")
    assert place.events(run, "exported")[-1]["kbps"] > place.events(run, "exported")[-1]["kbps_depth_1"] > 0

    model = load_model(stage_folders(run.folder)["finetune"])
    export_codec(model, tmp_path / "toy")
    exported = nsc.load(str(tmp_path / "toy"))
    data = nsc.encode(real_speech, exported)
    decoded = [nsc.decode(data, each, 1).signal for each in (exported, model.coding)]
    assert len(decoded[0]) == len(real_speech)
    assert decoded[0] == pytest.approx(decoded[1], abs=1e-3)

    results = evaluate(model, [file for file in find_speech(CORPUS) if file.split == "test"][:1], tmp_path / "scores")
    assert [each.depth for each in results] == [1, 2]
    assert results[0].kbps < results[1].kbps and results[0].training_kbps > 0
