"""LiteRT with XNNPACK computes what it computes without, in every interpreter and in whatever order sizes come."""

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

import nsc
from nsc.loading import litert
from nsc.loading.litert import Arrays, Runner
from tests.helpers.places import GOLDEN

pytestmark = pytest.mark.slow
MODELS = {model.name: model for model in nsc.models()}
INTERPRETERS = 8  # of each graph: the workspace moves to another place in each


class Recorder(Runner):
    """Keeps what its graph is given."""

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        super().__init__(graph, threads)
        self.graph, self.given = graph, list[Arrays]()
        RECORDERS.append(self)

    def __call__(self, **inputs: NDArray[Any]) -> Arrays:
        self.given.append({name: values.copy() for name, values in inputs.items()})
        return super().__call__(**inputs)


RECORDERS: list[Recorder] = []


def without_xnnpack(graph: bytes, inputs: Arrays) -> Arrays:
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=graph, experimental_op_resolver_type=resolver)
    found: Arrays = interpreter.get_signature_runner()(**inputs)
    return found


def code(name: str, speech: NDArray[np.float32]) -> None:
    """Runs all graphs of a model, over two groups at least."""
    model, golden = nsc.load(name), GOLDEN / "nsc" / "only_decoding" / f"{name}.nsc"
    decoder = nsc.Decoder(model)
    data = nsc.encode(speech, model) if MODELS[name].encodes else golden.read_bytes()
    decoder.write(data[: len(data) // 2])
    decoder.lost()


@pytest.mark.parametrize("name", MODELS)
def test_every_call_of_a_graph_gives_what_it_gives_without_xnnpack(
    name: str, real_speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where parts of a graph share a workspace that moves, wrong samples came from the second call of a size on."""
    RECORDERS.clear()
    monkeypatch.setattr(litert, "Runner", Recorder)
    code(name, real_speech)
    for recorder in RECORDERS:
        calls = [inputs for inputs in recorder.given[:2] for _ in range(2)]
        expected = [without_xnnpack(recorder.graph, inputs) for inputs in calls]
        for _ in range(INTERPRETERS):
            run = Runner(recorder.graph)
            for inputs, right in zip(calls, expected, strict=True):
                for port, values in run(**inputs).items():
                    if values.dtype.kind == "f":  # a symbol may be the next one by rounding
                        np.testing.assert_allclose(values, right[port], atol=2e-3, err_msg=port)
