#!/usr/bin/env bash
# pgvector-python's own test suite; see scripts/test_clients.sh.
# usage: python.sh DIRECTORY
set -euo pipefail

version=0.5.1
home=$1
suite="$home/pgvector-$version"
python="$home/venv/bin/python"
wanted="$(dirname "$0")/requirements.txt"

mkdir -p "$home"
[ -x "$python" ] || python3 -m venv "$home/venv"
if ! cmp -s "$wanted" "$home/requirements.txt"; then
    "$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: -r "$wanted"
    cp "$wanted" "$home/requirements.txt"
fi
if ! [ -d "$suite" ]; then
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --dest "$home" "pgvector==$version"
    tar -C "$home" -xzf "$home/pgvector-$version.tar.gz"
fi
# The package leaves these two out, which its tests import.
touch "$suite/tests/__init__.py"
echo 'import numpy' >"$suite/tests/conftest.py"
cd "$suite"
"$python" -m pytest -q -p no:cacheprovider
