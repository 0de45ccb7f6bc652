#!/usr/bin/env bash
# What a query costs through Lull, beside Debian's PgBouncer and HAProxy in the same interleaved run, every statement being
# classified; a table, and exit status 1 where a limit is missed.
#   tests/bench/run.sh [all|gate|costs|counts] [--rounds 5] [--seconds 3] [--only REGEXP]
# gate counts system calls and instructions only, which a busy machine does not change; the rest wants a quiet one. counts does
# that for more workloads, and for PgBouncer too, and judges nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
deploy/install-packages.sh build test bench
if [[ -z ${LULL_BINARY:-} ]]; then
  deploy/build.sh release lull
  export LULL_BINARY=$PWD/build/release/proxy/lull
fi
exec /usr/bin/python3 tests/bench/run.py "$@"
