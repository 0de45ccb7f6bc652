#!/usr/bin/env bash
# Shows what Lull is for, on this machine, in two minutes: a PostgreSQL primary with a hot standby, Lull, a demo shop behind
# it with readers and writers, and a real migration that locks the table which every page reads.
#
#   deploy/quickstart.sh [--once] [--binary FILE]
#
#   --once          end after the proof: exit status 0 only if every point of it held
#   --binary FILE   use this lull instead of building one
#
# Installs missing Debian packages (the only step that needs root or sudo), builds build/release/proxy/lull, and puts all else
# in a temporary folder. Listens on 127.0.0.1 only. Ctrl-C ends everything and removes the folder.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."
root=$PWD
# shellcheck disable=SC2154 # pg_folder and pg_bin come from there
# shellcheck source=deploy/postgres.sh
. deploy/postgres.sh
unset "${!PG@}" # libpq would read PGHOST, PGSERVICE and the like, meant for another server

once=()
lull=
while (($#)); do
  case $1 in
    --once) once=(--once) ;;
    --binary) lull=$(cd "$called_from" && realpath "${2:?--binary needs a file}"); shift ;;
    -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) echo "error: unknown option $1; see $0 --help" >&2; exit 2 ;;
  esac
  shift
done

if [[ -n $lull ]]; then
  deploy/install-packages.sh demo
else
  deploy/install-packages.sh build demo
  deploy/build.sh release lull
  lull=$root/build/release/proxy/lull
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/lull-quickstart.XXXXXX")
chmod 0711 "$folder" # the server's user must pass through; what is secret inside has its own mode
started=()

