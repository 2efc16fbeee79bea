import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from export.graph import as_litert
from export.half_weights import LEAST_VALUES, with_half_weights
from kinds.graph import Graph, Port
from nsc.loading.litert import Runner


def graph_of(weights: NDArray[np.float32]) -> Graph:
    """A matrix product and its square, so that two operations share the weights."""
    values, products = Port("values", (1, 64), "float32", ""), Port("products", (1, 64), "float32", "")

    def run(values: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"products": tf.matmul(tf.tanh(tf.matmul(values, weights)), weights)}

    return Graph("encoder", [values], [products], run)


def random_weights() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, (64, 64)).astype(np.float32)


def test_weights_that_half_precision_holds_take_half_the_space_and_compute_the_same() -> None:
    rounded = random_weights().astype(np.float16).astype(np.float32)
    small, large = as_litert(graph_of(rounded), "float32"), as_litert(graph_of(random_weights()), "float32")
    assert len(large) - len(small) > rounded.nbytes * 0.4
    values = np.random.default_rng(1).normal(0, 1, (1, 64)).astype(np.float32)
    found = Runner(small, 1)(values=values)["products"]
    expected = np.tanh(values.astype(np.float64) @ rounded) @ rounded
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weights_that_would_lose_by_it_stay_as_they_are() -> None:
    nearly = random_weights().astype(np.float16).astype(np.float32)
    nearly[0, 0] = 0.1
    graph = as_litert(graph_of(nearly), "float32")
    assert with_half_weights(graph) == graph
    assert nearly.size > LEAST_VALUES
    values = np.eye(1, 64, dtype=np.float32)
    expected = np.tanh(nearly[:1].astype(np.float64)) @ nearly
    np.testing.assert_allclose(Runner(graph, 1)(values=values)["products"], expected, atol=1e-6)
