import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kinds.samples.cascade import SampleCascade
from kinds.samples.rate import Tables
from nsc.errors import UserError
from runs.saved_model import assign_weights, load_model, save_model, saved_config, saved_taus, saved_weights
from runs.stages import ARRAYS, DESCRIPTION, stage_folders
from tests.helpers import tiny
from tests.helpers.tiny import Workplace

FLIPS = 150  # places of a file that a test damages one after the other


@pytest.fixture(scope="module")
def cascade() -> SampleCascade:
    return SampleCascade(tiny.config(num_modules=2, strides=(2, 4), bins=(32, 16)))


@pytest.fixture(scope="module")
def tables(cascade: SampleCascade) -> Tables:
    counts = {part.name: np.full((part.shape[1], part.alphabet), 65536 // part.alphabet) for part in cascade.parts()}
    return {name: table.astype(np.int32) for name, table in counts.items()}


@pytest.fixture
def saved(cascade: SampleCascade, tables: Tables, tmp_path: Path) -> Path:
    """A stage's folder."""
    save_model(tmp_path, "follower_2", cascade, tables, 2)
    return tmp_path / "stages" / "follower_2"


def test_a_model_comes_back_as_it_was_saved(saved: Path, cascade: SampleCascade, tables: Tables) -> None:
    loaded = load_model(saved)

    for before, after in zip(cascade.weights, loaded.cascade.weights, strict=True):
        assert np.array_equal(before.numpy(), after.numpy())
    assert loaded.tables.keys() == tables.keys()
    assert all(np.array_equal(loaded.tables[name], tables[name]) for name in tables)
    assert loaded.stage == "follower_2"
    assert loaded.cascade.config.identity() == cascade.config.identity()


def test_the_digest_is_the_weights_and_not_the_place(
    saved: Path, cascade: SampleCascade, tables: Tables, tmp_path: Path
) -> None:
    digest = load_model(saved).digest
    assert re.fullmatch("[0-9a-f]{8}", digest)

    elsewhere = SampleCascade(tiny.config(num_modules=2, strides=(2, 4), bins=(32, 16), check_dir="elsewhere"))
    assign_weights(elsewhere, saved_weights(saved))
    assert save_model(tmp_path / "other", "follower_2", elsewhere, tables, 2) == digest

    codebook = elsewhere.codecs[0].quantizer.codebook
    codebook.assign(codebook + np.eye(32, dtype=np.float32)[0] * 1e-6)
    assert save_model(tmp_path / "third", "follower_2", elsewhere, tables, 2) != digest


def test_a_model_remembers_the_taus_at_which_its_training_arrived(
    saved: Path, cascade: SampleCascade, tables: Tables, tmp_path: Path
) -> None:
    save_model(tmp_path / "steered", "follower_2", cascade, tables, 2, taus=[3.5, 1.25])
    assert saved_taus(tmp_path / "steered" / "stages" / "follower_2") == [3.5, 1.25]
    assert saved_taus(saved) == []


def test_a_shallower_stage_holds_the_first_codecs_alone(cascade: SampleCascade, tables: Tables, tmp_path: Path) -> None:
    first = {name: table for name, table in tables.items() if name != "codec 2"}
    save_model(tmp_path, "first", cascade, first, 1)
    folder = tmp_path / "stages" / "first"

    assert saved_config(folder).num_modules == 1
    assert saved_config(folder).strides == (2,)
    assert not any(name.startswith("codec_2") for name in saved_weights(folder))
    assert len(load_model(folder).cascade.codecs) == 1


@pytest.mark.parametrize("name", [ARRAYS, DESCRIPTION])
def test_any_flipped_bit_is_refused_or_changes_nothing(name: str, saved: Path) -> None:
    whole, weights = (saved / name).read_bytes(), saved_weights(saved)
    generator = np.random.default_rng(0)
    refused = 0
    for place in generator.choice(len(whole), FLIPS):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        (saved / name).write_bytes(damaged)
        try:
            read = saved_weights(saved)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
        else:  # a date or another field of the archive that says nothing about the model
            assert all(np.array_equal(weights[key], read[key]) for key in weights)
    assert refused > 0.7 * FLIPS


def test_a_byte_of_the_weights_is_covered_by_the_hash_and_not_only_by_the_archive(saved: Path) -> None:
    arrays = saved_weights(saved)
    name = next(name for name in arrays if name.startswith("codec_1/"))
    arrays[name].reshape(-1)[0] += 1e-3
    with (saved / ARRAYS).open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]

    with pytest.raises(UserError, match="does not have the hash that it carries"):
        load_model(saved)


def test_a_changed_description_is_refused(saved: Path) -> None:
    description = json.loads((saved / DESCRIPTION).read_text())
    description["config"]["res_scalar"] = 2.0
    (saved / DESCRIPTION).write_text(json.dumps(description))

    with pytest.raises(UserError, match="does not have the hash that it carries"):
        load_model(saved)


@pytest.mark.parametrize("name", [ARRAYS, DESCRIPTION])
def test_a_truncated_or_missing_file_is_refused(name: str, saved: Path) -> None:
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="holds no readable model"):
        load_model(saved)
    (saved / name).unlink()
    with pytest.raises(UserError, match="holds no readable model"):
        load_model(saved)


def test_weights_of_another_shape_name_the_weight(saved: Path) -> None:
    with pytest.raises(UserError, match=r"codec_1/\d+ has shape .* the network expects"):
        assign_weights(SampleCascade(tiny.config(num_modules=1, folded_width=8)), saved_weights(saved))


def test_stages_are_listed_in_the_order_of_training(saved: Path) -> None:
    for name in ("finetune", "first", "follower_10", "follower_3"):
        shutil.copytree(saved, saved.parent / name)

    assert list(stage_folders(saved.parent.parent)) == ["first", "follower_2", "follower_3", "follower_10", "finetune"]


def test_a_trained_model_shows_the_digest_of_the_journal(trained: Workplace) -> None:
    folder = trained.folders()[1]
    exported = json.loads((trained.doc / f"{folder.name}.jsonl").read_text().splitlines()[-2])

    assert exported["event"] == "exported"
    assert load_model(stage_folders(folder)["finetune"]).digest == exported["model"]
