#!/usr/bin/env bash
# Builds and runs the tests; installs what is missing first. The last line sums up: N passed, N failed, N skipped.
#   tests/run.sh [unit|integration|asan|all] [pytest arguments]      default: all
#
#   unit         doctest, include rules and replays of the fuzz corpora, -Werror (preset ci)
#   integration  pytest against the real binary, a real primary and a real standby (preset ci)
#   asan         the unit tests, the simulation and the replays again under AddressSanitizer and UndefinedBehaviorSanitizer (preset asan)
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-all}
shift || true
case $part in unit | integration | asan | all) ;; *) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;; esac
runs() { [[ $part == "$1" || $part == all ]]; }

deploy/install-packages.sh build demo test
results=$(mktemp -d)
early=  # a build that runs beside the tests
stop_early() {
  [[ -z $early ]] || { kill -- "-$early" 2>/dev/null && wait "$early" 2>/dev/null; } || true
  early=
}
trap 'stop_early; rm -rf "$results"' EXIT
failed=0

ctest_in() { # PRESET CTEST_ARGUMENTS...
  local preset=$1
  shift
  echo "==> Running the tests of build/$preset"
  ctest --test-dir "build/$preset" --parallel 2 --output-on-failure --test-output-size-passed 1000000 --timeout 300 \
    --output-junit "$results/$preset.xml" "$@" || failed=1
}

# The sanitizers watch the layers where bytes from outside are read. The drivers alone would take half of this build.
build_asan() {
  cmake --preset asan >/dev/null
  local targets
  mapfile -t targets < <(ninja -C build/asan -t targets all | grep -oE '^(unit|fuzz|sim)_\w+(: phony$)' | cut -d: -f1 | grep -vx unit_drivers | sort -u)
  deploy/build.sh asan "${targets[@]}"
}

if runs unit || runs integration; then
  deploy/build.sh ci all
  # The simulation keeps one processor busy, and most integration tests wait: what they leave builds what comes next.
  if runs asan; then
    export -f build_asan
    setsid nice -n 19 bash -euo pipefail -c build_asan >"$results/early.log" 2>&1 &
    early=$!
  fi
fi
if runs unit; then LULL_SIM_SECONDS=${LULL_SIM_SECONDS:-120} ctest_in ci; fi
if runs integration; then
  echo "==> Running the integration tests"
  export LULL_BINARY=${LULL_BINARY:-$PWD/build/ci/proxy/lull}
  integration() { # JUNIT_FILE ARGUMENTS...
    local xml=$1
    shift
    /usr/bin/python3 -m pytest tests/integration -v --tb=short --durations=10 -o cache_dir="$results/cache" --junitxml="$xml" "$@"
  }
  # Four files at a time, however few processors there are: most tests wait rather than work.
  if ! integration "$results/integration.xml" -n 4 --dist loadfile "$@"; then
    # Real servers on a busy machine: what failed is tried once more, alone, and what then passes is named as flaky.
    echo "==> Trying what failed once more"
    integration "$results/again.xml" --last-failed --last-failed-no-failures none || failed=1
  fi
fi
stop_early  # it goes on below, in earnest
if runs asan; then
  build_asan
  ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 ctest_in asan --tests-regex '^(unit|fuzz|sim)_' --exclude-regex '^unit_drivers$'
fi

/usr/bin/python3 tests/sum_up.py "$results"/*.xml || failed=1
exit "$failed"
