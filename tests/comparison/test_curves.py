"""Rate-distortion curves: their points, differences at equal rate, BD-rate, tables and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from PIL import Image

import report
from comparison.figures import plots
from comparison.kept import kept_of
from comparison.numbers.curves import bd_rate, curves_of, difference_at_equal_rate
from comparison.numbers.points import Point, points_of
from comparison.numbers.summary import summary_of
from comparison.numbers.tables import document, interval_text
from comparison.results import Codec, Result, Store
from measures.intervals import Interval

SPEAKERS = ("anna", "bert", "cleo")


def codec(name: str, family: str = "", *, kind: str = "peer", high_pass: bool = False) -> Codec:
    return Codec(name, name, family or name, kind, high_pass)


def results_of(name: str, kbps: float, value: float, layer: int = 0, loss: float = 0.0) -> list[Result]:
    """A file a speaker, whose scores lie about a value; longer files cost more, so that the mean rate is `kbps`."""
    return [
        Result(
            codec=name,
            layer=layer,
            loss=loss,
            corpus="speech",
            file=f"{speaker}.wav",
            speaker=speaker,
            seconds=place + 1.0,
            bits=round((place + 1) * kbps * 1000),
            measures={"pesq_wb": value + 0.1 * (place - 1), "snr": 4 * value, "lsd": 6 - value},
        )
        for place, speaker in enumerate(SPEAKERS)
    ]


def curve(name: str, quality: Callable[[float], float], rates: list[float], **changes: object) -> list[Point]:
    codecs = [codec(f"{name}-{rate:g}", name, **changes) for rate in rates]  # type: ignore[arg-type]
    results = [each for rate in rates for each in results_of(f"{name}-{rate:g}", rate, quality(rate))]
    return points_of(codecs, results)


def test_a_point_s_rate_is_all_bits_over_all_seconds_and_its_interval_is_over_speakers() -> None:
    short = results_of("a", 10, 3.0)
    doubled = [Result(**(vars(short[0]) | {"file": "more.wav", "bits": 2 * short[0].bits})), *short]
    (point,) = points_of([codec("a")], doubled)
    assert point.kbps == pytest.approx(10 * 8 / 7)
    low, high = scipy.stats.t.interval(0.95, 2, 3.0, scipy.stats.sem([2.9, 3.0, 3.1]))
    assert point.intervals["pesq_wb"].mean == pytest.approx(3.0)
    assert point.intervals["pesq_wb"].half_width == pytest.approx((high - low) / 2)


def test_failed_files_and_lossy_channels_are_no_part_of_a_point() -> None:
    broken = Result("a", 0, 0.0, "speech", "bad.wav", "dora", error="crashed")
    (point,) = points_of([codec("a")], [*results_of("a", 10, 3.0), *results_of("a", 10, 1.0, loss=0.1), broken])
    assert len(point.results) == 3
    assert point.intervals["pesq_wb"].mean == pytest.approx(3.0)


def test_a_model_s_layers_are_one_curve_and_models_of_one_label_one_curve_a_layer() -> None:
    one = points_of([codec("m", kind="model")], results_of("m", 24, 3.5, 2) + results_of("m", 12, 3.0, 1))
    assert {name: [point.kbps for point in each] for name, each in curves_of(one).items()} == {"m": [12, 24]}
    codecs = [codec(name, "ours", kind="model") for name in ("m", "n")]
    results = [r for name in ("m", "n") for layer in (1, 2) for r in results_of(name, 10 * layer, 3.0, layer)]
    assert set(curves_of(points_of(codecs, results))) == {"ours, layer 1", "ours, layer 2"}


def test_the_difference_at_equal_rate_is_that_to_the_line_between_the_nearest_rates() -> None:
    peer = curve("peer", lambda kbps: kbps / 10, [8, 16, 32])
    (ours,) = curve("ours", lambda _: 3.0, [20], kind="model")
    found = difference_at_equal_rate(ours, peer, "pesq_wb")
    assert found is not None
    assert found.everybody.mean == pytest.approx(3.0 - 2.0)
    assert found.everybody.half_width == pytest.approx(0)  # all speakers differ alike, so that the pairs agree
    assert difference_at_equal_rate(ours, peer[:2], "pesq_wb") is None


def test_a_codec_of_variable_rate_is_compared_at_the_rate_that_each_speaker_took() -> None:
    peer = curve("peer", lambda kbps: kbps / 10, [8, 16, 32])
    results = results_of("ours", 20, 3.0)
    rates = dict(zip(SPEAKERS, (12.0, 20.0, 40.0), strict=True))  # the last is beyond the peer's rates
    sexes = dict(zip(SPEAKERS, "MFF", strict=True))
    results = [
        replace(each, bits=round(1000 * rates[each.speaker] * each.seconds), sex=sexes[each.speaker])
        for each in results
    ]
    (ours,) = points_of([codec("ours", kind="model")], results)
    found = difference_at_equal_rate(ours, peer, "pesq_wb")
    assert found is not None
    assert found.everybody.mean == pytest.approx(((3.0 - 1.2) + (3.0 - 2.0)) / 2)
    assert (found.everybody.speakers, found.everybody.left_out) == (2, 1)
    assert found.men.mean == pytest.approx(3.0 - 1.2)
    assert found.women.mean == found.worst == pytest.approx(3.0 - 2.0)


def test_only_files_that_all_have_are_compared() -> None:
    peer = curve("peer", lambda kbps: kbps / 10, [8, 32])
    extra = replace(results_of("ours", 20, 9.0)[0], file="more.wav")
    (ours,) = points_of([codec("ours", kind="model")], [*results_of("ours", 20, 3.0), extra])
    found = difference_at_equal_rate(ours, peer, "pesq_wb")
    assert found is not None
    assert found.everybody.mean == pytest.approx(1.0)


def test_a_point_has_women_men_the_worst_file_and_files_on_which_pesq_misfired() -> None:
    sexes = dict(zip(SPEAKERS, "FMM", strict=True))
    results = [replace(each, sex=sexes[each.speaker]) for each in results_of("a", 10, 3.0)]
    padded = [each.measures["pesq_wb"] + 0.4 * (each.sex == "F") for each in results]
    results = [
        replace(each, measures=each.measures | {"pesq_wb_padded": value})
        for each, value in zip(results, padded, strict=True)
    ]
    [point] = points_of([codec("a")], results)
    women, men = point.of_sex("F"), point.of_sex("M")
    assert women and women.intervals["pesq_wb"].mean == pytest.approx(2.9)
    assert men and men.intervals["pesq_wb"].mean == pytest.approx(3.05)
    assert point.worst("pesq_wb") == pytest.approx(2.9) and point.worst("lsd") == pytest.approx(3.0)
    assert point.flagged == 1


def test_waveform_measures_of_a_codec_with_a_high_pass_are_not_compared() -> None:
    peer = curve("peer", lambda kbps: kbps / 10, [8, 32], high_pass=True)
    (ours,) = curve("ours", lambda _: 3.0, [20], kind="model")
    assert difference_at_equal_rate(ours, peer, "snr") is None
    assert difference_at_equal_rate(ours, peer, "pesq_wb") is not None
    assert bd_rate(peer, peer, "snr") is None


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.5])
def test_the_bd_rate_of_a_curve_moved_in_rate_is_that_factor(factor: float) -> None:
    rates = [8.0, 12.0, 16.0, 24.0]
    reference = curve("peer", math.log, rates)
    ours = curve("ours", lambda kbps: math.log(kbps / factor), [factor * rate for rate in rates], kind="model")
    for measure in ("pesq_wb", "lsd"):
        saving = bd_rate(ours, reference, measure)
        assert saving == pytest.approx((100 * (factor - 1), 8 * factor, 24 * factor), abs=1e-6)


def test_the_bd_rate_agrees_with_numerical_integration_between_two_points() -> None:
    ours = curve("ours", lambda kbps: 2 + kbps / 20, [10, 30], kind="model")  # from 2.5 to 3.5
    peer = curve("peer", lambda kbps: 1 + kbps / 10, [10, 24])  # from 2 to 3.4
    quality = np.linspace(2.5, 3.4, 100_001)
    theirs = np.interp(quality, [2, 3.4], np.log([10, 24]))
    mean = np.mean(np.interp(quality, [2.5, 3.5], np.log([10, 30])) - theirs)
    saving = bd_rate(ours, peer, "pesq_wb")
    assert saving and saving.percent == pytest.approx(100 * (np.exp(mean) - 1), rel=1e-3)
    # all of ours from its lowest rate on, up to where it has the other's best quality
    assert saving[1:] == pytest.approx((10, 10 * 3**0.9), rel=1e-6)


def test_there_is_no_bd_rate_without_common_quality_or_of_a_curve_that_falls() -> None:
    peer = curve("peer", math.log, [8, 16])
    assert bd_rate(curve("ours", lambda kbps: 10 + kbps, [8, 16]), peer, "pesq_wb") is None
    assert bd_rate(curve("ours", lambda kbps: -kbps, [8, 16]), peer, "pesq_wb") is None
    assert bd_rate(curve("ours", math.log, [8]), peer, "pesq_wb") is None


def test_intervals_are_written_as_a_paper_does() -> None:
    assert interval_text(Interval(3.333, 0.104, 5, 0), 2) == "3.33 ±0.10"
    assert interval_text(Interval(0.5, math.nan, 1, 0), 1, signed=True) == "+0.5"
    assert interval_text(Interval(math.nan, math.nan, 0, 3), 1) == "–"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Results of a model of two layers, under loss too, and of two rates of two peers."""
    made = Store(tmp_path / "report")
    made.describe(codec("m", "ours", kind="model"))
    for loss in (0.0, 0.1):
        for layer, kbps in ((1, 12.0), (2, 22.0)):
            made.append(results_of("m", kbps, 2.5 + layer / 2 - loss, layer, loss))
    for family, high_pass in (("Opus", False), ("AMR-WB", True)):
        for kbps in (9.0, 24.0):
            name = f"{family}-{kbps:g}"
            made.describe(codec(name, family, high_pass=high_pass))
            made.append(results_of(name, kbps, 1 + kbps / 8))
    return made


