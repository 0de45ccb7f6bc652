#!/usr/bin/env bash
# Builds build/trained/proxy/lull: the preset "release", but the compiler knows what runs often. First it builds a binary that
# counts, then it runs the benchmark's workloads through that, beside a PostgreSQL of its own (in a temporary folder, stopped
# at the end), then it builds once more by these counts. Takes some seven minutes on two cores.
#   deploy/train.sh [--seconds 2]      of each workload
# The counts are of one build folder and one compiler; nothing of them is kept in the tree.
set -euo pipefail
case ${1:-} in
  "" | --seconds) ;;
  -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
  *) echo "error: unknown option $1; see $0 --help" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
deploy/install-packages.sh build test bench

cmake --preset trained -DLULL_PROFILE=count >/dev/null
find build/trained -name '*.gcda' -delete
LULL_BUILD_OPTIONS=-DLULL_PROFILE=count deploy/build.sh trained lull
echo "==> Running the benchmark's workloads through it"
LULL_BINARY=$PWD/build/trained/proxy/lull /usr/bin/python3 tests/bench/train.py "$@"
# (A binary that did not end as it should leaves none, and the next build would not say so.)
[[ -n $(find build/trained -name '*.gcda' -print -quit) ]] || { echo "error: nothing was counted" >&2; exit 1; }
# Each build has counts of its own, so there is nothing to be had from a cache.
CCACHE_DISABLE=1 LULL_BUILD_OPTIONS=-DLULL_PROFILE=use deploy/build.sh trained lull
echo "==> build/trained/proxy/lull"
