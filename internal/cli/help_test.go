package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Every command has a help text, without a database, and examples that it accepts.
func TestHelp(t *testing.T) {
	t.Parallel()
	c := newCLI(t, "")
	seen := c.helpOf(nil)
	for _, command := range []string{
		"init", "new flow", "migrate up", "migrate down", "migrate status", "migrate sql", "status",
		"flow list", "flow show", "flow pause", "flow resume", "flow why", "enqueue", "enqueue-all", "run-due", "work",
		"run list", "run show", "run cancel", "run retry", "schedule next", "schedule sync", "schedule export",
		"migrate-runtime", "cleanup", "doctor", "completion bash", "completion zsh", "completion fish", "completion powershell",
	} {
		require.Contains(t, seen, command)
	}
	page, err := os.ReadFile("../../docs/cli.md")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(page), "| command | does |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, path := range seen { // the table names a command, and the subcommands of a group after it
		group, command, found := strings.Cut(path, " ")
		if group == "help" {
			continue
		}
		require.Regexp(t, "(?m)^\\| [^|]*`"+group+"[ `]", table, path)
		if found && group != "completion" { // each shell
			require.Regexp(t, "(?m)^\\| [^|]*`"+group+" [^|]*\\b"+command+"\\b", table, path)
		}
	}
	require.Contains(t, c.ok("help", "flow", "why"), "shop flow why NAME")
	require.NotContains(t, c.plainNoFlows().ok("--help"), "  work ")
	for _, bad := range []string{"help bogus", "help flow bogus", "completion bogus", "new bogus", "work extra"} {
		require.NotEmpty(t, c.fails(2, words(bad)...))
	}
}

func (t *cliT) plainNoFlows() *cliT {
	other := *t
	other.program.Configure = nil
	return &other
}

var subCommand = regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z]`)

// helpOf checks the help of a command and its subcommands, and returns their names.
func (t *cliT) helpOf(path []string) (seen []string) {
	t.Helper()
	help := t.ok(append(path[:len(path):len(path)], "--help")...)
	name := strings.Join(path, " ")
	_, examples, found := strings.Cut(help, "Examples:\n")
	require.True(t, found, "%q has no example", name)
	line, _, _ := strings.Cut(examples, "\n")
	require.True(t, strings.HasPrefix(line, "  shop "+name), "%q: %s", name, line)
	t.understands(line)
	seen = []string{name}
	if _, list, found := strings.Cut(help, "Available Commands:\n"); found {
		list, _, _ = strings.Cut(list, "\n\n")
		for _, match := range subCommand.FindAllStringSubmatch(list, -1) {
			seen = append(seen, t.helpOf(append(path[:len(path):len(path)], match[1]))...)
		}
	}
	return seen
}

// understands runs an example as far as possible without a database.
func (t *cliT) understands(line string) {
	t.Helper()
	command, _, _ := strings.Cut(strings.TrimPrefix(line, "  shop "), " >")
	command, _, _ = strings.Cut(command, " |")
	args := words(command)
	switch args[0] {
	case "init", "new": // they write files
	case "help", "completion":
		t.ok(args...)
	default:
		require.Contains(t, t.fails(2, args...), "DATABASE_URL is not set", line)
	}
}

// Every command that the pages show is one that the program understands.
func TestHelp_Pages(t *testing.T) {
	t.Parallel()
	c := newCLI(t, "")
	pages := []string{"../../README.md", "../../SECURITY.md", "../../connector/README.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		pages = append(pages, found...)
	}
	spans := regexp.MustCompile("(?ms)^```(?:sh|text)\n.*?^```|`[^`\n]+`")
	shown := regexp.MustCompile(`(?m)^(?:\$ )?(?:dataflow|\./shop) ([a-z].*)$`)
	commands := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, span := range spans.FindAllString(string(text), -1) {
			for _, match := range shown.FindAllStringSubmatch(strings.Trim(span, "`"), -1) {
				command, _, _ := strings.Cut(match[1], " #")
				command, _, _ = strings.Cut(command, " &")
				command = regexp.MustCompile(`'[^']*'`).ReplaceAllString(command, "null") // it is JSON
				commands++
				args := words(command)
				if strings.HasPrefix(command, "preview --file") { // it reads a file
					continue
				}
				if !strings.HasPrefix(span, "```") && args[0] != "init" && args[0] != "new" && strings.Contains(c.run(args...).err, "none was given") {
					continue // it is only named
				}
				c.understands("  shop " + strings.TrimSpace(command))
			}
		}
	}
	require.Greater(t, commands, 50)
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		require.Contains(t, t.ok("__complete", "flow", "why", ""), ":4\n") // without a database, no names and no error
		t.empty()
		require.Contains(t, t.ok("__complete", "flow", "why", ""), ":4\n") // nor without tables
		t.migrated()
		require.Contains(t, t.ok("__complete", "flow", "why", ""), "broken\nnightly\norders\n")
		require.NotContains(t, t.ok("__complete", "enqueue", "orders", ""), "nightly")
		require.Contains(t, t.ok("__complete", "flow", "list", "-o", ""), "table\njson\n")
		for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
			require.Contains(t, t.ok("completion", shell), "shop")
		}
	})
}

// Only a terminal gets colours and lines that overwrite each other.
func TestColours(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.SQLitePath(t)).migrated()
	c.ok("enqueue", "orders", "--wait")
	require.NotContains(t, c.ok("run", "list"), "\x1b")
	c.live = true
	plain := strings.NewReplacer("\x1b[32m", "", "\x1b[0m", "")
	c.live = false
	want := c.ok("run", "list")
	c.live = true
	require.Contains(t, c.ok("run", "list"), "\x1b[32msuccess\x1b[0m")
	require.Equal(t, want, plain.Replace(c.ok("run", "list")), "columns are aligned as without colours")
	require.NotContains(t, c.ok("run", "list", "-o", "json"), "\x1b")
	c.ok("flow", "pause", "orders")
	require.Contains(t, c.ok("flow", "list"), "\x1b[33mpaused\x1b[0m")
	c.ok("flow", "resume", "orders")
	out := c.ok("enqueue", "orders", "--wait")
	require.Contains(t, out, "run 2  orders  pending\r")
	require.Contains(t, out, "\rrun 2  orders  success")
	c.env["NO_COLOR"] = "1"
	require.Equal(t, want[:20], c.ok("run", "list")[:20])
	require.NotContains(t, c.ok("run", "list"), "\x1b")
}
