"""Exported models whose description lies are refused in one line; those of the user's that are damaged are skipped."""

import hashlib
import io
import json
import os
import re
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from nsc.errors import UserError
from nsc.loading import find
from nsc.loading import folder as trained
from runs.stages import find_model
from tests.helpers.places import ROOT

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def copy(codec_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(codec_folder, tmp_path / "models" / "copy"))


def rewrite(folder: Path, change: Change) -> None:
    values = json.loads((folder / "codec.json").read_text())
    change(values)
    (folder / "codec.json").write_text(json.dumps(values))


def entry(name: str, value: Any) -> Change:
    return lambda values: values.update({name: value})


def setting(name: str, value: Any) -> Change:
    return lambda values: values["settings"].update({name: value})


def part(place: int, name: str, value: Any) -> Change:
    return lambda values: values["settings"]["parts"][place].update({name: value})


LIES: dict[str, tuple[Change, str]] = {
    "no settings": (lambda values: values.pop("settings"), "settings: expected a table"),
    "settings that are a list": (entry("settings", [1]), "settings: expected a table"),
    "a name that is a number": (entry("name", 7), "name: expected text"),
    "a digest that is none": (entry("digest", "../../x"), "digest: expected eight hex digits"),
    "files that are a list": (entry("files", ["a"]), "files: expected a hash"),
    "no parameters": (entry("parameters", []), "parameters: expected a whole number for each layer"),
    "parameters that are text": (entry("parameters", ["a"]), "parameters: expected a whole number"),
    "a rate that is text": (entry("kbps", "9"), "kbps: expected a number"),
    "an entry too many": (entry("colour", "blue"), "holds no readable model"),
    "another kind": (entry("kind", "parrot"), "which this nsc does not know"),
    "no parts": (setting("parts", []), "parts: expected a list of parts"),
    "parts that are a table": (setting("parts", {"a": 1}), "parts: expected a list of parts"),
    "a part without a name": (setting("parts", [{}]), "parts with names"),
    "a part of 10^9 symbols": (part(1, "shape", [10**9, 1]), "codec 1: expected a shape of two"),
    "a part of one dimension": (part(1, "shape", [3]), "codec 1: expected a shape of two"),
    "an alphabet of 10^9": (part(1, "alphabet", 10**9), "codec 1: expected an alphabet of 2 to"),
    "an alphabet of another size": (part(1, "alphabet", 8), "codec 1: expected shape"),
    "a part twice": (part(1, "name", "lpc"), "parts: expected lpc, codec 1"),
    "a layer too few": (lambda values: values["settings"]["parts"].pop(), "expected 2 codecs, found 1"),
    "an unknown setting": (setting("colour", "blue"), "holds no readable model"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_description_that_lies_is_refused_in_one_line(copy: Path, lie: str) -> None:
    change, words = LIES[lie]
    rewrite(copy, change)
    with pytest.raises(UserError) as error:
        nsc.load(str(copy))
    assert words in str(error.value)
    assert str(copy) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "7", "[" * 100_000, "{}", '{"layout": 1}'])
def test_a_description_that_is_none_is_refused_and_skipped(
    copy: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "codec.json").write_text(text)
    with pytest.raises(UserError, match=str(copy)):
        nsc.load(str(copy))
    monkeypatch.setenv("NSC_MODELS", str(copy.parent))
    assert "tiny" not in [model.name for model in nsc.models()]


def with_tables(folder: Path, change: Callable[[dict[str, NDArray[Any]]], object]) -> None:
    """Other tables under a right hash."""
    with np.load(folder / "tables.npz") as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    (folder / "tables.npz").write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    rewrite(folder, lambda values: values["files"].update({"tables.npz": digest}))


