package cli

import (
	"context"
	"database/sql"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// The message after an interrupt is the same whether the command sees the interrupt first or
// the end of the attempt.
func TestFollow_Interrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		says string
	}{
		"Stopped":   {dataflow.ErrStopped, "run 1 was handed back, and continues when a process with its code takes it up"},
		"NotBegun":  {context.Canceled, "run 1 continues when a process with its code takes it up"},
		"Elsewhere": {dataflow.ErrAlreadyRunning, "run 1 continues when a process with its code takes it up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			require.NoError(t, s.client.Register(t.Context()))
			run, err := s.client.Enqueue(t.Context(), "f", nil)
			require.NoError(t, err)
			for range 20 { // both are ready, and select takes either
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				outcome := make(chan error, 1)
				outcome <- c.err
				err := s.followWorked(ctx, run, &work{outcome: outcome})
				require.ErrorIs(t, err, errInterrupted)
				require.ErrorContains(t, err, c.says)
			}
		})
	}
}

// onWrite is a writer that calls a function.
type onWrite func(text string)

func (w onWrite) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

// A run that cannot be looked at for a moment is followed on, and the command says so.
func TestFollow_DatabaseAway(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	require.NoError(t, s.client.Register(t.Context()))
	run, err := s.client.Enqueue(t.Context(), "f", nil)
	require.NoError(t, err)
	db, err := sql.Open("sqlite", s.Env("DATABASE_URL"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	exec := func(statement string) {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	exec("alter table dataflow_run rename to away")
	var said []string
	s.Err = onWrite(func(text string) {
		said = append(said, text)
		exec("alter table away rename to dataflow_run")
		_, err := s.client.Cancel(t.Context(), run.ID, "ann", "enough")
		require.NoError(t, err)
	})
	require.ErrorContains(t, s.follow(t.Context(), run), "cancelled: by ann: enough")
	require.Len(t, said, 1)
	require.Contains(t, said[0], "Cannot look at run 1, and tries again for 1m0s: ")
	require.Contains(t, said[0], "no such table")
}

// newSession returns a session of a program with the flow f, on a database of its own.
func newSession(t *testing.T) *session {
	t.Helper()
	url := dbtest.SQLitePath(t)
	a := &app{
		program: Program{Name: "shop", Configure: func(context.Context, Database) (*dataflow.Config, error) {
			target := dataflow.ToTx(dataflow.TxSinkFunc[int](func(context.Context, []int) error { return nil }))
			return &dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("f", memory.Slice([]int{1}), dataflow.Identity[int](), target, nil)}}, nil
		}},
		Streams: Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Env: func(name string) string {
			return map[string]string{"DATABASE_URL": url}[name]
		}, Now: time.Now},
	}
	up, _, err := a.command().Find([]string{"migrate", "up"})
	require.NoError(t, err)
	up.SetContext(t.Context())
	s, err := a.connect(up, false)
	require.NoError(t, err)
	t.Cleanup(s.db.close)
	require.NoError(t, s.client.Migrate(t.Context()))
	return s
}
