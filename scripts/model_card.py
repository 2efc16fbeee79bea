"""Cards of the models that ship, from the records that lie beside them: configuration, journal, scores, notes.

python -m scripts.model_card             all of them
python -m scripts.model_card cq
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tabulate import tabulate

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from nsc.console import exit_status
from nsc.loading.folder import read_description
from options.config import Config, from_dict
from options.notes import idle_flags
from options.option import shown
from runs.heard import CONFIG, ENVIRONMENT, SPLITS
from runs.runs import SHIPPED, Journal, Run, find_run
from runs.stages import stage_folders
from scripts.release_model import HISTORY, JOURNAL
from utilities import atomic_write

Scores = dict[str, dict[str, Any]]
Event = dict[str, Any]

CARD, SCORES, NOTES = "README.md", "scores.json", "notes.md"  # notes are written by hand
TEST = "test speakers"
LEFT_OUT = ("data_dir", "base_model_id", "from_where_step", "suffix", "save_unique_mark")
MOST_ROWS = 6  # of the learning curve, for each stage of a run
CURVE = {"kbps": 2, "pesq_wb": 2, "stoi": 3, "si_sdr": 1}  # digits
JUDGES = {  # columns with titles and digits, where they were measured
    "distill_mos": ("Distill-MOS", 2),
    "nisqa": ("NISQA", 2),
    "warpq": ("WARP-Q", 3),
    "rms_4ms": ("4 ms error dB", 1),
}
TITLES = {"kbps": "kbps", "pesq_wb": "PESQ-WB", "stoi": "STOI", "si_sdr": "SI-SDR dB", "loss": "loss"}


def score_table(scores: Scores) -> str:
    """The conditions' rows as Markdown."""
    rows = [
        {
            "": name,
            "files": row["files"],
            "kbps": f"{row['kbps']:.2f}",
            "PESQ-WB": _with_interval(row, "pesq_wb", 2),
            "STOI": _with_interval(row, "stoi", 3),
            "SI-SDR dB": _with_interval(row, "si_sdr", 1),
            **{title: _with_interval(row, name, digits) for name, (title, digits) in JUDGES.items()},
            "level dB, by octave": _levels(row),
            "PESQ-WB of Opus at 6 kbps": f"{row['opus_6_pesq_wb']:.2f}" if "opus_6_pesq_wb" in row else "",
        }
        for name, row in scores.items()
    ]
    kept = [title for title in rows[0] if not title or any(row[title] for row in rows)]
    rows = [{title: row[title] for title in kept} for row in rows]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def _levels(row: dict[str, Any]) -> str:
    """Level error of each octave, from low to high; empty where it was not measured."""
    levels = [value for name, value in row.items() if name.startswith("octave_") and not name.endswith("_interval")]
    return " / ".join(f"{level:+.1f}" for level in levels)


def _with_interval(row: dict[str, Any], name: str, digits: int) -> str:
    if name not in row:
        return ""
    half_width = row.get(f"{name}_interval")
    interval = "" if half_width is None or np.isnan(half_width) else f" ±{half_width:.{digits}f}"
    return f"{row[name]:.{digits}f}{interval}"


def curve_table(events: Sequence[Event], steps_per_epoch: Sequence[int]) -> str:
    """The learning curve as Markdown: what validation files scored as training went on.

    Args:
        events: of the journal of all runs, in order.
        steps_per_epoch: of each run.
    """
    rows = []
    for (run, stage), validated in _validations(events).items():
        for event in _thinned(validated, MOST_ROWS):
            step = event["epoch"] * steps_per_epoch[run]
            row = {"run": run + 1, "stage": stage.replace("_", " "), "step": step}
            row |= {TITLES[name]: _by_depth(event, name, digits) for name, digits in CURVE.items()}
            loss = {TITLES["loss"]: f"{event['loss']:.2f}"} if "loss" in event else {}
            rows.append(row | loss)
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def _validations(events: Sequence[Event]) -> dict[tuple[int, str], list[Event]]:
    """The validations by number of the run, from 0, and stage."""
    run, found = -1, dict[tuple[int, str], list[Event]]()
    for event in events:
        if event["event"] == "run":
            run += 1
        elif event["event"] == "validated":
            found.setdefault((run, event["stage"]), []).append(event)
    return found


def _thinned(events: Sequence[Event], most: int) -> list[Event]:
    """At most so many events, evenly spread, the first and the last among them."""
    places = np.unique(np.linspace(0, len(events) - 1, min(most, len(events))).round().astype(int))
    return [events[place] for place in places]


