package cli_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// The commands and the statements of docs/operating.md are run, one after the other, on a database
// in which run 7 of a flow has failed.
func TestOperating(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.PostgresURL(t)).migrated()
	for range 6 {
		c.ok("enqueue", "orders", "--wait")
	}
	c.fails(1, "enqueue", "broken", "--wait")
	c.exec("update dataflow_run set flow_id = (select id from dataflow_flow where name = 'orders') where id = 7") // as the page has it
	c.program.Name = "dataflow"

	text, err := os.ReadFile("../../docs/operating.md")
	require.NoError(t, err)
	spans := regexp.MustCompile("(?ms)^```(?:sh|text)\n.*?^```|`[^`\n]+`")
	shown := regexp.MustCompile(`(?m)^(?:dataflow .+|.*;)$`)
	ran := make(map[string]int)
	for _, span := range spans.FindAllString(string(text), -1) {
		for _, line := range shown.FindAllString(strings.Trim(span, "`"), -1) {
			line, _, _ = strings.Cut(line, " #")
			command, isCommand := strings.CutPrefix(strings.TrimSpace(line), "dataflow ")
			switch {
			case strings.Contains(line, "dataflow_sink_checkpoint"): // TestRestore runs it
			case !isCommand:
				c.exec(line)
				ran["statement"]++
			default:
				args := words(command)
				ran[args[0]]++
				c.operate(args)
			}
		}
	}
	require.Equal(t, 4, ran["statement"])
	for _, name := range []string{"doctor", "status", "flow", "run", "dead-letter", "cursor", "cleanup"} {
		require.NotZero(t, ran[name], name)
	}
}

// operate runs a command, as somebody does who answers its question.
func (t *cliT) operate(args []string) {
	t.Helper()
	switch command := strings.Join(args, " "); {
	case len(args) == 2 && args[1] == "set": // it is only named
		return
	case strings.HasPrefix(command, "cursor set"):
		require.Contains(t, t.ok(append(args, "--yes", "--if-cursor", "5")...), "the beginning")
	case strings.HasPrefix(command, "doctor --strict"):
		require.Contains(t, t.fails(1, args...), "no started client is alive")
	case strings.HasSuffix(command, "--follow"):
		require.Contains(t, t.fails(1, args...), "the shop is")
	case strings.HasPrefix(command, "run cancel"):
		require.Contains(t, t.run(args...).err, "finished")
		t.exec("update dataflow_run set state = 'pending', ended_at = null where id = 7")
		t.ok(args...)
	default:
		t.ok(args...)
	}
}
