package cli_test

import (
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

const started = "../../docs/getting-started.md"

// fileName finds the name of a file in the sentence before a block.
var fileName = regexp.MustCompile("`([a-z_]+\\.(?:go|csv))`")

// TestGettingStarted follows docs/getting-started.md: it writes the files that the page shows, and
// runs its commands. -update records their output again. Without -update, the test compares what
// does not depend on the time.
func TestGettingStarted(t *testing.T) {
	if !*update {
		t.Parallel()
	}
	text, err := os.ReadFile(started)
	require.NoError(t, err)
	f := newFolder(t, "shop")
	p := &page{folder: f}
	var recorded strings.Builder
	rest := string(text)
	for {
		before, after, found := strings.Cut(rest, "```")
		recorded.WriteString(before)
		if !found {
			break
		}
		language, block, _ := strings.Cut(after, "\n")
		block, rest, found = strings.Cut(block, "```\n")
		require.True(t, found, "a block without an end")
		if language == "text" {
			block = p.commands(block)
		} else {
			p.file(before, block)
		}
		recorded.WriteString("```" + language + "\n" + block + "```\n")
	}
	result := p.named(recorded.String())
	if *update {
		require.NoError(t, os.WriteFile(started, []byte(result), 0o600))
		return
	}
	require.Equal(t, timeless(string(text)), timeless(result), "go test ./internal/cli -run TestGettingStarted -update records it again")
}

// page is the state of a reader of the page.
type page struct {
	*folder
	background *exec.Cmd
	database   string
}

// file writes a block that is a file, or functions that replace those of a file.
func (p *page) file(before, block string) {
	p.Helper()
	before = strings.TrimSpace(before)
	match := fileName.FindStringSubmatch(before[strings.LastIndex(before, "\n\n")+1:])
	require.NotNil(p, match, "the sentence before a block names its file: %q", block)
	if strings.HasPrefix(block, "package ") || !strings.HasSuffix(match[1], ".go") {
		p.write(match[1], block)
		return
	}
	old, err := os.ReadFile(path.Join(p.dir, match[1]))
	require.NoError(p, err)
	text := string(old)
	for part := range strings.SplitSeq(block, "\n// ") {
		part = "// " + strings.TrimPrefix(strings.TrimSpace(part), "// ") + "\n"
		comment, _, _ := strings.Cut(part, "\n")
		from := strings.Index(text, comment)
		require.GreaterOrEqual(p, from, 0, "%s has no %q", match[1], comment)
		to := from + strings.Index(text[from:], "\n}\n") + len("\n}\n")
		text = text[:from] + part + text[to:]
	}
	p.write(match[1], text)
}

// commands runs the commands of a block, and returns it with their output.
func (p *page) commands(block string) string {
	p.Helper()
	var b strings.Builder
	for line := range strings.SplitSeq(block, "\n") {
		command, found := strings.CutPrefix(line, "$ ")
		if !found {
			continue
		}
		b.WriteString(line + "\n" + p.command(command))
	}
	return b.String()
}

// command runs a command as a shell would, and returns its output.
func (p *page) command(command string) string {
	p.Helper()
	args := words(command)
	switch {
	case command == "mkdir shop && cd shop": // this is the folder
		return ""
	case args[0] == "go" && args[1] == "run":
		out, _ := p.run(p.exe, args[3:]...)
		return out
	case command == "go mod tidy":
		p.checkedOut() // instead of a release
		return ""
	case args[0] == "go":
		p.must(args[0], args[1:]...)
		return ""
	case args[0] == "export":
		url := dbtest.PostgresURL(p.T)
		p.database = path.Base(strings.SplitN(url, "?", 2)[0])
		p.env = append(p.env, "DATABASE_URL="+url)
		return ""
	case args[len(args)-1] == "&":
		p.background = exec.CommandContext(p.Context(), args[0], args[1:len(args)-1]...)
		p.background.Dir, p.background.Env = p.dir, p.env
		require.NoError(p, p.background.Start())
		require.Eventually(p, func() bool { // it is alive
			out, _ := p.run(args[0], "status", "-o", "json")
			return strings.Contains(out, `"pid"`)
		}, time.Minute, 20*time.Millisecond)
		return ""
	case command == "kill %1":
		require.NoError(p, p.background.Process.Signal(syscall.SIGTERM))
		require.NoError(p, p.background.Wait())
		return ""
	default:
		out, _ := p.run(args[0], args[1:]...)
		return out
	}
}

// named gives the database the name that the page uses.
func (p *page) named(text string) string {
	if p.database == "" {
		return text
	}
	return strings.ReplaceAll(text, p.database, "shop")
}
