package jsonl_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// The Go block of docs/connectors/files.md about JSON lines is in this file, so that it compiles,
// and a test runs it.

type Visit struct {
	ID     string `json:"id"`
	Status int    `json:"status"`
}

func failures() *dataflow.Flow {
	return dataflow.NewFlow("failures",
		jsonl.OpenGlob[Visit]("log/*.jsonl", &jsonl.Options{Key: "id"}), // a later line of an id replaces a bad one
		dataflow.Filter(func(v Visit) bool { return v.Status >= 500 }),
		jsonl.AppendTo[Visit]("failures.jsonl", &jsonl.SinkOptions{MaxFileBytes: 100 << 20}),
		&dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)})
}

func TestRecipe(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("log", 0o700))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join("log", name), []byte(text), 0o600))
	}
	write("1.jsonl", `{"id": "a", "status": 200}`+"\n"+`{"id": "b", "status": 503}`+"\n"+`{"id": "c", "status": "?"}`+"\n")
	kit := dataflowtest.New(t, failures())
	run := kit.Work("failures")
	require.EqualValues(t, 1, run.Counters.Written)
	require.EqualValues(t, 1, run.Counters.DeadLettered)
	write("2.jsonl", `{"id": "c", "status": 500}`+"\n")
	require.EqualValues(t, 1, kit.Work("failures").Counters.Written)
	text, err := os.ReadFile("failures-000001.jsonl")
	require.NoError(t, err)
	lines := []string{`{"id":"b","status":503}`, `{"id":"c","status":500}`, ""}
	require.Equal(t, lines, strings.Split(string(text), "\n"))
	letters, err := kit.Client().DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Open: true})
	require.NoError(t, err)
	require.Empty(t, letters)
}
