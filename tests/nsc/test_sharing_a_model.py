"""One model in many threads and processes."""

import pickle
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from nsc.coding.interface import Model


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
