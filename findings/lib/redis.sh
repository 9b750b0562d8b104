#!/usr/bin/env bash
# Starts a private Redis for a finding. To be sourced. Needs Debian 12, whose packages it runs from
# a temporary folder.
#
#   start_redis DIR [OPTION …]
#
# unpacks the packages in DIR, starts a server there, and exports SOCKET, the Unix socket on which it
# listens. When the script ends, the server stops and DIR is removed.

redis_pid=
redis_dir=

stop_redis() {
  [ -z "$redis_pid" ] || { kill "$redis_pid" && wait "$redis_pid"; } 2>/dev/null || true
  [ -z "$redis_dir" ] || rm -rf "$redis_dir"
}
trap stop_redis EXIT

start_redis() {
  redis_dir=$1
  local deb
  shift
  mkdir "$redis_dir/debs" "$redis_dir/root"
  (cd "$redis_dir/debs" && apt-get download redis-server redis-tools liblzf1 libjemalloc2 libatomic1 >download.log 2>&1) ||
    { cat "$redis_dir/debs/download.log"; return 1; }
  for deb in "$redis_dir"/debs/*.deb; do dpkg -x "$deb" "$redis_dir/root"; done
  export SOCKET=$redis_dir/s
  LD_LIBRARY_PATH=$redis_dir/root/usr/lib/x86_64-linux-gnu "$redis_dir/root/usr/bin/redis-server" \
    --port 0 --unixsocket "$SOCKET" --save '' "$@" >"$redis_dir/redis.log" 2>&1 &
  redis_pid=$!
  for _ in $(seq 100); do [ -S "$SOCKET" ] || sleep 0.1; done
  grep -o 'Redis version=[0-9.]*' "$redis_dir/redis.log" >&2
}
