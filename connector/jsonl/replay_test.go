package jsonl_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowtest"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// A line that was kept as a dead letter, and whose record has come again and was written, is not
// replayed over the later one. The later line resolves it, by the key.
func TestReplay_NotOverALaterLine(t *testing.T) {
	t.Parallel()
	type item struct {
		ID   int64
		Text string
	}
	db := dbtest.SQLite(t)
	_, err := db.ExecContext(t.Context(), `create table item (id integer primary key, text text)`)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "in.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(`{"id":7,"text":"v1"}`+"\n"+`{"id":7,"text":"v2"}`+"\n"), 0o600))
	down := true
	flow := dataflow.NewFlow("items", jsonl.Open[item](path, &jsonl.Options{Key: "id"}),
		dataflow.Map(func(_ context.Context, i item) (item, error) {
			if down {
				down = false
				return i, errors.New("the service is down")
			}
			return i, nil
		}),
		sqltable.Upsert[item]("item", "id"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 1}, OnBadRecord: dataflow.DeadLetterUpTo(5)})
	client := dataflowtest.NewOn(t, dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}}).Client()
	run, err := client.Trigger(t.Context(), "items", nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, run.Counters.DeadLettered)
	text := func() (text string) {
		require.NoError(t, db.QueryRowContext(t.Context(), `select text from item where id = 7`).Scan(&text))
		return text
	}
	require.Equal(t, "v2", text())
	letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "items"})
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, "7", letters[0].Key)
	require.NotNil(t, letters[0].ClosedAt, "the later line has resolved it")
	report, err := client.Replay(t.Context(), "items", nil)
	require.NoError(t, err)
	require.Empty(t, report.Replayed)
	require.Equal(t, "v2", text())
}

// Text takes what names a record.
func TestOptions_Key(t *testing.T) {
	t.Parallel()
	type item struct{ N int }
	keys := func(opts *jsonl.Options, lines string) (keys []string) {
		path := filepath.Join(t.TempDir(), "in.jsonl")
		require.NoError(t, os.WriteFile(path, []byte(lines), 0o600))
		for it, err := range jsonl.Open[item](path, opts).Read(t.Context(), dataflow.Request[jsonl.Cursor]{}) {
			var bad *dataflow.RecordError
			if errors.As(err, &bad) {
				it.Key = "bad " + bad.Key
			}
			keys = append(keys, it.Key)
		}
		return keys
	}
	const lines = `{"id":"a"}` + "\n" + `{"id":12345678901234567890}` + "\n" + `{"id":null}` + "\n" + `{}` + "\n" + `{"id":"b","N":"x"}` + "\n" + `{"id":` + "\n"
	require.Equal(t, []string{"a", "12345678901234567890", "", "", "bad b", "bad line 6"}, keys(&jsonl.Options{Key: "id"}, lines))
	require.Equal(t, []string{"", "", "", "", "bad line 5", "bad line 6"}, keys(nil, lines))
}
