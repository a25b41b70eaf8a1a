#!/usr/bin/env bash
# Try what was built as a stranger gets it: try_dist.sh FOLDER [REQUIREMENT...], with PYTHON from the environment.
# Everything is installed from a folder of wheels, without an index; the tests are those of the sdist, and see no source.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
built=$(cd "$1" && pwd)
shift
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT
chmod 755 "$trial"
cd "$trial"
# No extension is compiled, and none is needed.
export CC=/bin/false CXX=/bin/false

"${PYTHON:-python3}" -m venv fetching
fetching/bin/python -m pip wheel -q -w wheels "$(ls "$built"/*.whl)[test-core]" "$@"
"${PYTHON:-python3}" -m venv installed
installed/bin/python -m pip install -q --no-index --find-links wheels ares-notebook "$@"

# Styles, scripts and types are there as well as modules; of sources in C the wheel has what was made of them.
files() { (cd "$1" && find ares_notebook -type f ! -path '*/__pycache__/*' ! -name '*.c' | LC_ALL=C sort); }
lacking=$(LC_ALL=C comm -23 <(files "$repository") <(files installed/lib/python*/site-packages))
if [ -n "$lacking" ]; then
    echo "the wheel lacks $lacking" >&2
    exit 1
fi

mkdir empty
(cd empty && ../installed/bin/ares-notebook demo && ../installed/bin/ares-notebook demo)

mkdir sdist
tar xzf "$built"/*.tar.gz -C sdist --strip-components=1
rm -r sdist/ares_notebook
cd sdist
../installed/bin/python tests/readme_block.py
../installed/bin/python -m pip install -q --no-index --find-links ../wheels "ares-notebook[test-core]" "$@"
../installed/bin/python -m pytest -q -n auto --dist worksteal @tests/core.txt

# A wheel made of the sdist: what that lacks fails here.
"${PYTHON:-python3}" -m venv ../of_sdist
../of_sdist/bin/python -m pip install -q --find-links ../wheels "$built"/*.tar.gz "$@"
cd ../empty && ../of_sdist/bin/ares-notebook demo --cache-dir of_the_sdist
