#!/usr/bin/env bash
# Runs a command on the packages of all modules, such as scripts/workspace.sh go vet -tags chaos. They are one
# workspace for it, so that it reads only once what they share.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
find_go

mapfile -t modules < <(find . -name go.mod -not -path '*/testdata/*' -exec dirname {} \; | sort)
workspace=$(mktemp -d)
trap 'rm -rf "$workspace"' EXIT
export GOWORK=$workspace/go.work
(cd "$workspace" && GOWORK=off go work init "${modules[@]/#./$OLDPWD}")
"$@" "${modules[@]/%//...}"
