import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "benchmark.py"
TINY = {"block": "folded", "fold": 32, "folded_width": 16, "folded_narrow": 8, "folded_blocks": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The script as a module, on parts so small that nothing about speed can be learned from them."""
    spec = importlib.util.spec_from_file_location("benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark"] = module
    spec.loader.exec_module(module)
    small: dict[str, Any] = {
        "NETWORKS": {module.GATED: TINY, module.FOLDED: TINY},
        "MATRIX_SIZE": 16,
        "LPC_BATCH": 4,
        "LPC_BATCHES": 1,
        "PIPELINE_STEPS": 1,
        "CODED_SECONDS": 1.0,
    }
    for name, value in small.items():
        setattr(module, name, value)
    return module


def test_every_part_is_measured_and_written_down(
    benchmark: ModuleType, speech_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "benchmark.json"
    assert benchmark.main(["--turns", "1", "--data_dir", str(speech_folder), "--json", str(report)]) == 0
    table = capsys.readouterr().out
    written = json.loads(report.read_text())
    assert len(written["rows"]) == 7
    assert written["environment"]["tensorflow"]
    for row in written["rows"]:
        assert row["name"] in table
        assert row["ratio"] is None or row["ratio"] > 0
    assert sum(row["reached"] is not None for row in written["rows"]) == 5


def test_rows_compare_operations_with_the_matrix_product_and_seconds_with_seconds(benchmark: ModuleType) -> None:
    timing = benchmark.Timing
    trainer = benchmark.StageTrainer.__new__(benchmark.StageTrainer)
    config = benchmark.Config(training_mode=1, num_modules=1, **TINY)
    trainer.config, trainer.cascade = config, benchmark.Cascade(config)
    flops = 3 * 2 * benchmark.multiply_adds(trainer.cascade) * 4
    matrix = timing([benchmark.MATRIX_FLOPS / 1e9, 99.0], [benchmark.MATRIX_FLOPS / 1e9] * 2)  # 1 GFLOP/s
    half_as_fast = timing([flops / 0.5e9, 9.0], [flops / 0.25e9] * 2)
    step = benchmark._step_row(benchmark.GATED, half_as_fast, trainer, matrix)
    assert (step.ratio, step.processor_ratio) == pytest.approx((0.5, 0.25))
    assert step.reached

    lpc = benchmark._lpc_row(timing([4 * 20e-6], [4 * 16e-6]))
    assert (lpc.ratio, lpc.processor_ratio) == pytest.approx((9.2e-3 / 20e-6, 9.2e-3 / 16e-6))
    assert lpc.reached

    pipeline = benchmark._pipeline_row(timing([1.0, 2.0, 1.0], [1.0] * 3), timing([1.1, 2.2, 5.0], [1.0] * 3))
    assert pipeline.ratio == pytest.approx(1.1)
    assert not pipeline.reached

    coding = benchmark._coding_row(benchmark.GATED, timing([0.25, 0.5], [0.5, 0.5]))
    assert (coding.ratio, coding.processor_ratio, coding.slower_median) == pytest.approx((4, 2, 1.5))
    assert not coding.reached


def test_a_folder_without_speech_is_told_in_one_line(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(["--quick", "--data_dir", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0
