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
func TestGettingStarted(t *testing.T) { //nolint:paralleltest // with -update, it writes the page
	if !*update {
		t.Parallel()
	}
	text, err := os.ReadFile(started)
	require.NoError(t, err)
	var result string
	for began := ""; began != time.Now().UTC().Format("15"); { // again if the flow's hourly tick came in between
		began = time.Now().UTC().Format("15")
		result = follow(t, string(text))
	}
	if *update {
		require.NoError(t, os.WriteFile(started, []byte(result), 0o600))
		return
	}
	require.Equal(t, timeless(string(text)), timeless(result), "go test ./internal/cli -run TestGettingStarted -update records it again")
}

// follow does what the page says, and returns it with the output of the commands.
func follow(t *testing.T, rest string) string {
	t.Helper()
	p := &page{folder: newFolder(t, "shop")}
	var recorded strings.Builder
	for {
		before, after, found := strings.Cut(rest, "```")
		recorded.WriteString(before)
		if !found {
			break
		}
		language, block, _ := strings.Cut(after, "\n")
		block, rest, found = strings.Cut(block, "```\n")
		require.True(t, found, "a block without an end")
		switch language {
		case "text":
			block = p.commands(block)
		case "sh": // an administrator's part: the test's server has a role, and makes a database
		default:
			p.file(before, block)
		}
		recorded.WriteString("```" + language + "\n" + block + "```\n")
	}
	text := processes.ReplaceAllString(recorded.String(), "Process shop-1:")
	if p.database != "" {
		text = strings.ReplaceAll(text, p.database, "shop")
	}
	return text
}

// processes matches the name of a process, which has that of the machine.
var processes = regexp.MustCompile(`\bProcess \S+:`)

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
		return released(out)
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
			return !strings.Contains(out, `"processes": []`)
		}, 2*time.Minute, 20*time.Millisecond)
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
