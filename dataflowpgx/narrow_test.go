package dataflowpgx_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// latin1 makes a database of the encoding LATIN1, and returns a pool of it.
func latin1(t *testing.T) *pgxpool.Pool {
	t.Helper()
	admin := dbtest.Postgres(t)
	u, err := url.Parse(admin.Config().ConnString())
	require.NoError(t, err)
	u.Path += "_latin1"
	name := pgx.Identifier{u.Path[1:]}.Sanitize()
	_, err = admin.Exec(t.Context(), `create database `+name+` encoding 'LATIN1' locale 'C' template template0`)
	require.NoError(t, err)
	query := u.Query()
	query.Set("client_encoding", "UTF8")
	u.RawQuery = query.Encode()
	pool, err := pgxpool.New(t.Context(), u.String())
	require.NoError(t, err)
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		pool.Close()
		_, err := admin.Exec(ctx, `drop database `+name+` with (force)`)
		require.NoError(t, err)
	})
	return pool
}

// An error may quote a record with characters that the client's database lacks. Its run ends
// nevertheless, and its record is kept.
func TestStore_EncodingLacksCharacters(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]dataflow.Policy{"fail": nil, "letter": dataflow.DeadLetterUpTo(5)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const bad = "中 😀 é"
			flow := dataflow.NewFlow(name, memory.Slice([]string{"a", bad}), dataflow.Map(func(_ context.Context, s string) (string, error) {
				if s == bad {
					return s, errors.New("it is " + s)
				}
				return s, nil
			}), memory.NewSink[string]().Target(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}, OnBadRecord: policy, MaxAttempts: 1})
			client, err := dataflow.NewClient(dataflowpgx.New(latin1(t)), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, client.Migrate(t.Context()))
			require.NoError(t, client.Register(t.Context()))
			run, err := client.Trigger(t.Context(), name, nil)
			if policy == nil {
				require.ErrorContains(t, err, "it is "+bad)
				require.Equal(t, dataflow.RunFailed, run.State)
				require.Contains(t, run.Error, `it is \u4e2d \ud83d\ude00 \u00e9`)
				require.Contains(t, run.Errors[0].Error, run.Error)
				return
			}
			require.NoError(t, err)
			letters, err := client.DeadLetters(t.Context(), nil)
			require.NoError(t, err)
			require.Len(t, letters, 1)
			require.Equal(t, `it is \u4e2d \ud83d\ude00 \u00e9`, letters[0].Error)
			require.JSONEq(t, `"`+bad+`"`, string(letters[0].Payload))
		})
	}
}

// River stores the error of a job, too, and a run the trouble that it waits out.
func TestStore_EncodingLacksCharactersOfJobs(t *testing.T) {
	t.Parallel()
	const bad = "中 😀 é"
	failing := func(name string, err error) *dataflow.Flow {
		transform := dataflow.Map(func(_ context.Context, s string) (string, error) { return s, err })
		return dataflow.NewFlow(name, memory.Slice([]string{"a"}), transform, memory.NewSink[string]().Target(), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}, MaxAttempts: 1})
	}
	pool := latin1(t)
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		Flows: []*dataflow.Flow{failing("fails", errors.New(bad)), failing("waits", dataflow.Transient(errors.New(bad)))}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() { require.NoError(t, client.Stop(ctx)) })
	failed, err := client.Enqueue(t.Context(), "fails", nil)
	require.NoError(t, err)
	waiting, err := client.Enqueue(t.Context(), "waits", nil)
	require.NoError(t, err)

	const escaped = `\u4e2d \ud83d\ude00 \u00e9`
	require.Eventually(t, func() bool {
		var state, said string
		err := pool.QueryRow(t.Context(), `select state::text, coalesce(errors[1] ->> 'error', '') from river_job where id = $1`, failed.RiverJobID).Scan(&state, &said)
		return err == nil && state == "discarded" && strings.Contains(said, escaped)
	}, time.Minute, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		run, err := client.Run(t.Context(), waiting.ID)
		return err == nil && strings.Contains(run.WaitsFor, escaped)
	}, time.Minute, 20*time.Millisecond)
}

// named is a source whose records have keys of their own.
type named struct{ keys []string }

func (n named) Read(context.Context, dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[string, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[string, dataflow.NoCursor], error) bool) {
		for _, key := range n.keys {
			if !yield(dataflow.Item[string, dataflow.NoCursor]{Value: key, Key: key}, nil) {
				return
			}
		}
	}
}

// The key of a bad record may have such characters, too, as the name of a file has.
func TestStore_EncodingLacksKey(t *testing.T) {
	t.Parallel()
	flow := dataflow.NewFlow("keys", named{keys: []string{"a", "中.csv:7"}}, dataflow.Map(func(_ context.Context, s string) (string, error) {
		if s != "a" {
			return s, errors.New("bad")
		}
		return s, nil
	}), memory.NewSink[string]().Target(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}, OnBadRecord: dataflow.DeadLetterUpTo(5), MaxAttempts: 1})
	client, err := dataflow.NewClient(dataflowpgx.New(latin1(t)), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	for range 2 {
		_, err = client.Trigger(t.Context(), "keys", nil)
		require.NoError(t, err)
		letters, err := client.DeadLetters(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, letters, 1)
		require.Equal(t, `\u4e2d.csv:7`, letters[0].Key)
	}
}

// A cursor may be a text with such characters, as of a key or of a file.
func TestStore_EncodingLacksCursor(t *testing.T) {
	t.Parallel()
	var from []string
	flow := dataflow.NewFlow("cursor", places{&from}, dataflow.Identity[string](), memory.NewSink[string]().Target(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}, MaxAttempts: 1})
	client, err := dataflow.NewClient(dataflowpgx.New(latin1(t)), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	for range 2 {
		_, err := client.Trigger(t.Context(), "cursor", nil)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"", "中😀"}, from)
}

// places is a source whose cursor is a text.
type places struct{ from *[]string }

func (p places) Read(_ context.Context, r dataflow.Request[string]) iter.Seq2[dataflow.Item[string, string], error] {
	return func(yield func(dataflow.Item[string, string], error) bool) {
		*p.from = append(*p.from, r.From)
		yield(dataflow.Item[string, string]{Value: "a", Cursor: "中😀", Resume: true}, nil)
	}
}
