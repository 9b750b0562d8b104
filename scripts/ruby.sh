#!/usr/bin/env bash
# Runs the gem's own Ruby classes against this library's JSON of a Runtime, both ways. It needs
# Ruby with Active Support (Debian: ruby, ruby-activesupport), git, and the published source of
# the gem. Not part of CI.
#
#   scripts/ruby.sh
#
# GEM and GEM_LATER are git repositories: the gem, and the one in which its job runtime was built.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
gem=${GEM:-https://github.com/magenticmarketactualskill/active_data_flow}
later=${GEM_LATER:-https://github.com/activedataflow/active_data_flow-connector-sink-json_rpc}

find_go
if ! ruby -e 'require "active_support/all"' 2>/dev/null; then
  say "installing the packages ruby and ruby-activesupport: the gem's classes need them"
  install_packages ruby ruby-activesupport
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone -q "$gem" "$work/gem"
git -C "$work/gem" checkout -q 62decbd
git clone -q "$later" "$work/later"
git -C "$work/later" checkout -q 32c338b
DATAFLOW_GEM="$work/gem" DATAFLOW_GEM_LATER="$work/later" go test -tags ruby -count=1 -v -run '^TestRuby_' ./internal/enginetest
