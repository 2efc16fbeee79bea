#!/usr/bin/env bash
# Measures what README, docs and model cards publish of the models that ship, and writes it there: files and calls of
# them and other codecs on test speakers, and other sounds.
#
#   scripts/publish_results.sh SPEECH NAME SOUNDS [FLAGS of report.py measure, such as --files_per_speaker 1]
#
# SPEECH is a corpus, NAME what the tables call it, SOUNDS a folder whose manifest says kind and language. Judges and
# codecs that are not installed are left out by name (docs/comparison.md says how to install them). Files are drawn in one
# order for all codecs: stopped at any time, tables are of the files that all have had, and the same command continues.
# PUBLISH_PYTHON=/path/to/python takes that interpreter instead of setting up .venv.
set -euo pipefail
if (($# < 3)); then
    sed -n '2,/^set/s/^# \?//p' "$0" | sed '$d' >&2
    exit 2
fi
speech="$(realpath "$1")" name="$2" sounds="$(realpath "$3")"
shift 3
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ -z "${PUBLISH_PYTHON:-}" ]]; then
    source scripts/setup.sh
    PUBLISH_PYTHON=python
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
measure() { "$PUBLISH_PYTHON" report.py measure "$@"; }

trap 'exit 130' INT
measure --data_dir "$speech" --output report --models cq@{6,9,12,16,24,32} --packets 5 "$@"
measure --data_dir "$speech" --output report --models cq-scalable cq-9k --peers "$@"
measure --data_dir "$sounds" --output report/sounds --models cq@opus-av-audio-vbr-12 --packets 5 \
    --peers opus-av-audio-vbr-12 "$@"
"$PUBLISH_PYTHON" report.py tables --output report/sounds --corpus "other sounds" --beside other_sounds
"$PUBLISH_PYTHON" report.py tables --output report --corpus "$name"
"$PUBLISH_PYTHON" -m scripts.score_pretrained --data_dir "$speech" --other "sounds=$sounds" --by kind --only 'other:*' \
    --few 6 --write
