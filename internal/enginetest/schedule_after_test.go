package enginetest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// following is a flow that runs after another one.
func following(name string, after dataflow.After, rt dataflow.Runtime) *dataflow.Flow {
	return dataflow.NewFlow(name, numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt, After: after})
}

func plain(name string) *dataflow.Flow { return following(name, dataflow.After{}, nil) }

const sqlAfterRuns = "select count(*) from dataflow_run where trigger = 'after'"

// A success of the one flow starts the other, in a process that does not know the one, once,
// however many processes look at the same time. The process in which it succeeded may be gone.
func TestAfter(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		orders := t.registered(plain("orders"))
		report := dataflow.Config{Flows: []*dataflow.Flow{following("report", dataflow.After{Flow: "orders"}, nil)}}
		clients := make([]*dataflow.Client, 3)
		for i := range clients {
			clients[i] = t.client(&report)
			require.NoError(t, clients[i].Register(t.Context()))
		}
		_, err := orders.Tick(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 0, t.number(sqlAfterRuns))
		why, err := orders.Why(t.Context(), "report")
		require.NoError(t, err)
		require.Contains(t, why.String(), `It runs after flow "orders", after each successful run. That has not succeeded yet.`)
		require.NotContains(t, why.String(), "no schedule")

		first, err := t.execute(orders, "orders")
		require.NoError(t, err)
		why, err = orders.Why(t.Context(), "report")
		require.NoError(t, err)
		require.Contains(t, why.String(), "has succeeded, and a started client with this flow's code starts a run")
		var wg sync.WaitGroup
		errs := make([]error, len(clients))
		for i, c := range clients {
			wg.Go(func() { _, errs[i] = c.Tick(t.Context()) })
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		runs, err := orders.Runs(t.Context(), &dataflow.RunListParams{Flow: "report"})
		require.NoError(t, err)
		require.Len(t, runs, 1)
		require.Equal(t, dataflow.TriggerAfter, runs[0].Trigger)
		require.Equal(t, dataflow.RunSuccess, runs[0].State)
		require.Equal(t, `run 1 of flow "orders" succeeded`, runs[0].Reason)
		require.EqualValues(t, 1, first.ID)
		_, err = clients[0].Tick(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, t.number(sqlAfterRuns))
	})
}

// Many successes, and a run that waits, are one run. While the flow is paused, none is started;
// one makes up for it.
func TestAfter_Paused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(plain("orders"), following("report", dataflow.After{Flow: "orders"}, nil))
		_, err := client.Pause(t.Context(), "report", "ann", "month end")
		require.NoError(t, err)
		for range 3 {
			_, err = t.execute(client, "orders")
			require.NoError(t, err)
		}
		_, err = client.Tick(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 0, t.number(sqlAfterRuns))
		why, err := client.Why(t.Context(), "report")
		require.NoError(t, err)
		require.Contains(t, why.String(), `Run 3 of that has succeeded, but this flow is paused: one run starts as soon as it is not.`)
		_, err = client.Resume(t.Context(), "report", "ann", "")
		require.NoError(t, err)
		waiting, err := client.Enqueue(t.Context(), "report", nil)
		require.NoError(t, err)
		_, err = client.Tick(t.Context())
		require.NoError(t, err)
		runs, err := client.Runs(t.Context(), &dataflow.RunListParams{Flow: "report"})
		require.NoError(t, err)
		require.Len(t, runs, 1, "it is the run that waited")
		require.Equal(t, waiting.ID, runs[0].ID)
	})
}

// A started client starts the run in the flow's River queue, and what follows that, too.
func TestAfter_JobQueue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		queue := dataflow.JobQueue{}
		client := t.started(t.client(&dataflow.Config{River: t.quickRiver(), Flows: []*dataflow.Flow{
			following("orders", dataflow.After{}, queue), following("report", dataflow.After{Flow: "orders"}, queue), following("mail", dataflow.After{Flow: "report"}, nil),
		}}))
		done, cancel := client.Subscribe(dataflow.EventRunSucceeded)
		defer cancel()
		_, err := client.Trigger(t.Context(), "orders", nil)
		require.NoError(t, err)
		for _, name := range []string{"orders", "report", "mail"} {
			require.Equal(t, name, receive(t, done).Run.FlowName)
		}
	})
}

