"""Training stays what it was, to the bit: the golden numbers were written before the code was rearranged."""

import hashlib
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from numpy.typing import NDArray

from kinds.spectral.fitting import training_symbols
from runs.runs import Run
from runs.saved_model import saved_taus, saved_weights
from runs.stages import stage_folders
from tests.helpers import spectral_cascade, tiny
from tests.helpers.places import CORPUS, GOLDEN
from tests.helpers.tiny import Workplace
from training import loop, validation

SAME = GOLDEN / "same_training.json"
REGENERATE = "REGENERATE_GOLDEN"  # set it to write the golden numbers anew, then look at the difference
SHORT: dict[str, Any] = {"num_modules": 2, "steps_per_epoch": 3, "epochs": 2, "context_minutes": 0.05, "seed": 5}
# Each is trained greedily, then finetuned; rate control acts at every second step, and validation corrects it.
KINDS: dict[str, dict[str, Any]] = {
    "samples": SHORT | {"target_kbps": 16.0, "quantizer": ("vector", "scalar"), "pretrain_epochs": 1},
    "samples, original's rate control": SHORT
    | {"time_domain": True, "tau_controller": "original", "num_modules": 1, "gain_augmentation_db": 0.0},
    "spectral": spectral_cascade.NETWORK
    | SHORT
    | {"rate_range": (6.0, 32.0), "epochs": 1, "level_weight": 0.01, "noise_fill": True},
}
CLIP = 16_000  # samples of a clip where whole ones would take minutes to code, as the lapped spectrum does


def machine() -> str:
    """A digest of what bits depend on beside the code."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags"))]
    threads = tf.config.threading
    facts = {
        "processor": hashlib.sha256("".join([platform.machine(), *names[:2]]).encode()).hexdigest()[:16],
        "cores": os.cpu_count(),
        "threads": [threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads()],
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def digests(run: Run) -> dict[str, str]:
    """SHA-256 of the weights, tables and taus of each stage."""
    found = {}
    for stage, folder in stage_folders(run.folder).items():
        arrays = saved_weights(folder)
        digest = hashlib.sha256(json.dumps(saved_taus(folder)).encode())
        for name in sorted(arrays):
            digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
        found[stage] = digest.hexdigest()[:16]
    return found


def projections(run: Run) -> dict[str, float]:
    """One number of each array of weights of a run's last stage: how far it lies in a random direction."""
    arrays = saved_weights(list(stage_folders(run.folder).values())[-1])
    weights = {name: array for name, array in arrays.items() if not name.startswith("table")}
    return {name: float(array.ravel() @ _direction(array)) for name, array in weights.items()}


def _direction(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.random.default_rng(array.size).standard_normal(array.size) / np.sqrt(array.size)


def golden(name: str, kind: str, found: Any) -> Any:
    """What was found when the golden numbers were written."""
    known = json.loads(SAME.read_text())
    if REGENERATE in os.environ:
        known[name][kind] = found
        SAME.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        pytest.skip("golden numbers were written")
    return known[name][kind]


def short_clips(root: Path) -> Path:
    """The corpus of the tests with the first second of each clip."""
    for path in CORPUS.rglob("*.flac"):
        copy = root / path.relative_to(CORPUS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(copy, soundfile.read(path, CLIP, dtype="int16")[0], 16_000)
    shutil.copy(CORPUS / "manifest.csv", root)
    return root


@pytest.fixture(autouse=True)
def corrected_by_whole_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As training goes, but for how often it is corrected."""
    monkeypatch.setattr(tiny, "RATE_CORRECTIONS", 1)
    monkeypatch.setattr(tiny, "FEWEST_FILES", training_symbols.FEWEST_FILES)
    monkeypatch.setattr(tiny, "VALIDATED", validation.LONGEST)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_trains_the_same_weights_to_the_bit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = f"{kind}, {machine()}"
    if REGENERATE not in os.environ and here not in json.loads(SAME.read_text())["to the bit"]:
        pytest.skip("on another machine, rounding meets hard decisions: other bits are no other training")
    monkeypatch.setattr(loop, "CONTROL_INTERVAL", 2)
    place, changes = Workplace(tmp_path), KINDS[kind]
    if kind == "spectral":
        changes = changes | {"data_dir": str(short_clips(tmp_path / "clips"))}
    greedy = place.train(training_mode=4, **changes)
    finetuned = place.train(training_mode=5, base_model_id=greedy.id, **changes)
    found = digests(greedy) | digests(finetuned)
    assert found == golden("to the bit", here, found)


@pytest.mark.parametrize("kind", ["samples", "spectral"])
def test_without_quantisers_training_is_the_same_on_any_machine(kind: str, tmp_path: Path) -> None:
    bypassed = {"num_modules": 1, "steps_per_epoch": 2, "epochs": 1, "pretrain_epochs": 1, "context_minutes": 0.01}
    changes = KINDS[kind] | bypassed | {"quantizer": ("scalar",), "noise_fill": False}
    found = projections(Workplace(tmp_path).train(training_mode=1, **changes))
    expected = golden("without quantisers", kind, found)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value == pytest.approx(expected[name], rel=1e-4, abs=1e-4), name