TABLES: dict[str, tuple[Callable[[dict[str, NDArray[Any]]], object], str]] = {
    "a count of zero": (lambda arrays: arrays["codec 1"].__setitem__((0, 0), 0), "counts of at least 1"),
    "a missing table": (lambda arrays: arrays.pop("codec 2"), "codec 2: expected a table"),
    "fractions": (lambda arrays: arrays.update({"lpc": arrays["lpc"] / 2}), "lpc: expected whole numbers"),
    "a neighbourhood of 99 rows": (
        lambda arrays: arrays.update(
            {f"codec 1:{each}": np.zeros((9, 99, 8), np.int64) for each in ("mean_weights", "scale_weights")}
        ),
        "codec 1:mean_weights: expected",
    ),
    "text": (lambda arrays: arrays.update({"lpc": arrays["lpc"].astype("U8")}), "expected numbers"),
    "phases of step 0": (lambda arrays: arrays["codec 1:phases"].__setitem__((0, 1), 0), "rows, steps and columns"),
}


@pytest.mark.parametrize("lie", TABLES)
def test_tables_that_lie_are_refused_in_one_line(copy: Path, lie: str) -> None:
    change, words = TABLES[lie]
    with_tables(copy, change)
    with pytest.raises(UserError) as error:
        nsc.load(str(copy))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("model", "graph", "other"),
    [
        ("tiny", "encoder", "cq/encoder"),
        ("tiny", "decoder", "cq-9k/decoder"),
        ("cq", "encoder", "cq/decoder"),
        ("cq", "encoder", "cq-scalable/encoder"),
        ("cq-scalable", "decoder", "cq/decoder"),
        ("cq-16k", "decoder", "cq-scalable/decoder"),
    ],
)
def test_a_graph_of_another_model_is_refused_when_the_model_is_loaded(
    copy: Path, tmp_path: Path, model: str, graph: str, other: str
) -> None:
    if model != "tiny":
        copy = Path(shutil.copytree(find.PRETRAINED / model, tmp_path / model))
    data = (find.PRETRAINED / f"{other}.tflite").read_bytes()
    (copy / f"{graph}.tflite").write_bytes(data)
    with pytest.raises(UserError, match=f"{copy}/{graph}.tflite does not have the hash"):
        nsc.load(copy)
    digest = hashlib.sha256(data).hexdigest()
    rewrite(copy, lambda values: values["files"].update({f"{graph}.tflite": digest}))
    with pytest.raises(UserError, match=f"{copy} holds no usable model: the {graph} graph: expected .*, found"):
        nsc.load(copy)


def test_the_folder_of_a_run_and_of_a_stage_and_of_a_shipped_model_is_a_model(
    coding_model: Any, tmp_path: Path
) -> None:
    from runs.saved_model import save_model

    for stage in ("first", "finetune"):
        save_model(tmp_path / "run", stage, coding_model.cascade, coding_model.tables, 2)
    finetuned = tmp_path / "run" / "stages" / "finetune"
    assert find_model(f"{tmp_path / 'run'}/", tmp_path) == finetuned
    assert find_model(f"{finetuned}/", tmp_path) == finetuned
    shipped = next(Path(trained.__file__).parents[1].glob("pretrained/cq-9k"))
    assert find_model(f"{shipped}/", tmp_path).parts[-3:] == ("cq-9k", "stages", "finetune")
    assert nsc.load(f"{shipped}/").depth == 1


OWN_MODELS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a rate of 400 digits": (lambda values: values.update(kbps=10**400), "kbps: expected a number up to 1000"),
    "a rate of 5000 digits": (lambda values: values.update(kbps=10**4200), "kbps: expected a number up to 1000"),
    "a name of 5000 digits": (lambda values: values.update(name="1" * 5000), "name: expected 1 to 64 printable"),
    "a name of commands to the terminal": (lambda values: values.update(name="\x1b]0;t\x07"), "name: expected"),
    "no name": (lambda values: values.update(name=""), "name: expected 1 to 64 printable"),
}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The project's own lines, each of which is said anew."""
    monkeypatch.setattr(find, "_said", set())
    monkeypatch.setattr("nsc.console.log.propagate", True)
    caplog.set_level("INFO")
    return caplog


