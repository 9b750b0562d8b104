//nolint:paralleltest // the docs show these tests
package dataflowtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// The blocks of Go in docs/testing.md stand here.

// toUpper is a transform of the docs.
func toUpper(_ context.Context, name string) (string, error) {
	if name == "" {
		return "", errors.New("the name is empty")
	}
	return strings.ToUpper(name), nil
}

func TestNames(t *testing.T) {
	names := dataflowtest.NewSource("ann", "bob")
	sink := dataflowtest.NewSink[string]()
	kit := dataflowtest.New(t, dataflow.NewFlow("names", names, dataflow.Map(toUpper), sink.Target(), nil))

	kit.Work("names")
	kit.RequireRun("names", dataflow.RunSuccess)
	dataflowtest.RequireExactlyOnce(t, []string{"ANN", "BOB"}, sink.Rows(kit))

	names.Add("cid")
	run := kit.Work("names")
	if run.Counters.Read != 1 {
		t.Errorf("the second run read %d records again", run.Counters.Read-1)
	}
}

func TestToUpper(t *testing.T) {
	got, err := toUpper(context.Background(), "ann")
	require.NoError(t, err)
	require.Equal(t, "ANN", got)
}

func TestNames_BadRecord(t *testing.T) {
	names := dataflowtest.NewSource("ann", "", "bob")
	sink := dataflowtest.NewSink[string]()
	kit := dataflowtest.New(t, dataflow.NewFlow("names", names, dataflow.Map(toUpper), sink.Target(),
		&dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}))

	run := kit.Work("names")
	require.EqualValues(t, 1, run.Counters.DeadLettered)
	letters, err := kit.Client().DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "names"})
	require.NoError(t, err)
	require.Equal(t, "row 2", letters[0].Key)
	dataflowtest.RequireExactlyOnce(t, []string{"ANN", "BOB"}, sink.Rows(kit))
}

func TestNames_Nightly(t *testing.T) {
	kit := dataflowtest.New(t, dataflow.NewFlow("names", dataflowtest.NewSource("ann"), dataflow.Map(toUpper), dataflowtest.NewSink[string]().Target(),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Schedule: dataflow.Schedule{Cron: "0 3 * * *", TimeZone: "Europe/Berlin"}}}))

	runs := kit.Advance(7 * 24 * time.Hour)
	require.Len(t, runs, 7)
	require.Equal(t, "2029-01-01 02:00", runs[0].ScheduledFor.UTC().Format("2006-01-02 15:04")) // winter time
}

func TestNames_Crash(t *testing.T) {
	for _, point := range []dataflowtest.Point{dataflowtest.AfterWrite, dataflowtest.AfterCommit} {
		for batch := 1; batch <= 2; batch++ {
			names := dataflowtest.NewSource("ann", "bob", "cid")
			sink := dataflowtest.NewSink[string]() // or your own
			kit := dataflowtest.New(t, dataflow.NewFlow("names", names, dataflow.Map(toUpper), sink.Target(),
				&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}}))

			kit.CrashAt(point, batch)
			kit.Work("names")
			dataflowtest.RequireExactlyOnce(t, []string{"ANN", "BOB", "CID"}, sink.Rows(kit))
		}
	}
}
