"""Records of results that somebody edited or a crash tore are dropped and named; pictures of the shortest files."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparison.figures.spectrograms import picture_top, spectrogram
from comparison.results import Codec, Result, Store

CODEC = Codec("opus", "Opus", "opus", "peer")
RESULT = Result("opus", 0, 0.0, "/speech", "a.wav", "anna", 1.0, 9000, measures={"pesq_wb": 3.0})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.describe(CODEC)
    store.append([RESULT])
    return store


LINES: dict[str, str] = {
    "no JSON": "{",
    "a list": "[1, 2]",
    "null": "null",
    "a number": "7",
    "measures that are a list": json.dumps(asdict(RESULT) | {"measures": [1]}),
    "measures that are text": json.dumps(asdict(RESULT) | {"measures": {"pesq_wb": "good"}}),
    "seconds that are text": json.dumps(asdict(RESULT) | {"seconds": "1"}),
    "bits that are null": json.dumps(asdict(RESULT) | {"bits": None}),
    "a file that is a list": json.dumps(asdict(RESULT) | {"file": ["a"]}),
    "no measures": json.dumps({"codec": "opus"}),
    "deep nesting": "[" * 100_000,
}


@pytest.mark.parametrize("line", LINES)
def test_a_damaged_line_is_dropped_and_named(store: Store, line: str, caplog: pytest.LogCaptureFixture) -> None:
    with (store.folder / "opus.jsonl").open("a") as file:
        file.write(LINES[line] + "\n")
    with caplog.at_level("INFO", "neural_speech_coding"):
        assert store.all() == [RESULT]
    assert f"dropped: damaged lines of {store.folder / 'opus.jsonl'} (2)" in caplog.text


DESCRIPTIONS: dict[str, Any] = {
    "no JSON": "{",
    "a list": [1],
    "null": None,
    "a label that is a number": asdict(CODEC) | {"label": 3},
    "another key": asdict(CODEC) | {"colour": "blue"},
    "too few keys": {"name": "x"},
    "versions that are text": asdict(CODEC) | {"versions": "1.2"},
}


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_a_damaged_description_is_dropped_and_named(
    store: Store, description: str, caplog: pytest.LogCaptureFixture
) -> None:
    value = DESCRIPTIONS[description]
    (store.folder / "x.json").write_text(value if isinstance(value, str) else json.dumps(value))
    with caplog.at_level("INFO", "neural_speech_coding"):
        assert [codec.name for codec in store.codecs()] == ["opus"]
    assert f"dropped: {store.folder / 'x.json'}" in caplog.text


@pytest.mark.parametrize("length", [1, 100, 399, 400, 401])
def test_the_shortest_files_have_pictures(length: int) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
    signal = np.ones(length, np.float32)
    assert spectrogram(signal, picture_top(signal)).shape[::2] == (128, 3)
