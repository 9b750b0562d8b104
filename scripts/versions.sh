#!/usr/bin/env bash
# Runs the tests of the Postgres driver, pgtable, pgchange and schedules, and the quickstart twice, on each of the
# major versions of PostgreSQL that are given. With --short it leaves out schedules, examples, most
# pairs of the matrix of types, of the driver and pgtable what takes long and hardly depends on the version, and
# pgchange on all but the last one.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
find_go

matrix=whole
skip='^$'
packages=(./dataflowpgx ./connector/pgtable ./internal/schedule)
few=''
if [[ ${1:-} == --short ]]; then
	few='^Test(Matrix|Flow|Replace|Upsert|Insert|Apply|Plain|Keyset|Select|Guard|BatchTo|InsertTo|UpsertTo)$|_Contract$'
	skip='^(TestExplain(_Due|_GrownTables|_RunList)?|TestClassify_Raised|TestTrigger_Terminated|TestTriggerMany_Together|Example.*)$'
	matrix=part
	shift
fi
work=$(mktemp -d)
trap 'stop_server; rm -rf "$work"' EXIT
as_server() { if [[ $(id -u) -eq 0 ]]; then runuser -u "$(id -un postgres 2>/dev/null || echo nobody)" -- "$@"; else "$@"; fi; }
stop_server() {
	[[ ! -e $work/data/postmaster.pid ]] || as_server "$bin/pg_ctl" stop --silent --pgdata="$work/data" --mode=immediate
}

# run_tests runs go test with these arguments on the version.
run_tests() { env -u DATAFLOW_TEST_DATABASE_URL DATAFLOW_TEST_MATRIX="$matrix" PATH="$bin:$PATH" go test -count=1 -parallel 8 -timeout 10m "$@"; }

# quickstart runs examples/quickstart twice on a fresh server.
quickstart() {
	local try
	rm -rf "$work/data"
	if [[ $(id -u) -eq 0 ]]; then chown "$(id -un postgres 2>/dev/null || echo nobody)" "$work"; fi
	(
		cd "$work"
		as_server "$bin/initdb" --pgdata="$work/data" --auth=trust --no-sync --username=postgres --encoding=UTF8 --locale=C >/dev/null
		as_server "$bin/pg_ctl" start --silent --wait --pgdata="$work/data" --log="$work/log" \
			--options="-k $work -c listen_addresses= -c fsync=off" >/dev/null
	)
	for try in 1 2; do
		(cd "$work" && DATABASE_URL="postgres://postgres@/postgres?host=$work" timeout --kill-after=10 120 ./quickstart >"quickstart-$try.txt") ||
			fail "the quickstart has failed on PostgreSQL $version, time $try: $(tail -5 "$work/quickstart-$try.txt")"
	done
	stop_server
}

chmod 755 "$work"
go build -o "$work/quickstart" ./examples/quickstart
ln -s "$PWD/testdata" "$work/testdata"
for version in "$@"; do
	said=$(scripts/ensure-postgres-version.sh "$version")
	bin=${said##*$'\n'}
	say "testing on $("$bin/postgres" --version)"
	if [[ -n $few ]]; then
		run_tests -skip "$skip" ./dataflowpgx
		run_tests -run "$few" ./connector/pgtable
	else
		run_tests -skip "$skip" "${packages[@]}"
	fi
	[[ -n $few && $version != "${!#}" ]] || (cd connector/pgchange && run_tests .)
	quickstart
	say "passed on PostgreSQL $version, after $SECONDS s"
done