// A circle is refused by its names, also if its parts are in different processes.
func TestAfter_Circle(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.registered(following("a", dataflow.After{Flow: "b"}, nil))
		t.registered(following("b", dataflow.After{Flow: "c"}, nil))
		third := t.client(&dataflow.Config{Flows: []*dataflow.Flow{following("c", dataflow.After{Flow: "a"}, nil)}})
		require.ErrorContains(t, third.Register(t.Context()),
			`register flow "c": After: the flow follows "a", "a" follows "b", "b" follows "c": none of them would ever be the first: take one After away`)
		_, err := third.Flow(t.Context(), "c")
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		own := following("a", dataflow.After{Flow: "a"}, nil)
		_, err = dataflow.NewClient(t.driver, &dataflow.Config{Flows: []*dataflow.Flow{own}})
		require.ErrorContains(t, err, "After.Flow: it is the flow itself: name another one")
		t.registered(plain("a")) // which ends the circle
		require.NoError(t, third.Register(t.Context()))
	})
}

// The rows of a first load are written by its ranges. They start what follows the flow, too.
func TestAfter_FirstLoad(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newChanging(40)
		client := t.registered(t.loads(l, nil), following("report", dataflow.After{Flow: "l", OnlyIfRows: true}, nil))
		_, err := t.execute(client, "l")
		require.NoError(t, err)
		t.requireLoaded(client, l)
		t.tick(client)
		require.EqualValues(t, 1, t.number(sqlAfterRuns))

		_, err = t.execute(client, "l") // which writes nothing
		require.NoError(t, err)
		t.tick(client)
		require.EqualValues(t, 1, t.number(sqlAfterRuns))
		l.change(1)
		_, err = t.execute(client, "l")
		require.NoError(t, err)
		t.tick(client)
		require.EqualValues(t, 2, t.number(sqlAfterRuns))
	})
}

// The rows of dead letters count as rows of their flow: those that a later run tries again, and those
// that somebody replays before it, also where they are written elsewhere.
func TestAfter_DeadLetters(t *testing.T) {
	t.Parallel()
	retry, keep := dataflow.RetryBadFor(time.Hour, 9), dataflow.DeadLetterUpTo(9)
	for name, policy := range map[string]dataflow.Policy{"Retried": retry, "Replayed": keep, "RetriedElsewhere": retry, "ReplayedElsewhere": keep} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				t.orphans()
				target := appendTo("hb")
				if strings.HasSuffix(name, "Elsewhere") {
					target = dataflow.To(dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
						if err := t.exec("insert into hb values (1)"); err != nil {
							return b.Refuse(0, err)
						}
						return nil
					}))
				}
				orders := retried(1, dataflow.Identity[int](), target, &dataflow.FlowOptions{OnBadRecord: policy, MaxAttempts: 1})
				client := t.registered(orders, following("report", dataflow.After{Flow: "hb", OnlyIfRows: true}, nil))
				work := func() {
					t.Helper()
					_, err := client.Trigger(t.Context(), "hb", nil)
					require.NoError(t, err)
					t.tick(client)
				}
				work()
				require.Zero(t, t.number(sqlAfterRuns), "its row was refused")
				require.NoError(t, t.exec("insert into parents values (1)"))
				if strings.HasPrefix(name, "Replayed") {
					report, err := client.Replay(t.Context(), "hb", nil)
					require.NoError(t, err)
					require.Len(t, report.Replayed, 1)
				}
				work()
				require.EqualValues(t, 1, t.number("select count(*) from hb"))
				require.EqualValues(t, 1, t.number(sqlAfterRuns))
				work()
				require.EqualValues(t, 1, t.number(sqlAfterRuns))
			})
		})
	}
}

// Why says of a flow that follows one which was renamed since that no process works that one.
func TestAfter_Renamed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		report := following("report", dataflow.After{Flow: "orders"}, nil)
		const gone = `, and no live process has its code: see whether it was renamed or removed.`
		says := func(client *dataflow.Client) string {
			why, err := client.Why(t.Context(), "report")
			require.NoError(t, err)
			return why.String()
		}
		old := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{plain("orders"), report}}))
		require.NotContains(t, says(old), gone)
		t.stop(old)
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{plain("orders2"), report}}))
		require.Contains(t, says(client), `after each successful run. That has not succeeded yet`+gone)
		_, err := t.execute(t.registered(plain("orders")), "orders")
		require.NoError(t, err)
		require.Eventually(t, func() bool { // its run has started, for what is due
			runs, err := client.Runs(t.Context(), &dataflow.RunListParams{Flow: "report", States: []dataflow.RunState{dataflow.RunSuccess}})
			return err == nil && len(runs) == 1
		}, time.Minute, 10*time.Millisecond)
		require.Contains(t, says(client), `The last success there is run 1`+gone)
	})
}
