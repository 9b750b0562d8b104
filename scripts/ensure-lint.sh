#!/usr/bin/env bash
# Makes sure that $(go env GOPATH)/bin/golangci-lint is the version that this project is
# checked with. Building it for the first time takes some minutes.
set -euo pipefail

version=2.15.0
bin=$(go env GOPATH)/bin

if [[ $("$bin/golangci-lint" version 2>/dev/null || true) == *" version $version "* ]]; then
	echo "ensure-lint: golangci-lint $version is there"
	exit 0
fi
echo "ensure-lint: installing golangci-lint $version"
# Without debugging information, this takes less time.
GOBIN=$bin GOFLAGS='' go install -gcflags=all=-dwarf=false -ldflags='-s -w' "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$version"
