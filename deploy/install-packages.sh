#!/usr/bin/env bash
# Installs the Debian 12 packages that a task needs and that are missing. Says nothing and asks nobody where
# none is missing; uses sudo only for apt-get, and only when not root.
#   deploy/install-packages.sh build|demo|test|bench|nightly ...
set -euo pipefail

build=(g++ cmake ninja-build libboost1.81-dev libssl-dev libicu-dev libpq-dev libpg-query-dev postgresql-server-dev-15
  libyaml-cpp-dev libre2-dev libspdlog-dev libfmt-dev nlohmann-json3-dev libcli11-dev
  prometheus-cpp-dev)
demo=(postgresql-15 postgresql-client-15 python3-psycopg2 curl)
test=(doctest-dev postgresql-15 postgresql-client-15 python3-psycopg2 python3-psycopg python3-pytest python3-pytest-xdist python3-yaml
  python3-websockets pgbouncer strace valgrind ccache
  python3-asyncpg nodejs openjdk-17-jdk-headless libpostgresql-jdbc-java golang-go golang-github-lib-pq-dev ruby ruby-pg
  php-cli php-pgsql)
command -v npm >/dev/null || test+=(npm)  # some packages of nodejs bring it along
bench=(pgbouncer haproxy strace valgrind)
nightly=(clang libclang-rt-14-dev)

wanted=()
for group in "$@"; do
  case $group in
    build) wanted+=("${build[@]}") ;;
    demo) wanted+=("${demo[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    bench) wanted+=("${bench[@]}") ;;
    nightly) wanted+=("${nightly[@]}" "${bench[@]}") ;;
    *) echo "usage: $0 build|demo|test|bench|nightly ..." >&2; exit 2 ;;
  esac
done

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || [[ " ${missing[*]-} " == *" $package "* ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

echo "==> Installing ${#missing[@]} missing packages: ${missing[*]}"
as_root=()
if [[ $(id -u) != 0 ]]; then
  command -v sudo >/dev/null || { echo "error: not root and no sudo; install them yourself: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0)

"${apt[@]}" update

# The server package would create and start a cluster of its own on port 5432, which nobody here asked for.
leftovers=()
trap '((${#leftovers[@]} == 0)) || "${as_root[@]}" rm -f "${leftovers[@]}"' EXIT
no_cluster=/etc/postgresql-common/createcluster.d/lull-no-main-cluster.conf
if [[ " ${missing[*]} " == *" postgresql-15 "* && ! -e $no_cluster ]]; then
  "${as_root[@]}" mkdir -p "${no_cluster%/*}"
  echo 'create_main_cluster = false' | "${as_root[@]}" tee "$no_cluster" >/dev/null
  leftovers+=("$no_cluster")
fi
# Likewise the services of pgbouncer and haproxy.
no_start=/usr/sbin/policy-rc.d
if [[ " ${missing[*]} " == *" pgbouncer "* || " ${missing[*]} " == *" haproxy "* ]] && [[ ! -e $no_start ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$no_start" >/dev/null
  "${as_root[@]}" chmod 755 "$no_start"
  leftovers+=("$no_start")
fi
"${apt[@]}" install -y --no-install-recommends "${missing[@]}"
echo "==> Packages installed"
