#!/usr/bin/env bash
# Checks the style and the types, then runs the tests; arguments go to pytest: scripts/test.sh tests/runs
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

ruff check .
ruff format --check .
mypy
# in as many processes as there are cores, at most four: each of them holds TensorFlow; flags that are given win
pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
