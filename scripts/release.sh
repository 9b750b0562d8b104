#!/usr/bin/env bash
# Makes a release on this machine: a commit in which the modules of this repository require
# this version of each other, and a tag for each module that others import. It pushes nothing.
#
#   scripts/release.sh v0.9.0
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
find_go

library=github.com/activedataflow/dataflow
published=(. connector/pgchange dataflowotel) # the other modules hold tests and benchmarks

version=${1:-}
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || fail "usage: scripts/release.sh v1.2.3"
[[ -z $(git status --porcelain) ]] || fail "the folder has changes: commit them first"
grep -q "^## \[${version#v}\]" CHANGELOG.md || fail "CHANGELOG.md has no heading ## [${version#v}]: name the release there, and commit it"

tags=()
for module in "${published[@]}"; do
	tag=$version
	[[ $module == . ]] || tag=$module/$version
	! git rev-parse -q --verify "refs/tags/$tag" >/dev/null || fail "the tag $tag exists"
	tags+=("$tag")
done

# A replacement counts in this repository alone: who imports a module gets what its go.mod requires.
# All are listed before the first is changed, because go list then refuses those that require it.
modules=$(find . -name go.mod -not -path '*/testdata/*' -exec dirname {} \;)
declare -A required
for module in $modules; do
	required[$module]=$(go -C "$module" list -m -f '{{if not .Main}}{{.Path}}{{end}}' all)
done
for module in $modules; do
	for path in ${required[$module]}; do
		[[ $path/ != "$library"/* ]] || go -C "$module" mod edit -require="$path@$version"
	done
done
# The next release may find that nothing has changed.
git commit --quiet --allow-empty --all --message "Release $version"
for tag in "${tags[@]}"; do
	git tag --annotate --message "$tag" "$tag"
done
say "made ${tags[*]}; publish them with
  git push --atomic origin HEAD ${tags[*]}"
