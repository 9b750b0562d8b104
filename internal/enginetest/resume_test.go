package enginetest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// strike is a line of the sample file.
type strike struct {
	Date    time.Time `csv:"Flight Date" db:"date"`
	Airport string    `csv:"Airport Name" db:"airport"`
	Cost    int64     `csv:"Cost Total $" db:"cost"`
	Speed   *int64    `csv:"Speed IAS in knots" db:"speed"`
}

// breaker is a transform that breaks one batch, once.
type breaker struct {
	batch  int64 // which, from 1
	breaks func() error
	seen   *atomic.Int64
}

func (b breaker) Apply(_ context.Context, in []strike, out *dataflow.Results[strike]) error {
	if b.seen.Add(1) == b.batch {
		if err := b.breaks(); err != nil {
			return err
		}
	}
	for i, s := range in {
		out.Emit(i, s)
	}
	return nil
}

// A file of 10,000 lines goes into a table without a unique key while an attempt breaks
// in mid-file. So a line that is lost or doubled shows.
func TestResume_InMidFile(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		fail := func() error { return errors.New("the wire was cut") }
		crash := func() error { panic("the wire was cut") }
		cases := map[string]breaker{
			"error_in_batch_1":  {batch: 1, breaks: fail},
			"error_in_batch_4":  {batch: 4, breaks: fail},
			"panic_in_batch_5":  {batch: 5, breaks: crash},
			"panic_in_batch_10": {batch: 10, breaks: crash},
		}
		var flows []*dataflow.Flow
		for name, b := range cases {
			b.seen = new(atomic.Int64)
			cases[name] = b
			var rt dataflow.Runtime = dataflow.JobQueue{BatchSize: 1000}
			if b.batch%2 == 0 {
				rt = dataflow.Heartbeat{BatchSize: 1000}
			}
			flows = append(flows, t.strikesFlow(name, b, rt))
		}
		client := t.started(t.client(&dataflow.Config{Flows: flows}))
		for name, b := range cases {
			resumeInMidFile(t, client, name, b)
		}
	})
}

// strikesFlow reads the sample file into a table of the flow's name.
func (t *dbT) strikesFlow(name string, transform dataflow.Transform[strike, strike], rt dataflow.Runtime) *dataflow.Flow {
	t.Helper()
	require.NoError(t, t.exec("create table "+name+" (date date, airport text, cost bigint, speed bigint)"))
	target := sqltable.Insert[strike](name)
	if t.isPostgres {
		target = pgtable.Insert[strike](name)
	}
	return dataflow.NewFlow(name, csvfile.Open[strike]("../../testdata/birdstrikes.csv", nil), transform, target,
		&dataflow.FlowOptions{Runtime: rt, Backoff: func(int) time.Duration { return time.Millisecond }})
}

func resumeInMidFile(t *dbT, client *dataflow.Client, name string, b breaker) {
	t.Helper()
	flow, err := client.Flow(t.Context(), name)
	require.NoError(t, err)
	run, err := flow.Runtime.Execute(t.Context(), flow)
	if flow.Runtime.Type() == "heartbeat" {
		require.ErrorContains(t, err, "the wire was cut")
		done := 1000 * (b.batch - 1)
		require.Equal(t, dataflow.Counters{Read: done, Written: done}, run.Counters)
	} else {
		require.NoError(t, err)
	}
	run, err = t.wait(client, run.ID)
	require.NoError(t, err)

	require.Equal(t, 2, run.Attempt)
	require.Equal(t, dataflow.Counters{Read: 10_000, Written: 10_000}, run.Counters)
	require.Len(t, run.Errors, 1)
	require.Contains(t, run.Errors[0].Error, "the wire was cut")
	require.Equal(t, int64(11), b.seen.Load(), "the second attempt goes on at the broken batch")
	require.Equal(t, int64(10_000), t.number("select count(*) from "+name))
	require.Equal(t, int64(2_836), t.number("select count(*) from "+name+" where speed is null"))
	require.Equal(t, int64(40_545_276), t.number("select cast(sum(cost) as bigint) from "+name))
}
