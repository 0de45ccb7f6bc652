#!/usr/bin/env bash
# Whether memory stays flat while clients come and go: connect, prepare, err, disconnect, over and over, and RSS sampled meanwhile.
#   LULL_CHURN_SECONDS=3600 tests/churn.sh        (LULL_CHURN_CLIENTS=16: so many at one time)
# Fails where the median of the last third is above that of the second third by more than LULL_CHURN_BOUND_KB (1024).
set -euo pipefail
cd "$(dirname "$0")/.."
export LULL_BINARY=${LULL_BINARY:-$PWD/build/ci/proxy/lull}
[[ -x $LULL_BINARY ]] || deploy/build.sh ci lull
exec /usr/bin/python3 tests/integration/churn.py "$@"
