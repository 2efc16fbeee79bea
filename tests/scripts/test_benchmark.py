import itertools
import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest

from kinds import kind_of
from kinds.samples.cascade import SampleCascade
from runs.saved_model import SavedModel
from scripts.speed import command, turns
from scripts.speed.memory import peak_of_process
from scripts.speed.turns import Work, take_turns
from tests.helpers.spectral_cascade import NETWORK
from tests.helpers.tiny import eager_and_short

TINY = {"block": "folded", "fold": 32, "folded_width": 16, "folded_narrow": 8, "folded_blocks": 1, "batch_size": 4}
SPECTRAL = {name: value for name, value in NETWORK.items() if name != "num_modules"}  # which the benchmark sets


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    from scripts import benchmark as module

    return module


@pytest.fixture
def benchmark(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with parts so small that nothing about speed can be learned from them, and a clock that counts."""
    module = script
    small: dict[str, Any] = {
        "NETWORKS": {
            module.GATED: (TINY | {"film_units": 4}, ("first", "finetune")),
            module.FOLDED_SMALL: (TINY, ("first",)),
            module.ANY_RATE: (SPECTRAL, ("first",)),
        },
        "MEMORY_OF": (module.GATED,),
        "STEP_SHARES": {"float32": 0.5},
        "MATRIX_SIZE": 16,
        "LPC_BATCH": 4,
        "CODED_SECONDS": 1.0,
        "EVALUATED_FILES": 1,
        "TURN_SECONDS": 0.0,
    }
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    ticks = itertools.count()

    def tick() -> float:
        return float(next(ticks))

    for timing in (turns, command):
        monkeypatch.setattr(timing, "time", mock.Mock(perf_counter=tick, process_time=tick))
    return module


def test_every_part_is_measured_and_written_down(
    benchmark: ModuleType,
    coding_model: SavedModel,
    speech_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(benchmark, "load_model", lambda folder: coding_model)
    report = tmp_path / "benchmark.json"
    with eager_and_short():
        assert benchmark.main(["--turns", "1", "--data_dir", str(speech_folder), "--json", str(report)]) == 0
    table = capsys.readouterr().out
    written = json.loads(report.read_text())
    assert written["environment"]["tensorflow"]
    for row in written["rows"]:
        assert row["name"] in table
        assert row["ratio"] is None or row["ratio"] > 0
        assert row["unrest"] in (None, 1.0)  # nothing was measured by another clock
    names = [row["name"] for row in written["rows"]]
    for stage in ("first", "finetune"):
        assert f"{benchmark.GATED}, float32, {stage}" in names
    assert f"{benchmark.ANY_RATE}, float32, first" in names
    graphs = {row["name"]: re.findall(r"\d+", row["found"]) for row in written["rows"] if "graph" in row["table"]}
    # a tenth more than in December 2026: 2,630 and 4,128 traced, 2,098 and 2,953 started
    for network, most_traced, most_started in ((benchmark.GATED, 2900, 2310), (benchmark.ANY_RATE, 4540, 3250)):
        traced, started = map(int, graphs[f"{network}, float32, first"])
        assert 1000 < traced < most_traced
        assert 1000 < started < most_started
    [memory] = [row["found"] for row in written["rows"] if row["table"] == "peak memory"]
    assert float(memory.removesuffix(" MB")) > 100


def test_every_network_that_is_measured_can_be_described(script: ModuleType) -> None:
    for name, (_, stages) in script.NETWORKS.items():
        for precision in script.STEP_SHARES:
            found = script.work.config_of(precision=precision, **script.options_of(name))
            assert found.precision == precision
            assert set(stages) <= set(script.work.STAGES)


def test_memory_is_that_of_the_measured_process_alone(script: ModuleType) -> None:
    ballast = np.ones(150_000_000 // 8)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        peak = pool.submit(peak_of_process).result()
    assert 1e6 < peak < ballast.nbytes


def test_short_work_is_repeated_within_its_turn_and_long_work_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, clock = {"short": 0, "long": 0}, [0.0]
    monkeypatch.setattr(turns, "time", mock.Mock(perf_counter=lambda: clock[0], process_time=lambda: clock[0]))

    def work_for(name: str, seconds: float) -> Work:
        def run() -> None:
            calls[name] += 1
            clock[0] += seconds

        return run

    timings = take_turns({"short": work_for("short", 0.002), "long": work_for("long", 0.05)}, 3, seconds=0.02)
    assert calls == {"long": 2 + 3, "short": 2 + 3 * 10}  # two to warm up
    assert timings["short"].best == pytest.approx(0.002)


def test_a_frozen_codec_costs_its_forward_pass_and_a_trained_one_three_times_as_much(benchmark: ModuleType) -> None:
    cascade = SampleCascade(benchmark.work.Config(num_modules=2, **TINY))
    one = 2 * 4 * cascade.multiply_adds(1) / cascade.frames_per_second  # both codecs are alike

    def flops(depth: int, trained: tuple[int, ...]) -> int:
        trainer = benchmark.StageTrainer.__new__(benchmark.StageTrainer)
        trainer.cascade, trainer.config = cascade, cascade.config
        trainer.stage = benchmark.work.Stage("any", depth, trained, False, 1, 1e-3)
        return benchmark.work.step_flops(trainer)

    # costs are kept in whole operations a second
    assert flops(1, (0,)) == pytest.approx(3 * one, rel=1e-5)
    assert flops(2, (1,)) == pytest.approx(4 * one, rel=1e-5)
    assert flops(2, (0, 1)) == pytest.approx(6 * one, rel=1e-5)


def test_rows_compare_operations_with_the_matrix_product_and_seconds_with_seconds(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = benchmark.Timing
    trainer = benchmark.StageTrainer.__new__(benchmark.StageTrainer)
    trainer.cascade = SampleCascade(benchmark.work.Config(num_modules=1, precision="bfloat16", **TINY))
    trainer.kind = kind_of(trainer.cascade.config)
    trainer.config, trainer.stage = trainer.cascade.config, benchmark.work.Stage("first", 1, (0,), True, 1, 1e-3)
    flops = benchmark.work.step_flops(trainer)
    matrix = timing([benchmark.MATRIX_FLOPS / 1e9, 99.0], [benchmark.MATRIX_FLOPS / 1e9] * 2)  # 1 GFLOP/s
    monkeypatch.setattr(benchmark, "STEP_SHARES", {"float32": 0.5, "bfloat16": 0.35})
    timings = {"float32": timing([1.0], [1.0]), "bfloat16": matrix, "step": timing([flops / 0.5e9, 9.0], [flops / 4e9])}
    *_, step = benchmark.step_rows(timings, {"step": trainer})
    assert (step.ratio, step.processor_ratio) == pytest.approx((0.5, 4))
    assert step.reached

    lpc = benchmark.lpc_row(timing([20e-6], [16e-6]))
    assert (lpc.ratio, lpc.processor_ratio) == pytest.approx((9.2e-3 / 20e-6, 9.2e-3 / 16e-6))
    assert lpc.reached

    pipeline = benchmark.pipeline_row(timing([1.0, 2.0, 1.0], [1.0] * 3), timing([1.1, 2.2, 5.0], [1.0] * 3))
    assert pipeline.ratio == pytest.approx(1.1)
    assert not pipeline.reached

    coding = benchmark.coding_row("any", timing([0.25, 0.5], [0.5, 0.5]), 1.0)
    assert (coding.ratio, coding.processor_ratio, coding.unrest) == pytest.approx((4, 2, 1.5))
    assert not coding.reached


def test_a_folder_without_speech_is_told_in_one_line(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(["--quick", "--data_dir", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0
