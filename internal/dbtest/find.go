package dbtest

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// places are where packages install the server's programs; PATH seldom has them.
// scripts/ensure-postgres.sh has the same list.
var places = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql*/bin",
}

var versionPattern = regexp.MustCompile(`\d+(\.\d+)?`)

// findBin returns the directory that holds initdb and postgres.
func findBin(ctx context.Context, places []string) (string, error) {
	for _, dir := range candidates(ctx, places) {
		if hasServer(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no PostgreSQL server to test with: %s is not set, and initdb and postgres "+
		"are neither beside the pg_ctl in PATH, nor in the directory of `pg_config --bindir`, nor in %s; "+
		"set %[1]s to the URL of a server on which the tests may create databases, "+
		"or `apt-get install postgresql`, or run scripts/ensure-postgres.sh, which does so where it can",
		urlEnv, strings.Join(places, ", "))
}

// candidates lists the directories to search, best first.
func candidates(ctx context.Context, places []string) []string {
	var dirs []string
	if ctl, err := exec.LookPath("pg_ctl"); err == nil {
		if ctl, err = filepath.EvalSymlinks(ctl); err == nil {
			dirs = append(dirs, filepath.Dir(ctl))
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, place := range places {
		found, _ := filepath.Glob(place)
		slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
		dirs = append(dirs, found...)
	}
	return dirs
}

func hasServer(dir string) bool {
	for _, program := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, program)); err != nil {
			return false
		}
	}
	return true
}

// version returns the last number in a path such as /usr/lib/postgresql/17/bin, or 0.
func version(path string) float64 {
	numbers := versionPattern.FindAllString(path, -1)
	if len(numbers) == 0 {
		return 0
	}
	number, _ := strconv.ParseFloat(numbers[len(numbers)-1], 64)
	return number
}
