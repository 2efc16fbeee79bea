"""The command that measures what is published: what it runs, in which order, and where it stops."""

from __future__ import annotations

import subprocess
from pathlib import Path

import report
from tests.helpers.places import ROOT

SCRIPT = ROOT / "scripts" / "publish_results.sh"


def publish(tmp_path: Path, *arguments: str, fails_at: int = 99) -> tuple[int, list[list[str]], str]:
    """Runs it with an interpreter that only notes what it was given, and fails at one of its calls."""
    calls = tmp_path / "calls"
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!/bin/sh\nIFS="|"; echo "$*" >>{calls}\ntest "$(wc -l <{calls})" -lt {fails_at}\n')
    stand_in.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PUBLISH_PYTHON": str(stand_in)}
    done = subprocess.run([str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=False)
    made = [line.split("|") for line in calls.read_text().splitlines()] if calls.exists() else []
    return done.returncode, made, done.stderr


def test_everything_that_is_published_is_measured_with_the_flags_given_before_documents_are_written(
    tmp_path: Path,
) -> None:
    status, calls, _ = publish(tmp_path, str(tmp_path), "spoken", str(tmp_path), "--files_per_speaker", "1")
    assert status == 0
    measured = [call for call in calls if call[1] == "measure"]
    assert [call[-2:] for call in measured] == [["--files_per_speaker", "1"]] * 3
    assert calls[:3] == measured and [call[1] for call in calls[3:5]] == ["tables", "tables"]
    for call in calls[:5]:
        assert call[0] == "report.py"
        report._parser().parse_args(call[1:])
    assert "cq@6" in measured[0] and "--packets" in measured[0] and "--peers" not in measured[0]
    assert calls[5][:2] == ["-m", "scripts.score_pretrained"] and "--write" in calls[5]


def test_documents_stay_as_they_are_where_a_measurement_fails(tmp_path: Path) -> None:
    status, calls, _ = publish(tmp_path, str(tmp_path), "spoken", str(tmp_path), fails_at=2)
    assert status == 1 and len(calls) == 2


def test_without_its_folders_it_says_what_it_takes(tmp_path: Path) -> None:
    status, calls, said = publish(tmp_path, str(tmp_path))
    assert status == 2 and calls == [] and "SPEECH NAME SOUNDS" in said
