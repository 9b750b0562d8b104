package enginetest_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A process that cannot read a flow's Runtime leaves the ticks to processes that can.
// It may be of the older version in the middle of a deployment.
func TestSchedule_UnknownRuntime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		old := t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		newer := t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
				Runtime: onCall{JobQueue: dataflow.JobQueue{Interval: 10 * time.Minute}},
			})},
			Clock: c.Now, Runtimes: map[string]dataflow.RuntimeDecoder{"on_call": decodeOnCall},
		})
		require.NoError(t, newer.Register(t.Context()))
		c.set(minute(10))
		require.Empty(t, t.tick(old))
		require.Empty(t, t.skipped(old))
		require.Equal(t, minute(10), *t.next(old), "it stays due")
		report, err := newer.BeginTick(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Fired, 1)
		// It does what it does not need the Runtime for.
		c.set(minute(21))
		_, err = old.Pause(t.Context(), "f", "ann", "")
		require.NoError(t, err)
		c.set(minute(31))
		require.Empty(t, t.tick(old))
		require.Equal(t, []string{"20-30 2 paused"}, t.skipped(old))
		require.Equal(t, []int{10}, t.ticked(old))
	})
}

// The River job of a tick is worked at once, though the process's clock is behind
// the database's.
func TestSchedule_JobOfTick_Skew(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.skewed(-time.Hour, dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
			Runtime: dataflow.JobQueue{Interval: time.Second},
		}))
		require.NoError(t, client.Register(t.Context()))
		require.Eventually(t, func() bool {
			report, err := client.BeginTick(t.Context())
			require.NoError(t, err)
			return len(report.Fired) == 1
		}, patience, 10*time.Millisecond)
		require.EqualValues(t, 1, t.number("select count(*) from river_job where state = 'available'"))
	})
}

// withoutRiver has a River client that cannot insert jobs while broken holds an error.
type withoutRiver struct {
	dataflow.Driver
	broken *bool
}

func (d withoutRiver) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return storeWithoutRiver{s, d.broken}, err
}

type storeWithoutRiver struct {
	dataflow.Store
	broken *bool
}

func (s storeWithoutRiver) River(config *river.Config) (dataflow.River, error) {
	rc, err := s.Store.River(config)
	return brokenRiver{rc, s.broken}, err
}

type brokenRiver struct {
	dataflow.River
	broken *bool
}

func (r brokenRiver) InsertTx(ctx context.Context, tx dataflow.Tx, args river.JobArgs, opts *river.InsertOpts) (int64, error) {
	if *r.broken {
		return 0, errBroken
	}
	return r.River.InsertTx(ctx, tx, args, opts)
}

func (r brokenRiver) InsertManyTx(ctx context.Context, tx dataflow.Tx, jobs []river.InsertManyParams) ([]int64, error) {
	if *r.broken {
		return nil, errBroken
	}
	return r.River.InsertManyTx(ctx, tx, jobs)
}

// A tick whose run cannot be stored stays due, and does not block other flows. The log says the same trouble of
// several flows once.
func TestSchedule_CannotStart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		broken := true
		t.driver = withoutRiver{t.driver, &broken}
		named := func(name string, rt dataflow.Runtime) *dataflow.Flow {
			return dataflow.NewFlow(name, numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt})
		}
		logs := newLogs()
		client := t.client(&dataflow.Config{Clock: c.Now, Logger: logs.logger(), Flows: []*dataflow.Flow{
			named("f", dataflow.JobQueue{Interval: 5 * time.Minute}), named("f2", dataflow.JobQueue{Interval: 5 * time.Minute}), named("g", dataflow.Heartbeat{Interval: 10 * time.Minute}),
		}})
		require.NoError(t, client.Register(t.Context()))
		c.set(minute(10))
		require.Len(t, t.tick(client), 1)
		said := logs.lines("could not handle the due ticks of a flow")
		require.Len(t, said, 1)
		require.Contains(t, said[0], `flow=f others=1 error="insert River jobs: out of paper"`)
		require.Empty(t, t.ticked(client))
		require.Empty(t, t.skipped(client))
		require.Equal(t, minute(10), *t.next(client))
		broken = false
		c.set(minute(11))
		report, err := client.BeginTick(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Fired, 2)
		require.Equal(t, []int{10}, t.ticked(client))
		require.EqualValues(t, 2, t.number("select count(*) from river_job"))
	})
}

// wrong is a Runtime of the user's whose ExecuteTx does what it must not.
type wrong struct {
	dataflow.Heartbeat
	how string
}

func (w wrong) Type() string                 { return "wrong_" + w.how }
func (w wrong) MarshalJSON() ([]byte, error) { return json.Marshal(w.Heartbeat) }
func (w wrong) ExecuteTx(context.Context, dataflow.Tx, *dataflow.Flow, time.Time) (*dataflow.Run, error) {
	if w.how == "panics" {
		panic("boom")
	}
	return nil, nil //nolint:nilnil // it is wrong
}

// A Runtime of the user's that panics, or starts no run, does not harm other flows.
func TestSchedule_WrongRuntime(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"panics", "nothing"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				c := newClock()
				c.set(minute(5))
				every := dataflow.Heartbeat{Interval: 10 * time.Minute}
				client := t.client(&dataflow.Config{
					Flows: []*dataflow.Flow{named("wrong", wrong{Heartbeat: every, how: how}), named("f", every)},
					Clock: c.Now,
					Runtimes: map[string]dataflow.RuntimeDecoder{"wrong_" + how: func(data []byte) (dataflow.Runtime, error) {
						w := wrong{how: how}
						return w, json.Unmarshal(data, &w.Heartbeat)
					}},
				})
				require.NoError(t, client.Register(t.Context()))
				c.set(minute(10))
				require.Len(t, t.tick(client), 1)
				require.Equal(t, []int{10}, t.ticked(client))
				all, err := client.TriggerMany(t.Context(), []dataflow.TriggerManyParams{{Flow: "wrong"}, {Flow: "f"}})
				require.NoError(t, err)
				require.Error(t, all[0].Err)
				require.NoError(t, all[1].Err)
			})
		})
	}
}

// If a flow is no longer in any code, nobody sees its ticks, and Why says so. They are
// accounted for when the flow is back.
func TestSchedule_FlowDeleted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		c.set(minute(31))
		without := t.started(t.client(&dataflow.Config{ID: "without", Clock: c.Now}))
		require.Eventually(t, func() bool { return t.number("select count(*) from dataflow_process") == 1 }, patience, 10*time.Millisecond)
		codes, text := t.causes(without, "f")
		require.Equal(t, []dataflow.CauseCode{dataflow.CauseNotRegistered, dataflow.CauseOverdue}, codes)
		require.Contains(t, text, "Its tick of 2031-02-03T04:10:00Z (21m0s ago) is overdue: no started client with its code has looked for ticks since.")
		again := t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		require.Len(t, t.tick(again), 1)
		require.Equal(t, []int{30}, t.ticked(again))
		require.Equal(t, []string{"10-20 2 missed"}, t.skipped(again))
	})
}
