"""Every flag that a kind of network takes is read when it trains, each number of it: derived, not listed."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import tensorflow as tf

from cmrl import stages_of
from corpus.find import find_speech
from corpus.packed import PackedCorpus
from kinds import NETWORKS, cascade_of, name_of_kind
from options.config import Config
from tests.helpers import spectral_cascade, tiny
from tests.helpers.places import CORPUS, ROOT
from training.step import StageTrainer

UNTOUCHED = {"to_dict", "identity", "with_network_of", "replace", "_replace", "__post_init__", "__eq__"}
SMALL: dict[str, Any] = {"shape": (3, 3, 8, 4, 1, 2), "end_kernel": 9}
# Together these take every branch that a flag chooses; a flag that none of them makes anybody read fails the test.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "samples": [
        {"block": "gln", **SMALL, "gated_kernel": 3, "mu_law": True, "quantizer": ("vector", "scalar")},
        {"block": "bottleneck", **SMALL, "time_domain": True, "tau_controller": "original"},
        {"film_units": 4, "loudness_weight": 1.0, "target_entropy_per_module": (2.0, 2.0)},
        {"target_kbps": 16.0, "loss_after_de_emphasis": True},
    ],
    "spectral": [
        spectral_cascade.NETWORK | {"rate_range": (6.0, 32.0), "level_weight": 1.0, "short_window_weight": 1.0},
        spectral_cascade.NETWORK | {"target_kbps": 0.0, "target_entropy_per_module": (0.5, 0.5)},
        spectral_cascade.NETWORK | {"target_kbps": 0.0, "enhancer_width": 8},
    ],
}


class Traced(tuple[Any, ...]):
    """Several numbers of a flag that remember which of them were read."""

    read: set[int]

    def __getitem__(self, place: Any) -> Any:
        self.read |= set(range(len(self))[place] if isinstance(place, slice) else [range(len(self))[place]])
        return super().__getitem__(place)

    def __add__(self, other: Any) -> Any:
        self.read |= set(range(len(self)))
        return super().__add__(other)

    def __iter__(self) -> Any:
        self.read |= set(range(len(self)))
        return super().__iter__()


class Spy(Config):
    """A configuration that remembers what of it was read."""

    seen: ClassVar[dict[str, set[int] | None]] = {}

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        caller = sys._getframe(1).f_code
        if (
            name.startswith("_")
            or name not in FIELDS
            or caller.co_name.lstrip("_").startswith(("check", "require"))
            or caller.co_name in UNTOUCHED
            or "dataclasses" in caller.co_filename
        ):
            return value
        places = Spy.seen.setdefault(name, set() if isinstance(value, tuple) else None)
        if places is None:
            return value
        traced = Traced(value)
        traced.read = places
        return traced


FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def read_in_training(changes: dict[str, Any], folder: Path) -> dict[str, set[int] | None]:
    """The fields that are read when stages are trained for a step and saved, and which of several numbers."""
    Spy.seen.clear()
    for mode in (4, 5):
        config = Spy(**(tiny.NETWORK | tiny.SCHEDULE | {"num_modules": 2, "training_mode": mode} | changes))
        cascade = cascade_of(config)
        corpus = PackedCorpus.pack(find_speech(CORPUS), folder, config.gain)
        for stage in stages_of(config):
            trainer = StageTrainer(cascade, stage, corpus, folder / str(mode))
            epoch, speech = next(trainer.batches())
            trainer.train_step(speech, epoch)
            trainer.controller.steer()
            trainer.controller.end_epoch()
    trainer.kind.coding_model(cascade, trainer.tables(1, 0.01), "00000000", 2)
    return dict(Spy.seen)


def read_by_the_run() -> set[str]:
    """Fields that the code around the kinds reads: in words `config.NAME`."""
    folders = [ROOT / name for name in ("runs", "corpus", "training", "evaluation")]
    text = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    text += (ROOT / "main.py").read_text()
    return {name for name in FIELDS if f"config.{name}" in text or f"follower_setting(self.{name}" in text}


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_flag_of_a_kind_is_read_to_its_last_number(kind: str, tmp_path: Path) -> None:
    read: dict[str, set[int] | None] = dict.fromkeys(read_by_the_run())
    lengths: dict[str, int] = {}
    with tiny.eager_and_short():
        tf.keras.utils.set_random_seed(1)
        for changes in VARIANTS[kind]:
            for name, places in read_in_training(changes, tmp_path).items():
                known = read.get(name)
                read[name] = places if known is None else known | (places or set())
                lengths[name] = max(lengths.get(name, 0), len(places or ()))
    taken = [
        name
        for name, field in FIELDS.items()
        if kind in map(name_of_kind, field.metadata["networks"] or NETWORKS[kind])
    ]
    assert [name for name in taken if name not in read] == []
    several = {name: places for name, places in read.items() if places is not None and name in taken}
    first = VARIANTS[kind][0]
    sizes = {name: len(first.get(name, FIELDS[name].default)) for name in several}
    unread = {name: sizes[name] - len(places) for name, places in several.items() if len(places) < sizes[name]}
    # weights of losses that this kind lacks have to be 0, see `check_known`
    assert unread == ({"coefficients": 2} if kind == "spectral" else {})