def test_the_tables_hold_scores_differences_and_bd_rates(store: Store) -> None:
    text = document(summary_of(kept_of(store)))
    assert "3 files of 3 speakers" in text and "without container" in text
    assert "| m, layer 2" in text and "3.50 ±0.25" in text
    assert "(16.0 ±0.0)" in text  # in brackets: the high-pass
    assert "-0.25 ±0.00" in text  # layer 2 at 22 kbps, against 3.75
    assert " % " in text and "nan" not in text


@pytest.mark.slow
def test_the_command_draws_every_measure_as_png_and_svg_and_quality_against_loss(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
    assert report.main(["draw", "--output", str(store.output)]) == 0
    names = {path.stem for path in (store.output / "plots").glob("*.png")}
    assert names == {"rate_pesq_wb", "rate_snr", "rate_lsd", "loss_pesq_wb"}
    for path in (store.output / "plots").glob("*.png"):
        assert np.ptp(np.asarray(Image.open(path).convert("L"))) > 200
        svg = path.with_suffix(".svg").read_text()
        assert plots.INK in svg and "http" not in plots.as_inline(svg).replace("http://www.w3.org", "")
    assert (store.output / "tables.md").is_file()
    assert "tables.md" in capsys.readouterr().err


def test_a_picture_within_the_page_takes_its_colour_and_width() -> None:
    svg = '<?xml version="1.0"?>\n<svg width="590pt" height="3pt" viewBox="0 0 590 3">\n<path stroke="#010203"/></svg>'
    inline = plots.as_inline(svg)
    assert inline.startswith("<svg") and "currentColor" in inline
    assert "590pt" not in inline and 'viewBox="0 0 590 3"' in inline


def test_without_results_there_is_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["draw", "--output", str(tmp_path)]) == 2
    assert "report.py measure makes them" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
