import numpy as np
import pytest
import tensorflow as tf

from kinds.samples.cascade import SampleCascade
from nn_core_operator import neighbour_distance
from tests.helpers import tiny
from training.codebook_start import codes_of, k_means


def clusters(count: int = 8, each: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Centres far apart, and vectors close around them."""
    random = np.random.default_rng(seed)
    angles = 2 * np.pi * np.arange(count) / count
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vectors = np.repeat(centres, each, axis=0) + 0.01 * random.standard_normal((count * each, 2))
    return centres, vectors.astype(np.float32)


def test_k_means_spends_entries_where_vectors_are() -> None:
    centres, vectors = clusters()
    codebook = k_means(vectors, 64, seed=1)
    distances = np.linalg.norm(codebook[:, None] - centres, axis=-1)
    assert codebook.shape == (64, 2)
    assert distances.min(axis=1).max() < 0.05
    assert len(set(distances.argmin(axis=1))) == 8


def test_k_means_uses_every_entry() -> None:
    vectors = np.random.default_rng(2).standard_normal((20_000, 2)).astype(np.float32)
    codebook = k_means(vectors, 256, seed=3)
    nearest = np.linalg.norm(vectors[:4000, None] - codebook, axis=-1).argmin(axis=1)
    assert len(np.unique(nearest)) > 0.95 * 256


def test_the_same_seed_gives_the_same_entries() -> None:
    _, vectors = clusters()
    np.testing.assert_array_equal(k_means(vectors, 16, seed=1), k_means(vectors, 16, seed=1))
    assert np.any(k_means(vectors, 16, seed=1) != k_means(vectors, 16, seed=2))


def test_fewer_vectors_than_entries_are_no_obstacle() -> None:
    assert k_means(np.zeros((3, 2), np.float32), 8, seed=0).shape == (8, 2)


@pytest.mark.parametrize("module", [0, 1])
def test_codes_are_what_the_module_s_quantiser_is_given(module: int) -> None:
    tf.keras.utils.set_random_seed(1)
    cascade = SampleCascade(
        tiny.config(num_modules=2, quantizer=("vector", "scalar") if module == 0 else ("scalar", "vector"))
    )
    contexts = tf.random.normal([4, 1024], seed=5)
    codes = codes_of(cascade, module, [contexts, contexts])
    output = cascade.call(contexts, ["hard"] * 2, "hard")
    codebook = cascade.codecs[module].quantizer.codebook.numpy()
    nearest = np.linalg.norm(codes[:, None] - codebook, axis=-1).argmin(axis=1)
    expected = output.codes[module].symbols.numpy().reshape(-1)
    assert len(codes) == 2 * len(expected)
    assert np.mean(nearest[: len(expected)] == expected) > 0.99


def test_a_restarted_codebook_keeps_its_neighbours_as_many_nats_apart() -> None:
    quantizer = SampleCascade(tiny.config(num_modules=1, quantizer=("vector",))).codecs[0].quantizer
    before = float(quantizer.alpha) * neighbour_distance(quantizer.codebook.numpy())
    quantizer.restart(np.random.default_rng(4).standard_normal((1024, 2)).astype(np.float32))
    after = float(quantizer.alpha) * neighbour_distance(quantizer.codebook.numpy())
    assert after == pytest.approx(before, rel=1e-4)
    assert before == pytest.approx(-500 * 0.2 / 31, rel=1e-4)
