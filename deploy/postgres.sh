# shellcheck shell=bash
# Throw-away PostgreSQL 15: a primary and its streaming hot standby in one temporary folder. Source it; functions:
#   pg_pair_start FOLDER PRIMARY_PORT STANDBY_PORT    FOLDER is created; TCP is 127.0.0.1 with SCRAM only
#   pg_admin PSQL_ARGUMENTS...                        psql on the primary as superuser
#   pg_pair_stop                                      stops both by their pid files; safe to call at any time
# PostgreSQL refuses to run as root: started by root, everything runs as the user `postgres` that Debian's package
# makes. Superusers come in only through the unix sockets, which stand in a folder that nobody else may enter.

pg_bin=/usr/lib/postgresql/15/bin
pg_folder=

pg_as_user() {
  # From /, because the caller's folder may be closed to `postgres`.
  if [[ $(id -u) == 0 ]]; then (cd / && exec runuser -u postgres -- "$@"); else "$@"; fi
}

pg_run() { # runs a command quietly, shows its output only if it failed
  local log=$pg_folder/command.log
  pg_as_user "$@" >"$log" 2>&1 || { echo "error: $1 failed:" >&2; tail -n 20 "$log" "$pg_folder"/*.log >&2; return 1; }
}

pg_admin() { psql -X -q -v ON_ERROR_STOP=1 -h "$pg_folder" -p "$pg_primary_port" -U postgres "$@"; }

pg_pair_start() {
  pg_folder=$1 pg_primary_port=$2 pg_standby_port=$3
  [[ -x $pg_bin/initdb ]] || { echo "error: $pg_bin/initdb is missing; run deploy/install-packages.sh demo" >&2; return 1; }
  install -d -m 0700 "$pg_folder"
  [[ $(id -u) != 0 ]] || chown postgres: "$pg_folder"

  pg_run "$pg_bin/initdb" -D "$pg_folder/primary" -U postgres --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8
  # track_commit_timestamp is what lets the demo count commits on the server instead of believing its clients.
  pg_as_user tee -a "$pg_folder/primary/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$pg_folder'
max_connections = 200
wal_level = replica
hot_standby = on
wal_keep_size = 1GB
track_commit_timestamp = on
log_lock_waits = on
log_line_prefix = '%m [%p] %u@%d %a '
CONF
  pg_run "$pg_bin/pg_ctl" -D "$pg_folder/primary" -l "$pg_folder/primary.log" -o "-p $pg_primary_port" -w start
  pg_admin -d postgres -c 'CREATE ROLE replicator LOGIN REPLICATION'
  pg_run "$pg_bin/pg_basebackup" -D "$pg_folder/standby" -R -X stream -c fast \
    -d "host=$pg_folder port=$pg_primary_port user=replicator application_name=standby"
  pg_run "$pg_bin/pg_ctl" -D "$pg_folder/standby" -l "$pg_folder/standby.log" -o "-p $pg_standby_port" -w start
}

pg_pair_stop() {
  local server
  [[ -n $pg_folder ]] || return 0
  for server in standby primary; do
    [[ ! -e $pg_folder/$server/postmaster.pid ]] ||
      pg_as_user "$pg_bin/pg_ctl" -D "$pg_folder/$server" -m immediate -w stop >/dev/null 2>&1 || true
  done
}
