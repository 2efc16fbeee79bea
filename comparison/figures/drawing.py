"""All pictures and tables of a folder of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comparison.figures import plots
from comparison.kept import kept_of
from comparison.numbers import tables
from comparison.numbers.curves import curves_of
from comparison.numbers.points import Point, losses_of, points_of, shown_measures
from comparison.numbers.summary import summary_of
from comparison.results import Store
from utilities import atomic_write

PLOTS, TABLE = "plots", "tables.md"
LOSS_MEASURES = ("pesq_wb", "stoi", "visqol", "plcmos")


def draw_all(store: Store) -> list[Path]:
    """Writes tables.md and plots/ into the store's folder; returns what was written, pictures as PNG.

    Raises:
        UserError: there are no results, or matplotlib is missing.
    """
    codecs, results = store.codecs(), store.all()
    points = points_of(codecs, results)
    curves = curves_of(points)
    folder = store.output / PLOTS
    pictures = [plots.draw_rate_distortion(curves, name, folder) for name in shown_measures(points)]
    atomic_write(store.output / TABLE, tables.document(summary_of(kept_of(store))))
    return [store.output / TABLE, *pictures, *_draw_losses(store, folder)]


def _draw_losses(store: Store, folder: Path) -> list[Path]:
    results = store.all()
    losses = losses_of(results)
    if len(losses) < 2:
        return []
    tried = {result.codec for result in results if result.loss}
    by_loss: dict[float, Sequence[Point]] = {
        loss: [point for point in points_of(store.codecs(), results, loss) if point.codec.name in tried]
        for loss in losses
    }
    names = [name for name in LOSS_MEASURES if any(point.has(name) for point in by_loss[losses[0]])]
    return [plots.draw_loss(by_loss, name, folder) for name in names]
