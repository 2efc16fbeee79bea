from pathlib import Path

import numpy as np
import pytest

from kinds.samples.front_end import lsf_codebook
from scripts.measure.codebook import Training, draw, movement, training_of
from tests.helpers.spectral_cascade import NETWORK
from tests.helpers.tiny import Workplace


def test_movement_counts_steps_between_the_levels_of_a_coefficient() -> None:
    start = lsf_codebook()
    step = start[1] - start[0]
    moved = movement(start.astype(np.float64) + step * (np.arange(256) < 16))
    np.testing.assert_allclose(moved[:16], 1, rtol=1e-4)
    np.testing.assert_allclose(moved[16:], 0, atol=1e-6)


def test_bits_and_levels_of_runs_become_a_picture(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    trainings: dict[str, list[Training]] = {}
    for kind, learns in (("fixed", False), ("learned", True)):
        changes = NETWORK | {"num_modules": 1, "train_lsf_codebook": learns, "codebook_learning_rate": 1.0, "epochs": 2}
        trainings[kind] = [training_of(place.train(training_mode=1, **changes), place.doc)]
    for (found,) in trainings.values():
        assert len(found.steps) == 2
        assert all(len(bits) == 2 and bits.min() > 0 for bits in found.bits.values())
    assert np.abs(movement(trainings["fixed"][0].levels)).max() == pytest.approx(0, abs=1e-5)
    assert np.abs(movement(trainings["learned"][0].levels)).max() > 0
    draw(trainings, tmp_path / "codebook.png")
    assert (tmp_path / "codebook.png").stat().st_size > 10_000
