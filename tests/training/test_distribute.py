"""Training on several devices and hosts, here two processes on this machine: they find what one process finds."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

import lpc_utilities
import main
from cmrl import stages_of
from corpus.batches import training_batches
from corpus.find import find_speech
from corpus.packed import PackedCorpus
from kinds.kind import BatchForm
from kinds.samples.cascade import SampleCascade
from nsc.errors import UserError
from runs.saved_model import saved_weights
from runs.stages import stage_folders
from tests.helpers import tiny
from tests.helpers.places import ROOT
from tests.helpers.tiny import CORPUS, Workplace, wait_for
from training import loop
from training.distribute import EXAMPLE, Cluster, join_cluster, place_in_cluster
from training.loop import Reading, Training, Watch
from training.losses import replicas
from training.step import StageTrainer

# Soft mixtures: hard decisions turn differences of rounding into other symbols. Tau gives the entropy its weight.
OPTIONS: dict[str, Any] = {
    "training_mode": 1,
    "num_modules": 1,
    "time_domain": True,
    "quantizer_gradient": "soft",
    "coefficients": (60.0, 10.0, 10.0, 0.3),
    "batch_size": 8,
    "steps_per_epoch": 30,
    "epochs": 2,
    "checkpoint_minutes": 0.0,
}
LAST_SECONDS = 60.0  # that a worker may take to notice the loss of another


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens to, just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def tf_config(addresses: list[str], index: int) -> str:
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def start(place: Workplace, record: Path, environment: dict[str, str], **changes: Any) -> subprocess.Popen[str]:
    flags = place.flags(**(OPTIONS | changes))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.worker", str(record), *flags],
        cwd=place.root,
        env={name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        | {"PYTHONPATH": str(ROOT)}
        | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(place: Workplace, **changes: Any) -> list[subprocess.Popen[str]]:
    """The chief and another worker, which keep their records in the place's folder."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    return [
        start(
            place,
            place.root / f"worker{index}.npz",
            {"TF_CONFIG": tf_config(addresses, index)},
            distribute="multiworker",
            **changes,
        )
        for index in range(2)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> None:
    """Waits for the end of processes that should succeed."""
    try:
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
    finally:
        end(processes)


