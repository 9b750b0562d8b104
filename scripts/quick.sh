#!/usr/bin/env bash
# Runs go vet and the tests that need nothing but Go, in under a minute on two cores once the
# build cache is warm.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
find_go

say "go vet"
scripts/workspace.sh go vet -tags chaos
# The tests of internal/enginetest take minutes. TestDialogue and TestInit build programs.
packages=$(go list ./... | grep -v '/internal/enginetest$')
say "go test -short"
# shellcheck disable=SC2086
go test -short -skip '^(Example|TestDialogue$|TestInit$)' -timeout 5m $packages
say "passed in $SECONDS s; left out, but in scripts/test.sh:
  PostgreSQL, MariaDB and the race detector
  internal/enginetest, internal/chaos, TestDialogue, TestInit and all examples"