# shellcheck disable=SC2317 # called by the trap
cleanup() {
  local status=$? pid
  trap '' INT TERM
  ((status == 0 || status == 130)) || for log in "$folder"/{lull,site}.log; do
    [[ ! -s $log ]] || { echo "--- the end of ${log##*/}" >&2; tail -n 25 "$log" >&2; }
  done
  for ((i = ${#started[@]} - 1; i >= 0; --i)); do
    pid=${started[i]}
    kill "$pid" 2>/dev/null || continue
    for _ in {1..100}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
  pg_pair_stop
  rm -rf "$folder"
  exit "$status"
}
trap cleanup EXIT
trap 'echo; echo "==> Stopping and removing everything"; exit 130' INT TERM

free_ports() { # prints, for each port that one would guess, itself or, where it is taken, a free one
  /usr/bin/python3 - "$@" <<'PYTHON'
import socket, sys
held = []
for wanted in sys.argv[1:]:
    for port in (int(wanted), 0):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
            one.listen(1)
            break
        except OSError:
            one.close()
    held.append(one)
print(*(one.getsockname()[1] for one in held))
PYTHON
}
secret() { od -An -N12 -tx1 /dev/urandom | tr -d ' \n'; }
app_password=$(secret) owner_password=$(secret) control_password=$(secret)
install -m 0600 /dev/null "$folder/pgpass" # so that no password stands on a command line
printf '127.0.0.1:*:*:%s\n' "shop_app:$app_password" "shop_owner:$owner_password" >"$folder/pgpass"
export PGPASSFILE=$folder/pgpass

read -r primary standby < <(free_ports 5440 5441)
echo "==> Starting PostgreSQL 15: a primary on port $primary and its hot standby on port $standby"
pg_pair_start "$folder/postgres" "$primary" "$standby"
pg_admin -d postgres -v password="$control_password" -f deploy/control-role.sql
pg_admin -d postgres -v app="$app_password" -v owner="$owner_password" <<'SQL'
CREATE ROLE shop_app LOGIN PASSWORD :'app';
CREATE ROLE shop_owner LOGIN PASSWORD :'owner';
CREATE DATABASE shop OWNER shop_owner;
SQL
pg_admin -d shop -c 'ALTER SCHEMA public OWNER TO shop_owner'
pg_admin -d shop -U shop_owner -f deploy/demo-site/schema.sql

read -r sql migration http site < <(free_ports 6432 6433 8080 8000)
echo "==> Starting Lull: PostgreSQL on port $sql, migrations on port $migration, HTTP on port $http"
install -m 0600 /dev/null "$folder/lull.yaml"
cat >"$folder/lull.yaml" <<YAML
listen: {postgres: 127.0.0.1:$sql, migration: 127.0.0.1:$migration, http: 127.0.0.1:$http}
admin_socket: $folder/lull.sock
state_dir: $folder/state
clusters:
  main:
    primary: 127.0.0.1:$primary
    replicas: [127.0.0.1:$standby]
    control: {user: lull, password: "$control_password", database: postgres}
sites:
  shop:
    databases: [shop]
    hosts: [shop.localhost, localhost, 127.0.0.1]
    upstreams: [127.0.0.1:$site]
    migration: {users: [shop_owner]}
    writes: refuse
    http_rules: [{methods: [POST], path: /search, action: allow}]
users:
  shop_app: {password: "$app_password"}
  shop_owner: {password: "$owner_password"}
YAML
mkdir -m 0700 "$folder/state"
export LULL_SOCKET=$folder/lull.sock

background() { # NAME COMMAND...: its own session, so that Ctrl-C reaches only this script
  local log=$folder/$1.log
  shift
  setsid "$@" >"$log" 2>&1 </dev/null &
  started+=($!)
}
until_works() { # WHAT COMMAND...
  local what=$1
  shift
  for _ in {1..150}; do
    "$@" >/dev/null 2>&1 && return 0
    kill -0 "${started[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "error: $what did not start" >&2
  return 1
}

background lull "$lull" serve --config "$folder/lull.yaml"
until_works "lull serve" "$lull" status shop

echo "==> Starting the demo site on port $site, behind Lull"
site_dsn="host=127.0.0.1 port=$sql dbname=shop user=shop_app"
background site /usr/bin/python3 deploy/demo-site/app.py --port "$site" --database "$site_dsn application_name=demo-site"
until_works "the demo site" curl -fsS "http://127.0.0.1:$http/"

to_try="
  Everything stays up until Ctrl-C. The traffic goes on; whatever happens to it is shown here.

  The shop in a browser    http://shop.localhost:$http/
  The mode, for programs   curl -s http://127.0.0.1:$http/.well-known/lull/status
  A comment by HTTP        curl -si http://127.0.0.1:$http/article/1/comments -d 'author=Me&body=Hello'
  SQL through Lull         psql 'postgresql://shop_app:$app_password@127.0.0.1:$sql/shop'

  Then close the shop for writing, look around, and open it again, in another terminal:

  export LULL_SOCKET=$LULL_SOCKET
  $lull maintenance on shop --reason 'Trying it out' --eta 2min
  $lull status shop
  $lull maintenance off shop

  Or run any command as a migration:
  $lull upgrade shop -- psql -c 'ALTER TABLE articles ADD COLUMN weight integer'

  Configuration: $folder/lull.yaml   Logs: $folder/lull.log, site.log, postgres/*.log
  Held instead of refused writes: set 'writes: hold' there, then: $lull reload
"
install -m 0600 /dev/null "$folder/settings.json"
/usr/bin/python3 - "$folder/settings.json" <<PYTHON
import json, sys
json.dump({
    "folder": "$folder", "lull": "$lull", "site": "shop", "host": "shop.localhost", "http_port": $http,
    "site_dsn": "$site_dsn",
    "direct_dsn": "host=127.0.0.1 port=$primary dbname=shop user=shop_app",
    "admin_dsn": "host=$pg_folder port=$primary dbname=shop user=postgres",
    "app_user": "shop_app", "owner_user": "shop_owner",
    "pg_waldump": "$pg_bin/pg_waldump", "wal_folder": "$pg_folder/primary/pg_wal",
    "migration": "deploy/demo-site/migration.sql",
    "to_try": """$to_try""",
}, open(sys.argv[1], "w"))
PYTHON
/usr/bin/python3 deploy/demo-site/traffic.py --settings "$folder/settings.json" "${once[@]}" </dev/null &
started+=($!)
status=0
wait "${started[-1]}" || status=$?
exit "$status"