def _by_depth(event: Event, name: str, digits: int) -> str:
    """A measure at every depth that was scored, the shallowest first."""
    shallower = (event.get(f"{name}_depth_{depth}") for depth in itertools.count(1))
    values = [*itertools.takewhile(lambda value: value is not None, shallower), event[name]]
    return " / ".join(f"{value:.{digits}f}" for value in values)


def card(run: Run) -> str:
    """The card of a model that ships."""
    recorded = json.loads((run.folder / SCORES).read_text())
    scores, digest = recorded["scores"], recorded["model"]
    config, environment = run.read_record(CONFIG), run.read_record(ENVIRONMENT)
    rows = run.read_record(SPLITS)
    heard = [row for row in rows if row["split"] == "train"]
    events = Journal.read(run.folder / JOURNAL)
    steps = sum(event["step"] for event in events if event["event"] == "exported")
    history = run.read_record(HISTORY)
    commands = "\n".join(map(_command, history))
    collapsed = [name for name, row in scores.items() if row["pesq_wb"] < row.get("opus_6_pesq_wb", 0)]
    limits = f"Under Opus at 6 kbps in: {', '.join(collapsed)}." if collapsed else "Never worse than Opus at 6 kbps."
    notes = (run.folder / NOTES).read_text() if (run.folder / NOTES).exists() else ""
    return f"""# {run.id}

{scores[TEST]["kbps"]:.2f} kbps of files, {read_description(run.folder).parameters[-1]:,} parameters,
model {digest}, stage {list(stage_folders(run.folder))[-1]}. `nsc speech.wav speech.nsc --model {run.id}` codes with it.

Trained on {len(heard):,} files of {len({row["speaker"] for row in heard})} speakers
({_corpora(heard)}), {steps:,} steps of
{config["batch_size"]} frames on {environment["processor"]}, {environment["time"][:10]}.
Weights are stored in half precision.

```
{commands}
```

{notes}
Scores through written .nsc files, all bytes counted, means over speakers with 95 % intervals, {digest}:

{score_table(scores)}

`python -m scripts.score_pretrained {run.id} --data_dir SPEECH` measures them again. The conditions after the
first row take fewer files, those named *other* of sounds that the model was not trained on; reference of every
measure is what the codec was given.

In training, on validation speakers (all validations are in `{JOURNAL}`, depths are separated by /):

{curve_table(events, [each["steps_per_epoch"] for each in history])}

Limits: {limits} The model was trained on clean speech, most of it English, and with a loss that
{_teacher(config)} than other codecs; STOI and SI-SDR are given as well.

Licence: MIT, as the code's. The training recordings are no part of the model; they are under CC BY, CC BY-SA 4.0, CC0,
Apache-2.0, MIT and CMU AN4's licence (free for any use).
"""


def _corpora(rows: Sequence[dict[str, str]]) -> str:
    """How many files each corpus gave, by its folder."""
    counts = Counter(row["path"].split("/")[0] for row in rows)
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())


def _teacher(config: dict[str, Any]) -> str:
    """What the loss has to do with PESQ, and what follows."""
    if config.get("disturbance_weight"):
        return "computes the disturbances of PESQ (ITU-T P.862) itself, so PESQ favours it more"
    return "follows the hearing model of PESQ, so PESQ may favour it more"


def _command(identity: dict[str, Any]) -> str:
    """What a run of this configuration was started with, but for places, names and what has no effect."""
    config = from_dict(identity, origin="the model's history")
    config, default = (replace(each, bins=each.bins[: config.num_modules]) for each in (config, Config()))
    defaults = default.to_dict() | {"training_mode": None}
    silent = {*LEFT_OUT, *idle_flags(config)}
    flags = [
        f"--{flag} {shown(value)}"
        for flag, value in config.identity().items()
        if value != defaults[flag] and flag not in silent
    ]
    return " ".join(["python main.py", *flags])


def main() -> int:
    """Writes cards; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", help="models that ship (default: all)")
    options = parser.parse_args()

    def work() -> None:
        for name in options.ids or shipped():
            run = find_run(name, SHIPPED)
            atomic_write(run.folder / CARD, card(run))

    return exit_status("model_card.py", work)


def shipped() -> list[str]:
    """The names of the models that ship."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


if __name__ == "__main__":
    sys.exit(main())
