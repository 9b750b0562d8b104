package cli_test

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

const manual = "../../docs/cli.md"

// dialogue are the commands that docs/cli.md shows, with the output of those that do not begin
// with "go".
var dialogue = []string{
	"dataflow init",
	"go mod tidy",
	"go test .",
	"go build .",
	"./shop migrate up",
	"./shop enqueue hello --wait",
	"./shop enqueue hello",
	"./shop run list",
	`./shop flow pause hello --reason "the disk is full"`,
	"./shop enqueue hello",
	"./shop flow why hello",
	"./shop flow resume hello",
	"./shop flow why hello",
	"./shop migrate-runtime --to job_queue --dry-run",
	"./shop doctor",
}

// The dialogue in the manual is recorded: -update records it again. Without -update, the test
// compares what does not depend on the time.
func TestDialogue(t *testing.T) { //nolint:paralleltest // with -update, one writes after the other
	parallel := func(t *testing.T) {
		t.Helper()
		if !*update {
			t.Parallel()
		}
	}
	parallel(t)
	for _, kind := range []string{"SQLite", "Postgres"} { //nolint:paralleltest // as above
		t.Run(kind, func(t *testing.T) {
			parallel(t)
			recorded := withinADay(func() string { return newFolder(t, "shop").record(kind) })
			text, err := os.ReadFile(manual)
			require.NoError(t, err)
			before, rest, found := strings.Cut(string(text), "<!-- recorded on "+kind+" -->\n```text\n")
			require.True(t, found)
			shown, after, found := strings.Cut(rest, "```\n")
			require.True(t, found)
			if *update {
				require.NoError(t, os.WriteFile(manual, []byte(before+"<!-- recorded on "+kind+" -->\n```text\n"+recorded+"```\n"+after), 0o644))
				return
			}
			require.Equal(t, timeless(shown), timeless(recorded), "go test ./internal/cli -run TestDialogue -update records it again")
		})
	}
}

// withinADay repeats a recording if the flow's daily tick, at midnight, came in between.
func withinADay(record func() string) string {
	for {
		began := time.Now().Truncate(24 * time.Hour)
		recorded := record()
		if time.Now().Truncate(24 * time.Hour).Equal(began) {
			return recorded
		}
	}
}

// record calls the commands of the dialogue in an empty folder.
func (f *folder) record(kind string) string {
	f.Helper()
	var b strings.Builder
	database := ""
	if kind == "Postgres" {
		url := dbtest.PostgresURL(f.T)
		database = path.Base(strings.SplitN(url, "?", 2)[0])
		f.env = append(f.env, "DATABASE_URL="+url)
		b.WriteString("$ export DATABASE_URL=postgres://ann:…@localhost/shop\n")
	}
	for _, command := range dialogue {
		b.WriteString("$ " + command + "\n")
		args := words(command)
		switch args[0] {
		case "dataflow":
			args[0] = f.exe
		case "go":
			if command == "go mod tidy" {
				f.checkedOut() // instead of a release
			}
			f.must(args[0], args[1:]...)
			continue
		}
		out, _ := f.run(args[0], args[1:]...)
		b.WriteString(released(out))
	}
	text := b.String()
	if database != "" {
		text = strings.ReplaceAll(text, database, "shop")
	}
	return text
}

// released is the output of init in a released version, which knows what go.mod has to require.
func released(out string) string {
	return strings.Replace(out, "  go get github.com/activedataflow/dataflow@latest\n", "", 1)
}

var (
	times     = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ( (Mon|Tue|Wed|Thu|Fri|Sat|Sun))?`)
	relative  = regexp.MustCompile(`\((now|in [0-9hms.]+|[0-9hms.]+ ago)\)`)
	durations = regexp.MustCompile(`\b\d+(\.\d+)?m?s\b`)
	spaces    = regexp.MustCompile(` {2,}`)
	pools     = regexp.MustCompile(`a pool of \d+ connections`) // pgx sizes it by the machine
	schema    = regexp.MustCompile(`at version \d+`)
	versioned = regexp.MustCompile(`dataflow \S+, River \S+, go\S+; (Postgres|SQLite) .*`)
)

// timeless replaces what depends on the time and the machine, and the width of columns.
func timeless(text string) string {
	text = versioned.ReplaceAllString(text, "VERSIONS")
	text = schema.ReplaceAllString(text, "at version N")
	text = pools.ReplaceAllString(text, "a pool of N connections")
	text = times.ReplaceAllString(text, "TIME")
	text = slowly.ReplaceAllString(text, "")
	text = relative.ReplaceAllString(text, "(WHEN)")
	text = durations.ReplaceAllString(text, "DURATION")
	text = working.ReplaceAllString(text, "")
	return spaces.ReplaceAllString(text, "  ")
}
