#!/usr/bin/env bash
# The papers' experiment: no LPC, LPC with a fixed codebook and CQ at 9 to 32 kbps, strides 2 and 4, greedy and finetuned.
#
#   scripts/reproduce_paper.sh DATA_DIR [--dry_run] [--output reproduction] [--kbps 9 16 ...] [-- FLAGS of main.py]
#
# --dry_run prints the runs with an estimate of hours on this machine; --help shows the rest. A TIMIT tree is split into
# 300 training and 50 test speakers. Stopped, the same command continues; started several times with one output folder,
# the processes share the work. REPRODUCE_PYTHON=/path/to/python takes that interpreter instead of setting up .venv.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ -z "${REPRODUCE_PYTHON:-}" ]]; then
    here="$PWD"
    source "$root/scripts/setup.sh"
    cd "$here"
    REPRODUCE_PYTHON=python
fi
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$REPRODUCE_PYTHON" -m scripts.paper.reproduce_paper "$@"
