package driverkit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

func TestCheckpointOf(t *testing.T) {
	t.Parallel()
	from := []byte(`7`)
	for name, c := range map[string]struct {
		run  dataflow.Run
		want driverkit.Checkpoint
	}{
		"FirstSlot":   {dataflow.Run{}, driverkit.Checkpoint{}},
		"OtherSlot":   {dataflow.Run{Slot: 2, FromCursor: from}, driverkit.Checkpoint{Partition: "slot 2"}},
		"Backfill":    {dataflow.Run{Scope: "12", FromCursor: from}, driverkit.Checkpoint{Scope: "12", From: from}},
		"AnyBackfill": {dataflow.Run{Scope: "12", Slot: dataflow.FirstBackfillSlot + 1}, driverkit.Checkpoint{Scope: "12"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, driverkit.CheckpointOf(&c.run))
		})
	}
}

// answer is what a statement returns; without a run and an error, it has no row.
type answer struct {
	run *dataflow.Run
	err error
}

func (a answer) row() (*dataflow.Run, error) {
	if a.run == nil && a.err == nil {
		return nil, dataflow.ErrNotFound
	}
	return a.run, a.err
}

// statements implements driverkit.RunInserter, and counts the inserts.
type statements struct {
	inserts       []answer // the last one is repeated
	waiting, tick answer
	flow          dataflow.FlowState
	inserted      int
}

func (s *statements) InsertRun(context.Context, *dataflow.RunInsertParams) (*dataflow.Run, error) {
	s.inserted++
	return s.inserts[min(s.inserted, len(s.inserts))-1].row()
}

func (s *statements) WaitingRun(context.Context, *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return s.waiting.row()
}

func (s *statements) TickRun(context.Context, *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return s.tick.row()
}

func (s *statements) FlowByID(context.Context, int64) (*dataflow.FlowRecord, error) {
	if s.flow == "" {
		return nil, dataflow.ErrNotFound
	}
	return &dataflow.FlowRecord{State: s.flow}, nil
}

func TestRunInsert(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	run := func(id int64) answer { return answer{run: &dataflow.Run{ID: id}} }
	manual := &dataflow.RunInsertParams{FlowID: 3, Trigger: dataflow.TriggerManual, UniqueKey: "now"}
	scheduled := &dataflow.RunInsertParams{FlowID: 3, Trigger: dataflow.TriggerSchedule, UniqueKey: "tick", At: time.Unix(60, 0)}
	for name, c := range map[string]struct {
		s         statements
		p         *dataflow.RunInsertParams
		want      int64
		coalesced bool
		inserted  int
		err       string
	}{
		"Added":            {s: statements{inserts: []answer{run(1)}}, p: manual, want: 1, inserted: 1},
		"InsertFails":      {s: statements{inserts: []answer{{err: boom}}}, p: manual, inserted: 1, err: "boom"},
		"Coalesced":        {s: statements{inserts: []answer{{}}, waiting: run(1)}, p: manual, want: 1, coalesced: true, inserted: 1},
		"WaitingFails":     {s: statements{inserts: []answer{{}}, waiting: answer{err: boom}}, p: manual, inserted: 1, err: "boom"},
		"SameTick":         {s: statements{inserts: []answer{{}}, tick: run(2)}, p: scheduled, want: 2, coalesced: true, inserted: 1},
		"TickFails":        {s: statements{inserts: []answer{{}}, tick: answer{err: boom}}, p: scheduled, inserted: 1, err: "boom"},
		"NotTheTick":       {s: statements{inserts: []answer{{}}, tick: run(2), flow: dataflow.FlowInactive}, p: manual, inserted: 1, err: dataflow.ErrNotFound.Error()},
		"Inactive":         {s: statements{inserts: []answer{{}}, flow: dataflow.FlowInactive}, p: manual, inserted: 1, err: dataflow.ErrNotFound.Error()},
		"NoFlow":           {s: statements{inserts: []answer{{}}}, p: manual, inserted: 1, err: dataflow.ErrNotFound.Error()},
		"ClaimedInBetween": {s: statements{inserts: []answer{{}, {}, run(4)}, flow: dataflow.FlowActive}, p: manual, want: 4, inserted: 3},
		"AlwaysInBetween": {
			s: statements{inserts: []answer{{}}, flow: dataflow.FlowActive}, p: manual, inserted: 10,
			err: `add a run to flow 3: in each of 10 tries, the waiting run with key "now" was claimed in between`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := driverkit.RunInsert(t.Context(), &c.s, c.p)
			require.Equal(t, c.inserted, c.s.inserted)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.Nil(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got.ID)
			require.Equal(t, c.coalesced, got.Coalesced)
		})
	}
}
