"""Every public function says in one line which argument it cannot take; nothing else comes out of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsc

SPEECH = np.zeros(8000, np.float32)
MODEL: Any = "cq"
FILE = Path("speech.nsc")


def encode(**arguments: Any) -> Callable[[], object]:
    return lambda: nsc.encode(**({"samples": SPEECH, "model": MODEL} | arguments))


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "a rate in text": (encode(kbps="12"), "kbps: expected a number from 0 to 1000, found '12'"),
    "a quality in text": (encode(quality="5"), "quality: expected a number from 0 to 10, found '5'"),
    "a truth value as a rate": (encode(kbps=True), "kbps: expected a number from 0 to 1000, found True"),
    "no rate at all": (encode(kbps=0), "kbps: expected a number above 0"),
    "a rate that is no number": (encode(kbps=float("nan")), "kbps: .* found nan"),
    "an infinite rate": (encode(kbps=float("inf"), bounded=True), "kbps: .* found inf"),
    "the largest float as a rate": (encode(kbps=1e308, bounded=True), r"kbps: .* found 1e\+308"),
    "a number beyond floats": (encode(kbps=10**400), r"kbps: .* found 10000+\.\.\.$"),
    "a number beyond text": (encode(layers=10**5000), "layers: .* found int$"),
    "quality and a rate": (encode(quality=5, kbps=12), "expected quality or kbps, found both"),
    "quality and a bound": (encode(quality=5, bounded=True), "expected quality or a bound, found both"),
    "a bound without a rate": (encode(bounded=True), "expected kbps with a bounded rate"),
    "a bound in text": (encode(kbps=12, bounded="yes"), "bounded: expected True or False, found 'yes'"),
    "parts of spans": (encode(spans=1.5), "spans: expected a whole number from 1 to 65536, found 1.5"),
    "no spans": (encode(spans=0), "spans: .* found 0"),
    "layers in text": (encode(layers="1"), "layers: expected a whole number from 1 to 63, found '1'"),
    "samples and their rate": (encode(samples=(SPEECH, 16_000)), "of one channel, found tuple; give the array alone"),
    "no samples": (encode(samples=None), "expected samples of one channel"),
    "samples of 16 bits in floats": (encode(samples=SPEECH + 20_000), "from -1 to 1, found 20000; divide by full"),
    "samples beyond float32": (encode(samples=np.full(10, 1e39)), r"from -1 to 1, found 1e\+39"),
    "a number as a model": (encode(model=3), "expected a model, its name or its folder, found 3"),
    "no threads": (lambda: nsc.load("cq", threads=0), "threads: expected a whole number from 1 to 256, found 0"),
    "threads in text": (lambda: nsc.load("cq", threads="2"), "threads: .* found '2'"),  # type: ignore[arg-type]
    "a number as a name": (lambda: nsc.load(3), "expected the name, the hash or the folder"),  # type: ignore[arg-type]
    "a zero in a name": (lambda: nsc.load("c\0q"), "expected the name, the hash or the folder"),
    "a name of many letters": (lambda: nsc.load("q" * 20_000), "expected the name, the hash or the folder"),
    "more samples than a header can say": (lambda: nsc.Encoder(MODEL, num_samples=2**32), "num_samples: .* 4294967296"),
    "less than no samples": (lambda: nsc.Encoder(MODEL, num_samples=-1), "num_samples: .* found -1"),
    "whole samples": (lambda: nsc.Encoder(MODEL).write([1, 2]), "found int64; divide by full scale"),
    "a name in place of a file": (lambda: nsc.decode("a.nsc"), "found a name, 'a.nsc'; read the file"),  # type: ignore
    "a path in place of a file": (lambda: nsc.info(FILE), "found a name, .*speech.nsc.*; read the file"),  # type: ignore
    "text in a stream": (lambda: nsc.Decoder(MODEL).write("x"), "found a name, 'x'"),  # type: ignore[arg-type]
    "a number in place of a file": (lambda: nsc.decode(5), "expected the bytes of an .nsc file, found 5"),  # type: ignore
    "refresh in text": (lambda: nsc.regroup(b"", refresh="5"), "refresh: expected a whole number"),  # type: ignore
    "parts of layers": (lambda: nsc.decode(nsc.encode(SPEECH, MODEL), layers=1.0), "layers: "),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistaken_argument_is_named_in_one_line(mistake: str) -> None:
    call, words = MISTAKES[mistake]
    with pytest.raises(nsc.UserError, match=words) as error:
        call()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_models_go_by_name_or_path_wherever_they_are_asked_for() -> None:
    folder = next(model.folder for model in nsc.api.all_models() if model.name == "cq")
    loaded = nsc.load(folder)
    data = nsc.encode(SPEECH, loaded)
    for model in ("cq", loaded.digest, folder, str(folder)):
        assert nsc.encode(SPEECH, model) == data
        encoder = nsc.Encoder(model, num_samples=len(SPEECH))
        assert encoder.write(SPEECH) + encoder.finish() == data
        assert len(nsc.decode(data, model).signal) == len(SPEECH)
        assert nsc.Decoder(model).write(data[:16]).size == 0


def test_bytes_of_any_kind_and_numbers_of_numpy_are_taken() -> None:
    numbers: dict[str, Any] = {"layers": np.int64(1), "kbps": np.float32(12), "spans": np.uint8(16)}
    data = nsc.encode(SPEECH, MODEL, **numbers)
    assert data == nsc.encode(SPEECH, MODEL, 1, kbps=12, spans=16)
    expected = nsc.decode(data).signal
    for same in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert np.array_equal(nsc.decode(same).signal, expected)  # type: ignore[arg-type]
        assert nsc.info(same) == nsc.info(data)  # type: ignore[arg-type]
