package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/internal/notes"
)

// writes are what was written.
type writes chan string

func (w writes) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

// Progress is a bar on a terminal and lines elsewhere. --quiet and JSON have none.
func TestProgress_Text(t *testing.T) {
	t.Parallel()
	steps := []notes.Step{
		{What: "rows"},
		{What: "rows", Done: 300},
		{What: "migrations", Done: 1, Total: 3, Now: "14, \x1b[31mlags"},
		{What: "rows", Done: 1000},
		{What: "rows", Done: 1200},
	}
	for name, c := range map[string]struct {
		app   app
		total int64
		want  string
	}{
		"Terminal": {app{Streams: Streams{LiveErr: true}}, 1000, "\r[                    ] 0 %  0 of 1000 rows" +
			"\r[######              ] 30 %  300 of 1000 rows, about 9s left" +
			"\r[######              ] 33 %  1 of 3 migrations, now 14, �[31mlags" +
			"\r[####################] 100 %  1000 of 1000 rows                  " +
			"\r[####################] 100 %  1200 of 1200 rows" +
			"\r                                               \r"},
		"Lines": {app{}, 0, "0 rows\n300 rows\n33 %  1 of 3 migrations, now 14, �[31mlags\n1000 rows\n1200 rows\n"},
		"Quiet": {app{quiet: true}, 1000, ""},
		"JSON":  {app{format: "json"}, 1000, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, at := make(writes, 10), time.Unix(0, 0)
			c.app.Err, c.app.Now = out, func() time.Time { return at }
			ticks := make(chan time.Time, 1)
			ctx, end := c.app.longWorkAt(t.Context(), c.total, ticks)
			at = at.Add(4 * time.Second)
			got := ""
			for _, step := range steps {
				notes.Progress(ctx, step)
				ticks <- at
				if c.want == "" {
					<-ticks // nobody waits for it
					continue
				}
				got += <-out
			}
			end()
			close(out)
			for text := range out {
				got += text
			}
			require.Equal(t, c.want, got)
		})
	}
}

// Each kind of long work says how far it is.
func TestProgress_Steps(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	var steps []string
	ctx := notes.WithProgress(t.Context(), func(s notes.Step) {
		steps = append(steps, fmt.Sprintf("%d of %d %s %s", s.Done, s.Total, s.What, s.Now))
	})
	took := func() []string {
		all := steps
		steps = nil
		return all
	}
	m, err := s.client.Migrations(ctx)
	require.NoError(t, err)
	last := len(m.Migrations) - 1
	require.NoError(t, s.client.MigrateDown(ctx, last-1))
	require.Equal(t, []string{
		fmt.Sprintf("0 of 2 migrations %d, %s", last+1, m.Migrations[last].Name),
		fmt.Sprintf("1 of 2 migrations %d, %s", last, m.Migrations[last-1].Name),
	}, took())
	require.NoError(t, s.client.Migrate(ctx))
	require.Equal(t, []string{
		fmt.Sprintf("0 of 2 migrations %d, %s", last, m.Migrations[last-1].Name),
		fmt.Sprintf("1 of 2 migrations %d, %s", last+1, m.Migrations[last].Name),
	}, took())

	bad := true
	flow := dataflow.NewFlow("bad", memory.Slice([]int{1, 2, 3}), dataflow.Map(func(_ context.Context, n int) (int, error) {
		if bad {
			return 0, errors.New("bad")
		}
		return n, nil
	}), memory.NewSink[int]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(5), Runtime: dataflow.Heartbeat{}})
	client, err := dataflow.NewClient(s.db.driver(), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: s.logger(false)})
	require.NoError(t, err)
	require.NoError(t, client.Register(ctx))
	_, err = client.Trigger(ctx, "bad", nil)
	require.NoError(t, err)
	bad = false
	took()
	_, err = client.Replay(ctx, "bad", &dataflow.ReplayParams{IDs: []int64{2, 3}})
	require.NoError(t, err)
	require.Equal(t, []string{"0 of 2 dead letters ", "1 of 2 dead letters "}, took())
	_, err = client.Replay(ctx, "bad", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"0 of 1 dead letters "}, took())

	plan, err := client.MigrateRuntimes(ctx, &dataflow.MigrateRuntimesOptions{To: "job_queue", DryRun: true})
	require.NoError(t, err)
	require.Len(t, plan.Flows, 1)
	require.Equal(t, []string{"0 of 0 flows bad"}, took())

	_, err = client.Cleanup(ctx, &dataflow.RetentionOptions{Failed: -1, Cancelled: -1, SkippedTicks: -1, Audit: -1, DryRun: true})
	require.NoError(t, err)
	require.Equal(t, []string{"0 of 0 rows closed dead letters", "0 of 0 rows successful runs"}, took())
	table, err := dataflow.NewClient(s.db.driver(), &dataflow.Config{Logger: s.logger(false), Flows: []*dataflow.Flow{dataflow.NewFlow("table",
		sqltable.Keyset[struct{ N int64 }](s.db.SQLite, sqltable.Query{SQL: "select 1 as n union select 2", Key: []string{"n"}}),
		dataflow.Identity[struct{ N int64 }](), memory.NewSink[struct{ N int64 }]().Target(), nil)}})
	require.NoError(t, err)
	require.NoError(t, table.Register(ctx))
	took()
	_, err = table.BackfillRanges(ctx, "table", 2, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"0 of 2 ranges the source looks for where to cut"}, took())
}
