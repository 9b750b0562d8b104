#!/usr/bin/env bash
# Runs all tests of all modules with the race detector, on PostgreSQL (also through PgBouncer),
# SQLite and MariaDB, with Prometheus and Chromium, and then, without the race detector, the short form of the tests that
# kill workers. Installs what is missing where it may.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
find_go

missing=0
for tool in cc postgres mariadb pgbouncer prometheus chromium; do
	"scripts/ensure-$tool.sh" || missing=1
done
[[ $missing -eq 0 ]] || fail "no test has run: install what is missing above, and run $0 again"
export CGO_ENABLED=1 DATAFLOW_TEST_REQUIRE_MYSQL=1 DATAFLOW_TEST_REQUIRE_PGBOUNCER=1 DATAFLOW_TEST_REQUIRE_PROMETHEUS=1 DATAFLOW_TEST_REQUIRE_CHROMIUM=1

# go test prints the results in the order of its arguments. The slowest packages come first, so
# that none of them runs alone at the end.
slow='/(connector/pgtable|internal/cli|internal/enginetest)$'
# This package measures time, so it runs alone at the end.
alone='/internal/chaos$'

# No test reads debugging information, and a sixth of the time to compile would be spent on it.
compiled=('-gcflags=all=-dwarf=false')
# These packages are SQLite and its C library, translated from C, which the race detector would
# make six times slower. A package without the detector must instantiate no generic code of the
# standard library for types that others use, such as sync.Map, or races are reported that are none.
# Of two flags for a package, the last one holds.
for package in sqlite/lib libc memory; do
	compiled+=("-gcflags=modernc.org/$package=-race=false -dwarf=false")
done

# packages lists the packages of the module in the current directory.
packages() {
	local all
	all=$(go list ./...)
	grep -E "$slow" <<<"$all" || true
	grep -v -E "$slow|$alone" <<<"$all" || true
}

total=0 ended=0
failed=''        # packages, one a line
pending=''       # the packages of this go test that have not ended, one a line
status=$(mktemp) # holds what say_at said last

# say_at says which package's result comes next.
say_at() {
	local package=${pending%%$'\n'*}
	[[ -n $package ]] || return 0
	echo "[$((ended + 1))/$total] $package" >"$status"
	echo "$(<"$status"), after $(elapsed)"
}

elapsed() { printf '%dm%02ds' $((SECONDS / 60)) $((SECONDS % 60)); }

# remind repeats what say_at said, while it stays the same for long.
remind() {
	local nap last='' now
	trap 'kill "$nap"; exit' TERM
	while :; do
		sleep 30 &
		nap=$!
		wait "$nap"
		now=$(<"$status")
		[[ $now != "$last" ]] || echo "$now, after $(elapsed)"
		last=$now
	done
}

# run_tests runs go test with these arguments.
run_tests() { go test -race "${compiled[@]}" "$@" 2>&1; }

# show shows what go test prints for the pending packages. One that prints no result has failed.
show() {
	local line package
	say_at
	while IFS= read -r line; do
		echo "$line"
		case $line in
		"ok  "$'\t'* | "?   "$'\t'* | FAIL$'\t'*) ;;
		*) continue ;;
		esac
		package=${line#*$'\t'}
		package=${package%%[[:space:]]*}
		[[ $'\n'$pending$'\n' == *$'\n'$package$'\n'* ]] || continue
		pending=$(grep -v -x -F "$package" <<<"$pending" || true)
		ended=$((ended + 1))
		[[ $line != FAIL* ]] || failed+=$package$'\n'
		say_at
	done
	[[ -z $pending ]] || failed+=$pending$'\n'
}

own=$(packages) # of the root module
modules=()      # the others
others=''       # their packages
while IFS= read -r module; do
	modules+=("$module")
	others+=$(cd "$module" && packages)$'\n'
done < <(find . -mindepth 2 -name go.mod -not -path '*/testdata/*' -exec dirname {} \; | sort)
others=${others%$'\n'}
total=$(($(wc -l <<<"$own"$'\n'"$others") + 1)) # and the one that runs alone
say "testing $total packages of $((${#modules[@]} + 1)) modules, which takes ten minutes or more"

remind &
reminder=$!
beside=$(mktemp)
their=''
trap 'kill "$reminder"; [[ -z $their ]] || kill -- "-$their" 2>/dev/null || true; rm -f "$status" "$beside"' EXIT

# The tests wait for servers more than they compute, so those of the other modules run beside the
# root module's. Their results are shown after those.
set -m # a process group of their own, which the trap ends as a whole
for module in "${modules[@]}"; do
	(cd "$module" && run_tests -p 1 -timeout 15m ./...) || true
done >"$beside" </dev/null &
their=$!
set +m
pending=$own
# shellcheck disable=SC2086
show < <(run_tests -timeout 15m $own)
pending=$others
wait "$their"
their=''
show <"$beside"
pending=$(go list ./... | grep -E "$alone")
# shellcheck disable=SC2086
show < <(go test -tags chaos -timeout 10m $pending 2>&1)

[[ -z $failed ]] || fail "these packages have failed:
$failed"
