// Package scripts_test holds the tests of the scripts in this folder.
package scripts_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	library = "github.com/activedataflow/dataflow"
	release = "v0.9.0-test"
)

// TestRelease makes a release in a copy of this repository. Then it adds each published module to a
// program with nothing but its name, as a user does, and has Go find every package of them. It may
// need the network, for what this machine has not downloaded yet, so -short skips it.
func TestRelease(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it may download modules")
	}
	copied := copyOfRepository(t)
	out := command(t, copied, "scripts/release.sh", release)
	require.Contains(t, out, "git push --atomic origin HEAD "+release+" connector/pgchange/"+release)
	require.Empty(t, command(t, copied, "git", "status", "--porcelain"))

	program := t.TempDir()
	command(t, program, "go", "mod", "init", "example.com/shop")
	for _, path := range []string{"/connector/pgchange", "/dataflowotel", ""} {
		user(t, program, copied, "get", library+path+"@"+release)
	}
	const main = `package main

import (
	_ "github.com/activedataflow/dataflow"
	_ "github.com/activedataflow/dataflow/connector/pgchange"
	_ "github.com/activedataflow/dataflow/dataflowotel"
)

func main() {}
`
	require.NoError(t, os.WriteFile(filepath.Join(program, "main.go"), []byte(main), 0o600))
	user(t, program, copied, "list", "-deps", ".")
	got, err := os.ReadFile(filepath.Join(program, "go.mod"))
	require.NoError(t, err)
	for _, path := range []string{"", "/connector/pgchange", "/dataflowotel"} {
		require.Contains(t, string(got), "\t"+library+path+" "+release+" ")
	}
	// go run …/cmd/dataflow@version refuses a module with replacements.
	root, err := os.ReadFile(filepath.Join(copied, "go.mod"))
	require.NoError(t, err)
	require.NotContains(t, string(root), "replace ")
}

// TestRelease_Refused gives the script what is no release.
func TestRelease_Refused(t *testing.T) {
	t.Parallel()
	copied := copyOfRepository(t)
	refused := func(version, says string) {
		out, err := run(t, copied, nil, "scripts/release.sh", version)
		require.Error(t, err)
		require.Contains(t, out, says)
	}
	refused("0.9.0", "usage: scripts/release.sh v1.2.3")
	refused("v7.7.7", "CHANGELOG.md has no heading ## [7.7.7]")
	command(t, copied, "git", "tag", "dataflowotel/"+release)
	refused(release, "the tag dataflowotel/"+release+" exists")
	require.NoError(t, os.WriteFile(filepath.Join(copied, "new.txt"), nil, 0o600))
	refused(release, "commit them first")
}

// copyOfRepository is a repository of its own, with the files of this one as they are now, and a
// heading for the release.
func copyOfRepository(t *testing.T) string {
	t.Helper()
	copied := t.TempDir()
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == ".git":
			return skip(entry)
		}
		return copyTo(filepath.Join(copied, strings.TrimPrefix(path, "..")), path, entry)
	}))
	changelog := filepath.Join(copied, "CHANGELOG.md")
	content, err := os.ReadFile(changelog)
	require.NoError(t, err)
	heading := "\n## [" + strings.TrimPrefix(release, "v") + "]\n"
	require.NoError(t, os.WriteFile(changelog, append(content, heading...), 0o600))
	command(t, copied, "git", "init", "--quiet")
	command(t, copied, "git", "add", "--all")
	command(t, copied, "git", "commit", "--quiet", "--message", "Everything")
	return copied
}

// skip leaves out a folder or, in a worktree, the file of its name.
func skip(entry fs.DirEntry) error {
	if entry.IsDir() {
		return fs.SkipDir
	}
	return nil
}

func copyTo(to, from string, entry fs.DirEntry) error {
	if entry.IsDir() {
		return os.MkdirAll(to, 0o750)
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

// user runs a command of Go as somebody does who has this library from its repository, here the
// copy. All else comes from what this machine has downloaded, if it is there.
func user(t *testing.T, dir, copied string, args ...string) string {
	t.Helper()
	cache := strings.TrimSpace(command(t, "..", "go", "env", "GOMODCACHE"))
	proxy := strings.TrimSpace(command(t, "..", "go", "env", "GOPROXY"))
	out, err := run(t, dir, []string{
		"GOMODCACHE=" + filepath.Join(copied, ".git", "modules"), "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local",
		"GOPROXY=file://" + filepath.Join(cache, "cache", "download") + "," + proxy, "GOPRIVATE=" + library, "GONOSUMDB=*",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://" + copied + ".insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/activedataflow/dataflow",
	}, "go", args...)
	require.NoError(t, err, out)
	return out
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := run(t, dir, nil, name, args...)
	require.NoError(t, err, out)
	return out
}

func run(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	if strings.HasPrefix(name, "scripts/") {
		name = filepath.Join(dir, name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_CONFIG_GLOBAL=/dev/null"), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
