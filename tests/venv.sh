#!/bin/sh
# Makes .venv, with what tests/requirements.txt names, unless it is there.
set -eu
cd "$(dirname "$0")/.."

cmp -s tests/requirements.txt .venv/requirements.txt && exit 0
python3 -m venv .venv
.venv/bin/python -m pip -q install -r tests/requirements.txt
# Last, so that an install that failed is tried again.
cp tests/requirements.txt .venv/requirements.txt
