"""Models whose hash is right and whose contents are not: refused in one line before anything is built or computed."""

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinds.samples.cascade import SampleCascade
from nsc.errors import UserError
from options.bounds import check_bounds, check_weights
from options.config import Config
from runs.model_file import sizes_by_layer
from runs.saved_model import ARRAYS, DESCRIPTION, SavedModel, _read, _write, load_model, save_model, weights_of
from tests.helpers import tiny

Arrays = dict[str, NDArray[Any]]
Change = Callable[[Arrays, dict[str, Any]], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, coding_model: SavedModel) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    save_model(folder, "first", coding_model.cascade, coding_model.tables, 2)
    return folder / "stages" / "first"


def resealed(whole: Path, folder: Path, change: Change) -> Path:
    """A copy of a model, changed, under a hash of its own."""
    arrays, description = _read(whole)
    del description["sha256"]
    change(arrays, description)
    _write(folder, arrays, description)
    return folder


def put(name: str, value: Callable[[NDArray[Any]], NDArray[Any]]) -> Change:
    return lambda arrays, _: arrays.update({name: value(arrays[name])})


def drop(name: str) -> Change:
    return lambda arrays, _: arrays.pop(name)


def option(name: str, value: Any) -> Change:
    return lambda _, description: description["config"].update({name: value})


def entry(name: str, value: Any) -> Change:
    return lambda _, description: description.update({name: value})


