#!/usr/bin/env bash
# What takes too long for every change: the fuzzers with clang, the real binary under sanitizers, the simulation, the torture, and
# whether memory stays flat while clients come and go.
#   tests/nightly.sh [--minutes 60] [fuzz|fuzz:NAME|asan|tsan|sim|torture|churn|bench ...]   default: all of them, each for its share of the time
# What a fuzzer finds stands in build/fuzz/found; put it into tests/fuzz/corpus/NAME with the mend.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=60
parts=()
while (($#)); do
  case $1 in
    --minutes) minutes=${2:?--minutes takes a number}; shift 2 ;;
    fuzz | fuzz:* | asan | tsan | sim | torture | churn | bench) parts+=("$1"); shift ;;
    *) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
  esac
done
((${#parts[@]})) || parts=(fuzz asan tsan sim torture churn bench)
deploy/install-packages.sh build demo test nightly
share=$((minutes * 60 / ${#parts[@]}))
failed=()

# (Where a part is tried with ||, set -e does not hold: each step that must succeed says so.)
fuzz() { # [NAME]
  local targets=() each target name
  if (($#)); then
    targets=("fuzz_$1")
  else
    cmake --preset fuzz >/dev/null || return 1
    mapfile -t targets < <(ninja -C build/fuzz -t targets all | grep -oE '^fuzz_\w+: phony$' | cut -d: -f1)
  fi
  deploy/build.sh fuzz "${targets[@]}" || return 1
  each=$((share / ${#targets[@]} + 1))
  for target in "${targets[@]}"; do
    name=${target#fuzz_}
    mkdir -p "build/fuzz/grown/$name" "build/fuzz/found"
    build/fuzz/tests/fuzz/"$target" -max_total_time="$each" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="build/fuzz/found/$name-" "build/fuzz/grown/$name" "tests/fuzz/corpus/$name" 2>&1 | tail -n 12 || return 1
  done
}
sanitized() { # PRESET
  local tools=$PWD/build/$1/tests/integration left_out
  deploy/build.sh "$1" lull lull_classify lull_http_only || return 1
  # Not what counts instructions and wake-ups, for the sanitizer has its own; nor a process that may write no file from its first
  # instruction on, or has a library before the sanitizer's, or may take so much memory, or has no descriptor left to check a pointer
  # with. Several processes of pytest, for one has more files than select() takes.
  left_out='LimitedFiles or folder_that_cannot_be_flushed or message_that_never_ends or out_of_descriptors'
  LULL_BINARY=$PWD/build/$1/proxy/lull LULL_CLASSIFY=$tools/lull_classify LULL_HTTP_ONLY=$tools/lull_http_only ASAN_OPTIONS=detect_leaks=1 TSAN_OPTIONS=halt_on_error=1 \
    timeout $((share + 1800)) /usr/bin/python3 -m pytest tests/integration -q --tb=short -p no:cacheprovider -n 3 --dist loadfile \
    --ignore tests/integration/test_cost.py --ignore tests/integration/test_idle.py -k "not ($left_out)"
}
asan() { sanitized asan; }
tsan() { sanitized tsan; }
sim() { deploy/build.sh ci sim_pg && build/ci/tests/sim/sim_pg "$share" "$RANDOM$RANDOM"; }
torture() { tests/torture.sh --minutes $((share / 60 + 1)) --seed "$RANDOM"; }
churn() { deploy/build.sh ci lull && LULL_CHURN_SECONDS=$share tests/churn.sh; }
bench() { tests/bench/run.sh; }

for part in "${parts[@]}"; do
  echo "==> $part, for about $((share / 60)) minutes"
  IFS=: read -ra words <<<"$part"
  "${words[@]}" || failed+=("$part")
done
((${#failed[@]} == 0)) || { echo "failed: ${failed[*]}" >&2; exit 1; }
echo "nothing found"