@pytest.mark.parametrize("lie", OWN_MODELS)
def test_a_bad_folder_of_the_user_s_is_passed_over_with_a_line(
    copy: Path, lie: str, monkeypatch: pytest.MonkeyPatch, lines: pytest.LogCaptureFixture
) -> None:
    change, words = OWN_MODELS[lie]
    rewrite(copy, change)
    monkeypatch.setenv("NSC_MODELS", str(copy.parent))
    assert next(model.name for model in nsc.models()) == "cq"
    nsc.models()
    assert len(lines.messages) == 1
    assert words in lines.messages[0] and str(copy) in lines.messages[0]


def test_names_with_digits_of_any_script_are_listed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(copy, lambda values: values.update(name="cq²"))
    monkeypatch.setenv("NSC_MODELS", str(copy.parent))
    assert "cq²" in [model.name for model in nsc.models()]
    assert nsc.load("cq²").depth == 2


def test_a_name_twice_and_a_missing_folder_are_said_once(
    copy: Path, monkeypatch: pytest.MonkeyPatch, lines: pytest.LogCaptureFixture
) -> None:
    rewrite(copy, lambda values: values.update(name="cq"))
    shipped = {model.name: model.digest for model in nsc.models()}["cq"]
    monkeypatch.setenv("NSC_MODELS", str(copy.parent))
    assert nsc.load("cq").depth == 2
    assert nsc.load(shipped).digest == shipped
    assert [f"goes by its hash {shipped} alone: {copy}" in line for line in lines.messages] == [True]
    lines.clear()
    monkeypatch.setenv("NSC_MODELS", "/none/here")
    assert nsc.load("cq").digest == shipped
    nsc.models()
    assert lines.messages == ["NSC_MODELS names '/none/here', which is no folder: no models of your own"]


@pytest.mark.parametrize("name", ["encoder.tflite", "tables.npz"])
def test_a_pipe_in_a_folder_is_not_waited_for(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        nsc.encode(np.zeros(8000, np.float32), str(copy))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1 << 23,), "expected at most 67108864 bytes of arrays, found"),
        ((1 << 60,), "expected 9223372036854775808 bytes"),
    ],
)
def test_large_arrays_are_refused_by_their_headers(copy: Path, shape: tuple[int, ...], words: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("lpc.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<i8", "fortran_order": False, "shape": shape})
        for _ in range(64 if shape[0] < 1 << 30 else 1):
            member.write(bytes(1 << 20))
    (copy / "tables.npz").write_bytes(packed.getvalue())  # of 64 kB
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    rewrite(copy, lambda values: values["files"].update({"tables.npz": digest}))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=words):
            nsc.load(copy)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_tables_hold_nothing_but_their_arrays(codec_folder: Path) -> None:
    """Numpy 2.0 and 2.1 write flags of theirs as arrays, so that nothing may give any."""
    with zipfile.ZipFile(codec_folder / "tables.npz") as archive:
        assert "allow_pickle.npy" not in archive.namelist()
    product = [path for path in ROOT.rglob("*.py") if not {"tests", ".venv"} & set(path.parts)]
    calls = [call for path in product for call in re.findall(r"savez\w*\([^)]*", path.read_text())]
    assert len(calls) > 2 and not [call for call in calls if "allow_pickle" in call]


@pytest.mark.parametrize("name", ["history", "depth", "hop", "group_frames", "spectra_per_frame"])
def test_a_truth_value_is_no_number_of_frames(tmp_path: Path, name: str) -> None:
    shutil.copytree(find.PRETRAINED / "cq", tmp_path / "cq", ignore=shutil.ignore_patterns("stages"))
    rewrite(tmp_path / "cq", lambda values: values["settings"].update({name: True}))
    with pytest.raises(UserError, match=f"{name}: expected .* found True"):
        nsc.load(tmp_path / "cq")