def changed(place: tuple[int, ...] | Any, value: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        array = array.copy()
        array[place] = value
        return array

    return change


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


LIES: dict[str, tuple[Change, str]] = {
    "weights that are NaN": (put("codec_1/000", changed((0, 0, 0), np.nan)), "expected finite numbers"),
    "weights that are infinite": (put("codec_1/001", changed(0, np.inf)), "expected finite numbers"),
    "weights of 1e30": (put("codec_1/001", changed(0, 1e30)), "expected finite numbers up to 1e"),
    "weights that are text": (put("codec_1/000", lambda each: each.astype("U8")), "expected numbers, found <U8"),
    "a missing weight": (drop("codec_2/003"), "expected a weight codec_2/003, found none"),
    "a weight too many": (
        lambda arrays, _: arrays.update({"codec_1/999": np.zeros(3, "f4")}),
        "which it does not have",
    ),
    "a weight of another shape": (put("codec_1/001", lambda each: each[:-1]), "expected numbers of shape"),
    "whole numbers as weights": (put("codec_1/001", lambda each: each.astype("i4")), "expected numbers of shape"),
    "a table of another alphabet": (put("table/codec 1", lambda each: each[:, :-1]), "codec 1: expected shape"),
    "a table of another rank": (put("table/lpc", lambda each: each[0]), "lpc: expected shape"),
    "a table of fractions": (put("table/lpc", lambda each: each.astype("f4")), "lpc: expected whole numbers"),
    "a missing table": (drop("table/codec 2"), "codec 2: expected a table, found none"),
    "a table of no part": (lambda arrays, _: arrays.update({"table/x": np.ones((1, 2), "i4")}), "one of none"),
    "a count of zero": (put("table/codec 1", changed((0, 0), 0)), "counts of at least 1"),
    "a negative count": (put("table/codec 1:tables", changed((0, 0, 0), -5)), "counts of at least 1"),
    "another sum": (put("table/codec 1:tables", changed((0, 0, 0), 60_000)), "rows that sum to 65536"),
    "contexts without levels": (drop("table/codec 1:levels"), "expected all arrays of its contexts, found no"),
    "phases of step 0": (put("table/codec 1:phases", changed((0, 1), 0)), "rows, steps and columns"),
    "phases of a column that is not there": (put("table/codec 1:phases", changed((0, 2), 99)), "rows, steps and"),
    "phases that begin before the group": (put("table/codec 1:phases", changed((0, 0), -1)), "rows, steps and"),
    "phases of four numbers": (put("table/codec 1:phases", lambda p: np.pad(p, ((0, 0), (0, 1)))), "rows, steps and"),
    "a phase left out": (
        lambda arrays, _: [arrays.update({name: arrays[name][1:]}) for name in arrays if _of_phases(name)],
        "code every symbol once",
    ),
    "a phase twice": (
        put("table/codec 1:phases", lambda each: np.concatenate([each[:1], each[:1], each[2:]])),
        "code every symbol once",
    ),
    "levels of another alphabet": (put("table/codec 1:levels", lambda each: each[:, 1:]), "expected 9 levels"),
    "columns that divide nothing": (put("table/codec 1:levels", lambda each: each[:-1]), "columns that divide"),
    "weights of an even neighbourhood": (put("table/codec 1:mean_weights", lambda each: each[:, 1:]), "neighbourhood"),
    "weights of a column more": (
        put("table/codec 1:mean_weights", lambda each: np.pad(each, ((0, 0), (0, 0), (0, 1)))),
        "neighbourhood",
    ),
    "sums beyond 2^53": (put("table/codec 1:mean_weights", lambda each: each.astype("i8") + 2**50), "below 2^53"),
    "falling thresholds": (put("table/codec 1:scale_thresholds", lambda each: each[:, ::-1]), "thresholds that rise"),
    "thresholds of another number": (put("table/codec 1:scale_thresholds", lambda each: each[:, 1:]), "expected shape"),
    "a scalar": (put("table/codec 1:tables", lambda each: np.array(3)), "expected 3 dimensions, found 0"),
    "no entry at all": (put("table/codec 1:phases", lambda each: each[:0]), "expected"),
    "a width of 10^9": (option("folded_width", 10**9), "folded_width: expected 1 to 8192"),
    "a width beyond the weights": (option("folded_width", 4096), "arrays of"),
    "10^7 blocks": (option("folded_blocks", 10**7), "folded_blocks: expected 1 to 256"),
    "blocks beyond the weights": (option("folded_blocks", 200), "arrays of"),
    "10^6 codecs": (option("num_resnets", 10**6), "num_modules: expected 1 to 63"),
    "codecs beyond the weights": (option("num_resnets", 60), "expected weights of 60 codecs"),
    "a dilation of 10^9": (option("bottleneck_kernel_and_dilation", [9, 9, 100, 20, 10**9]), "dilations up to"),
    "a kernel of 10^6": (option("folded_kernel", 10**6), "folded_kernel: expected"),
    "a scale of 10^300": (option("res_scalar", 1e300), "res_scalar: expected"),
    "a number of 400 digits": (option("folded_width", 10**400), "folded_width: expected a whole number"),
    "no number": (option("folded_width", None), "folded_width: expected a whole number"),
    "an unknown option": (option("folded_widht", 3), "unknown key"),
    "no configuration": (lambda _, description: description.pop("config"), "expected a configuration"),
    "a list as configuration": (entry("config", [1, 2]), "expected a configuration, found list"),
    "null as configuration": (entry("config", None), "expected a configuration, found NoneType"),
    "deep nesting as configuration": (option("the_strides", nested(200)), "the_strides: expected whole numbers"),
    "a stage that leaves its folder": (entry("stage", "../../x"), "expected a stage"),
    "a stage that is a number": (entry("stage", 7), "expected a stage"),
    "taus that are text": (entry("tau", ["a"]), "expected a list of numbers as tau"),
}


def _of_phases(name: str) -> bool:
    return name.startswith("table/codec 1:") and not name.endswith(":levels")


@pytest.mark.parametrize("lie", LIES)
def test_a_model_that_lies_under_a_right_hash_is_refused_in_one_line(lie: str, whole: Path, tmp_path: Path) -> None:
    change, message = LIES[lie]
    folder = resealed(whole, tmp_path / "model", change)
    with pytest.raises(UserError) as error:
        load_model(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("text", ["[]", "null", "7", '"x"', "{}", "[" * 100_000, '{"sha256": 3}', " " * (1 << 21)])
def test_a_description_that_is_none_is_refused_in_one_line(text: str, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    (folder / DESCRIPTION).write_text(text)
    with pytest.raises(UserError, match="holds no readable model") as error:
        load_model(folder)
    assert "\n" not in str(error.value)


def test_an_array_that_claims_more_than_the_file_holds_is_refused_before_memory_is_asked_for(
    whole: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (3 * 10**9,), "fortran_order": False, "descr": "<f4"})
    with zipfile.ZipFile(folder / ARRAYS, "w") as archive:
        archive.writestr("codec_1/000.npy", header.getvalue() + bytes(100))
    with pytest.raises(UserError, match="expected 12000000000 bytes, found 100"):
        load_model(folder)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    with zipfile.ZipFile(folder / ARRAYS, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        for _ in range(17):
            member.write(bytes(1 << 25))
    with pytest.raises(UserError, match="expected at most 67108864 bytes of arrays"):
        load_model(folder)


BLOCKS: dict[str, dict[str, Any]] = {
    "folded": {"block": "folded", "film_units": 8},
    "folded without the envelope": {"block": "folded", "time_domain": True},
    "gated": {"block": "gln", "shape": (9, 9, 16, 4, 1, 2), "strides": (4, 2)},
    "bottleneck": {"block": "bottleneck", "shape": (9, 9, 16, 4, 1), "strides": (2,)},
    "vectors": {"quantizer": "vector"},
}


@pytest.mark.parametrize("block", BLOCKS)
def test_no_honest_model_is_beyond_the_bounds(block: str) -> None:
    config = tiny.config(num_modules=2, **BLOCKS[block])
    check_bounds(config)
    check_weights(config, sizes_by_layer(weights_of(SampleCascade(config), 2)))


def test_the_largest_networks_of_the_papers_are_within_the_bounds() -> None:
    check_bounds(Config())
    check_bounds(Config(num_modules=4, block="bottleneck"))
