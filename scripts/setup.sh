#!/usr/bin/env bash
# Makes .venv with everything the project needs, once; to be sourced by the other scripts.
# PYTHON=/path/to/python3.12 scripts/setup.sh chooses the interpreter.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
environment="$root/.venv"

stop() {
    echo "setup: $*" >&2
    exit 1
}

check_python() {
    command -v "$1" >/dev/null || stop "expected Python 3.11 or newer, found no $1; install it or set PYTHON"
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "expected Python 3.11 or newer, found $("$1" -V 2>&1); set PYTHON to a newer one"
    "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        stop "expected Python's venv module, found none in $1; install it (Debian: apt-get install python3-venv)"
}

install() {
    echo "setup: installing into $environment (once; TensorFlow is large, allow some minutes)"
    "$1" -m venv "$environment"
    # The compat mode puts the folder itself on the path: the pipeline is imported from the clone, never installed.
    local extras="train,dev,report,visqol"
    # the browser of the machine tests the report; without one its driver of 165 MB would be of no use
    ! command -v chromium >/dev/null || extras+=",browser"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
        --editable "$root[$extras]" --config-settings editable_mode=compat || explain_failure
}

explain_failure() {
    command -v "${CC:-cc}" >/dev/null || command -v gcc >/dev/null ||
        stop "pesq is compiled when it is installed and no C compiler was found;" \
            "install one with Python's headers (Debian: apt-get install gcc python3-dev) and run again"
    stop "pip could not install the dependencies; its error message is above"
}

# An installation serves until the lists of dependencies, the interpreter or the folder change.
fingerprint() {
    { cat "$root/setup.py" "$root/pyproject.toml" "$root/nsc/version.py"; "$1" -V; echo "$root"; } | cksum
}

set_up() {
    local python="${PYTHON:-python3}" stamp="$environment/installed" wanted
    check_python "$python"
    wanted="$(fingerprint "$python")"
    if [[ ! -x "$environment/bin/python" || "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]]; then
        install "$python"
        echo "$wanted" >"$stamp"
    fi
    export VIRTUAL_ENV="$environment" PATH="$environment/bin:$PATH"
}

set_up
cd "$root"
