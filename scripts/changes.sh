#!/usr/bin/env bash
# Runs the long form of pgchange's tests of kills and memory on each of the major versions of
# PostgreSQL that are given: 5 to 10 minutes each.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
find_go

for version in "$@"; do
	said=$(scripts/ensure-postgres-version.sh "$version")
	bin=${said##*$'\n'}
	say "following changes of $("$bin/postgres" --version)"
	(cd connector/pgchange && env -u DATAFLOW_TEST_DATABASE_URL DATAFLOW_CHAOS=long PATH="$bin:$PATH" \
		go test -count=1 -timeout 20m -v -run '^TestStream_(Killed|Memory)$' . | grep --line-buffered -v '^=== ')
	say "passed on PostgreSQL $version, after $SECONDS s"
done