def end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def weights(place: Workplace) -> dict[str, NDArray[Any]]:
    """What the place's only run has exported."""
    (folder,) = place.folders()
    return saved_weights(stage_folders(folder)["first"])


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Where two workers have trained without a break."""
    place = Workplace(tmp_path_factory.mktemp("together"))
    finish(start_two(place))
    return place


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[Any]]:
    """What the first steps of one process find."""
    place = Workplace(tmp_path_factory.mktemp("alone"))
    finish([start(place, place.root / "alone.npz", {})])
    return dict(np.load(place.root / "alone.npz"))


def relative_distance(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


class TestTwoWorkers:
    @pytest.mark.parametrize("index", [0, 1])
    def test_both_find_the_losses_and_the_gradient_of_one_process(
        self, index: int, together: Workplace, alone: dict[str, NDArray[Any]]
    ) -> None:
        found = np.load(together.root / f"worker{index}.npz")
        assert found["losses"][0] == pytest.approx(alone["losses"][0], rel=1e-6)
        assert relative_distance(found["gradient"], alone["gradient"]) < 1e-5
        assert len(found["losses"]) == 20
        assert found["losses"] == pytest.approx(alone["losses"], rel=1e-4)

    def test_the_chief_alone_writes(self, together: Workplace) -> None:
        (folder,) = together.folders()
        (journal,) = together.doc.glob("*.jsonl")
        events = [json.loads(line)["event"] for line in journal.read_text().splitlines()]
        assert [events.count(event) for event in ("run", "stage", "validated", "exported", "finished")] == [
            1,
            1,
            2,
            1,
            1,
        ]
        assert json.loads((folder / "environment.json").read_text())["replicas"] == 2

    def test_after_the_death_of_a_worker_both_start_again_and_end_as_if_nothing_had_happened(
        self, together: Workplace, tmp_path: Path
    ) -> None:
        place = Workplace(tmp_path)
        chief, other = start_two(place)
        try:
            wait_for(lambda: any(place.check.glob("*/checkpoints/first/checkpoint")), chief)
            other.send_signal(signal.SIGKILL)
            _, errors = chief.communicate(timeout=LAST_SECONDS)
        finally:
            end([chief, other])
        assert chief.returncode == 2, errors
        assert "the connection to another worker is lost" in errors
        assert "Traceback" not in errors
        assert not list(place.check.glob("*/stages"))

        finish(start_two(place))

        (journal,) = place.doc.glob("*.jsonl")
        resumed = [event for event in map(json.loads, journal.read_text().splitlines()) if event["event"] == "resumed"]
        assert resumed[0]["step"] in (20, 30, 40)
        unbroken, found = weights(together), weights(place)
        assert unbroken.keys() == found.keys()
        assert all(np.array_equal(unbroken[name], found[name]) for name in unbroken)


def test_two_devices_of_one_host_find_the_losses_of_one(alone: dict[str, NDArray[Any]], tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    finish([start(place, tmp_path / "devices.npz", {"LOGICAL_DEVICES": "2"}, distribute="mirrored")])
    found = np.load(tmp_path / "devices.npz")
    assert relative_distance(found["gradient"], alone["gradient"]) < 1e-5
    assert found["losses"] == pytest.approx(alone["losses"], rel=1e-4)


def test_the_shares_of_all_readers_are_the_batches_of_one(tmp_path: Path) -> None:
    corpus = PackedCorpus.pack(find_speech(CORPUS), tmp_path)
    form = BatchForm(12, pre_emphasis=True, high_pass=False, gain_augmentation_db=3.0, consecutive=2)

    def batches(share: tuple[int, int]) -> NDArray[np.float32]:
        return np.stack(list(training_batches(corpus, form, (1, 2), range(1, 3), share).as_numpy_iterator()))

    shares = [batches((reader, 3)) for reader in range(3)]
    assert shares[0].shape == (2, 4, 1024)
    assert np.array_equal(np.concatenate(shares, axis=1), batches((0, 1)))


class TestRefusals:
    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ("nonsense", "expected TF_CONFIG such as"),
            ("[]", "expected TF_CONFIG such as"),
            ('{"cluster": {"worker": ["a:1"]}}', "expected TF_CONFIG such as"),
            ('{"cluster": {"worker": 3}, "task": {"type": "worker", "index": 0}}', "expected TF_CONFIG such as"),
            (EXAMPLE.replace('"index": 0', '"index": 2'), "found worker 2; the cluster has 2 worker"),
            (EXAMPLE.replace('"type": "worker"', '"type": "chief"'), "found chief 0"),
            (EXAMPLE.replace('"worker": [', '"ps": ['), "expected jobs chief and worker in TF_CONFIG, found ps"),
            (EXAMPLE.replace(":2222", ""), "expected addresses host:port in TF_CONFIG, found 'host0'"),
            (EXAMPLE.replace("host1", "host0"), "found host0:2222 twice"),
            (EXAMPLE.replace('"worker": [', '"chief": ['), "expected one chief at most"),
        ],
    )
    def test_a_cluster_that_is_none(self, config: str, message: str) -> None:
        with pytest.raises(UserError) as refused:
            place_in_cluster(config)
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_no_cluster_at_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
        assert main.main(Workplace(tmp_path).flags(distribute="multiworker")) == 2
        assert "takes the hosts from the environment variable TF_CONFIG" in capsys.readouterr().err

    def test_a_single_device(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(Workplace(tmp_path).flags(distribute="mirrored")) == 2
        assert "needs a host of several GPUs, found CPU alone" in capsys.readouterr().err

    def test_a_batch_that_does_not_divide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Cluster, "replicas", 3)
        with pytest.raises(
            UserError, match="argument --batch_size: expected a multiple of 3, which 3 devices can share, found 4"
        ):
            join_cluster("none", 4)
        with pytest.raises(
            UserError, match="argument --batch_size: expected a multiple of 6, which 3 devices can share, found 9"
        ):
            join_cluster("none", 9, consecutive=2)

    def test_an_evaluation(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        flags = ["--training_mode", "0", "--distribute", "mirrored"]
        assert main.main(flags) == 2
        assert "argument --distribute: expected none in mode 0" in capsys.readouterr().err

    def test_other_speech_than_the_chief_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from training import modes

        corpus = PackedCorpus.pack(find_speech(CORPUS), tmp_path)
        monkeypatch.setattr(Cluster, "from_chief", lambda cluster, own: np.asarray(own + 1))
        with pytest.raises(UserError, match=r"expected the chief's \d+ frames of training speech in here, found \d+"):
            modes._check_same_speech(Cluster(), corpus, "here")


def test_a_chief_comes_before_the_workers() -> None:
    cluster = {"cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]}, "task": {"type": "worker", "index": 1}}
    assert place_in_cluster(json.dumps(cluster)) == (2, 3)
    assert place_in_cluster(json.dumps(cluster | {"task": {"type": "chief", "index": 0}})) == (0, 3)
    assert place_in_cluster(EXAMPLE) == (0, 2)


def test_an_error_of_this_process_alone_is_no_lost_worker() -> None:
    error = tf.errors.InternalError(None, None, "out of luck")
    with pytest.raises(tf.errors.InternalError), Cluster().naming_lost_workers():
        raise error
    with pytest.raises(UserError, match="another worker is lost"), Cluster(workers=2).naming_lost_workers():
        raise error


# Operations that wait for the host, whose shape depends on their values, or that call functions, where others may hide.
HOST_OPERATIONS = {
    "PyFunc", "PyFuncStateless", "EagerPyFunc", "Print", "PrintV2", "Assert", "Where", "Unique", "UniqueV2",
    "UniqueWithCounts", "ListDiff", "DynamicPartition", "Bincount", "DenseBincount", "If", "StatelessIf", "While",
    "StatelessWhile", "PartitionedCall", "StatefulPartitionedCall",
}  # fmt: skip
OF_SHAPES = {"BroadcastGradientArgs"}  # works on shapes, which are known beforehand
# What may take int32 found in the data: TensorFlow does arithmetic of int32 on the host even where there is a GPU.
INT32_ON_GPU = {
    "ArgMax", "ArgMin", "Cast", "ExpandDims", "GatherV2", "Identity", "IdentityN", "OneHot", "Reshape",
    "ResourceGather", "Squeeze", "StopGradient", "TopKV2", "Transpose", "UnsortedSegmentSum",
}  # fmt: skip


@pytest.fixture(scope="module")
def training_graph(tmp_path_factory: pytest.TempPathFactory) -> tf.Graph:
    """The step of finetuning with every part and every loss, as it would be made on a GPU."""
    folder = tmp_path_factory.mktemp("graph")
    parts = {"num_modules": 2, "training_mode": 5, "film_units": 4}
    losses = {"loudness_weight": 1.0, "consecutive_frames": 2, "loss_after_de_emphasis": True}
    config = tiny.config(**parts, **losses)
    corpus = PackedCorpus.pack(find_speech(CORPUS), folder)
    trainer = StageTrainer(SampleCascade(config), stages_of(config)[0], corpus, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lpc_utilities, "has_gpu", lambda: True)
        return trainer._on_replicas.get_concrete_function(tf.TensorSpec((4, 1024)), warm_up=False).graph


def test_no_operation_of_the_training_step_needs_the_host(training_graph: tf.Graph) -> None:
    for operation in training_graph.get_operations():
        assert operation.type not in HOST_OPERATIONS, operation.name
        tensors = [*operation.inputs, *operation.outputs]
        assert not [each for each in tensors if each.dtype == tf.string], operation.name
        known = [each.shape.is_fully_defined() for each in operation.outputs if each.dtype != tf.resource]
        assert all(known) or operation.type in OF_SHAPES, (operation.type, operation.name)


def test_no_whole_numbers_of_the_training_step_are_reckoned_with_on_the_host(training_graph: tf.Graph) -> None:
    found: set[str] = set()  # names of int32 tensors that depend on the data
    for operation in training_graph.get_operations():
        takes = [each.name for each in operation.inputs if each.name in found]
        assert not takes or operation.type in INT32_ON_GPU, (operation.type, operation.name)
        rounds = operation.type == "Cast" and operation.inputs[0].dtype.is_floating
        if takes or rounds or operation.type in ("ArgMin", "ArgMax", "TopKV2"):
            found.update(each.name for each in operation.outputs if each.dtype == tf.int32)
    assert found


def test_losses_are_read_every_twenty_steps_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def note(watch: Watch, losses: Any, step: int, *, warm_up: bool) -> Reading:
        read.append(step)
        return Reading(dict.fromkeys(("loss", "bits_per_symbol", "tau", "kbps", "target_kbps"), 0.0))

    monkeypatch.setattr(Watch, "read", note)
    # an object, of which nothing can be read
    monkeypatch.setattr(StageTrainer, "train_step", lambda trainer, contexts, epoch: object())
    monkeypatch.setattr(Training, "_end_epoch", lambda *arguments: None)
    config = tiny.config(**(OPTIONS | {"steps_per_epoch": 45, "epochs": 1, "checkpoint_minutes": 9.0}))
    corpus = PackedCorpus.pack(find_speech(CORPUS), tmp_path)
    trainer = StageTrainer(SampleCascade(config), stages_of(config)[0], corpus, tmp_path)
    run: Any = None
    Training(config, run, corpus, Cluster())._run_steps(trainer, loop.ValidationSet(corpus.files("val"), config))
    assert read == [20, 40, 45]


def test_a_structure_of_one_replica_is_its_own_sum() -> None:
    values = {"a": tf.constant([1.0, 2.0]), "b": tf.constant(3.0)}
    assert replicas.sum_over_replicas(values) is values
    assert float(replicas.mean_over_replicas(values)["b"]) == 3.0
