#!/usr/bin/env bash
# Configures and builds one of CMakePresets.json's presets and shows the progress.
#   deploy/build.sh [PRESET] [TARGET ...]      default: release, and the binary lull alone
# The binary is then build/PRESET/proxy/lull. ccache is used where it is installed. LULL_BUILD_OPTIONS are options for cmake.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(lull)

# One compiler needs up to 1.5 GB here, so few gigabytes mean few jobs however many cores there are.
memory=$(awk '/MemAvailable/ {print int($2 / 1024 / 1536)}' /proc/meminfo)
jobs=$(nproc)
((memory < jobs)) && jobs=$memory
((jobs < 1)) && jobs=1

echo "==> Building preset $preset with $jobs jobs: ${targets[*]}"
cmake --preset "$preset" ${LULL_BUILD_OPTIONS:-} >/dev/null
cmake --build "build/$preset" --parallel "$jobs" --target "${targets[@]}"
