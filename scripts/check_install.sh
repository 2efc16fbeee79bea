#!/usr/bin/env bash
# Installs nsc as users do and codes a clip, on the oldest and the newest Python that setup.py promises and this machine
# has (on the path, by pyenv or by uv); names what it does not have.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
promised=($(cd "$root" && python3 setup.py --classifiers 2>/dev/null | grep -oE '3\.[0-9]+$' | sort -V))
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT

# A working interpreter of a version, if there is one.
find_python() {
    local each
    for each in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python "$(uv python find "$1" 2>/dev/null)"; do
        "$each" -c "import sys, venv, ensurepip; assert sys.version.startswith('$1.')" 2>/dev/null && echo "$each" && return
    done
}

check() {
    local bin="$place/$1/bin" clip="$root/tests/data/allison/en-tt-weasels.flac"
    "$2" -m venv "$place/$1"
    "$bin/python" -m pip install --quiet --disable-pip-version-check "$root" 2>/dev/null
    (cd "$place" && "$bin/nsc" encode "$clip" "$1.nsc" && "$bin/nsc" decode "$1.nsc" "$1.wav" && "$bin/nsc" info "$1.nsc" >/dev/null)
    echo "install: nsc codes on $("$bin/python" -V)"
}

found=()
for version in "${promised[@]}"; do
    python="$(find_python "$version")" && [[ -n "$python" ]] && found+=("$version $python") || echo "install: no Python $version here"
done
((${#found[@]})) || { echo "install: none of the promised versions of Python is here" >&2; exit 1; }
check ${found[0]}
((${#found[@]} == 1)) || check ${found[-1]}
