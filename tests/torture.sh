#!/usr/bin/env bash
# The torture test for as long as you like: rounds of 100 clients, flips and kills, each judged by the server's own log and rows.
#   tests/torture.sh [--minutes 10] [--seed N] [--round-seconds 60] [--keep-going]
# Odd seeds play without a standby. A round that finds something names its seed; `--minutes 1 --seed N` plays the same plan again.
set -euo pipefail
cd "$(dirname "$0")/.."
export LULL_BINARY=${LULL_BINARY:-$PWD/build/ci/proxy/lull}
[[ -x $LULL_BINARY ]] || deploy/build.sh ci lull
exec /usr/bin/python3 tests/integration/torture/rounds.py "$@"
