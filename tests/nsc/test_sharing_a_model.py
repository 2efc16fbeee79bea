"""One model in many threads and processes."""

import asyncio
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from nsc.coding.interface import Model
from tests.helpers.places import CORPUS, ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> Model:
    return nsc.load("cq")


def test_threads_that_share_a_model_get_the_bytes_of_one_alone(
    model: Model, speech_signals: list[NDArray[np.float32]]
) -> None:
    signals = [each[:24_000] for each in speech_signals[:4]]
    alone = [nsc.encode(each, model) for each in signals]
    heard = [nsc.decode(each, model).signal for each in alone]
    found: dict[int, list[bool]] = {number: [] for number in range(4)}

    def work(number: int) -> None:
        for _ in range(3):
            data = nsc.encode(signals[number], model)
            found[number].append(data == alone[number])
            found[number].append(np.array_equal(nsc.decode(data, model).signal, heard[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(values == [True] * 6 for values in found.values())


def test_a_model_that_was_used_is_pickled_and_codes_alike(model: Model, real_speech: NDArray[np.float32]) -> None:
    expected = nsc.encode(real_speech[:16_000], model)
    assert nsc.encode(real_speech[:16_000], pickle.loads(pickle.dumps(model))) == expected


def test_the_documented_program_on_asyncio_sends_the_packets_of_an_encoder(
    model: Model, real_speech: NDArray[np.float32]
) -> None:
    async def blocks() -> AsyncIterator[NDArray[np.float32]]:
        for start in range(0, 12_000, 500):
            yield real_speech[start : start + 500]

    section = (ROOT / "docs" / "codec.md").read_text().split("## Threads")[1]
    names: dict[str, Any] = {"nsc": nsc, "asyncio": asyncio}
    exec(section.split("```python")[1].split("```")[0], names)
    sent: list[bytes] = []
    asyncio.run(names["talk"](blocks(), sent.append))
    assert sent == nsc.PacketEncoder(model, kbps=9).write(real_speech[:12_000])


PROCESSES = """
import multiprocessing, sys, threading, zlib
import nsc, soundfile

speech, _ = soundfile.read(sys.argv[1], frames=16_000, dtype="float32")
model = nsc.load(sys.argv[2])


def coded(model):
    data = nsc.encode(speech, model)
    return data, zlib.crc32(nsc.decode(data, model).signal)


def inherited(results):
    results.put(coded(model))


if __name__ == "__main__":
    expected = coded(model)
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map_async(coded, [model] * 2).get(60) == [expected] * 2, method
    if "fork" in multiprocessing.get_all_start_methods():
        context, began, ends = multiprocessing.get_context("fork"), threading.Event(), threading.Event()

        def hold(runner):  # a thread in the midst of a graph
            def held(**inputs):
                began.set()
                ends.wait()
                return runner(**inputs)
            return held

        graphs = model.network._graphs
        graphs._runners["encoder"] = hold(graphs._runners["encoder"])
        threading.Thread(target=coded, args=(model,)).start()
        began.wait()
        results = context.SimpleQueue()
        child = context.Process(target=inherited, args=(results,))
        child.start()
        child.join(60)
        alive = child.is_alive()
        child.kill()
        ends.set()
        assert not alive and results.get() == expected
    print("alike")
"""


@pytest.mark.parametrize("name", ["cq", "cq-9k"])
def test_processes_that_are_forked_or_spawned_get_the_same_bytes(name: str, tmp_path: Path) -> None:
    (tmp_path / "processes.py").write_text(PROCESSES)
    command = [sys.executable, str(tmp_path / "processes.py"), str(next(CORPUS.rglob("*.flac"))), name]
    found = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert found.stdout == "alike\n", found.stderr
