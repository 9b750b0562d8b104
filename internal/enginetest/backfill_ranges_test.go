package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// splitting is a source that tells where it can be cut.
type splitting struct {
	ranged
	cuts func(r dataflow.Request[int], n int) ([]int, error) // nil: even ones
}

func (s splitting) Split(_ context.Context, r dataflow.Request[int], n int) ([]int, error) {
	if s.cuts != nil {
		return s.cuts(r, n)
	}
	count := s.end(r) - r.From
	n = min(n, count)
	var cuts []int
	for i := 1; i < n; i++ {
		cuts = append(cuts, r.From+count*i/n)
	}
	return cuts, nil
}

// splits is a flow of a splitting source into the table "numbers", which it makes.
func (t *dbT) splits(source dataflow.Source[int, int], opts *dataflow.FlowOptions) *dataflow.Flow {
	t.Helper()
	t.table("numbers")
	return dataflow.NewFlow("n", source, dataflow.Identity[int](), appendTo("numbers"), opts)
}

// wholly works due runs until there are none. It requires each number after from, up to
// and including until, exactly once.
func (t *dbT) wholly(client *dataflow.Client, from, until int) {
	t.Helper()
	for {
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		if len(runs) == 0 {
			break
		}
		for _, run := range runs {
			require.Equal(t, dataflow.RunSuccess, run.State, run.Error)
		}
	}
	for _, query := range []string{"select count(*) from numbers", "select count(distinct n) from numbers", fmt.Sprintf("select count(*) from numbers where n > %d and n <= %d", from, until)} {
		require.EqualValues(t, until-from, t.number(query), query)
	}
	require.EqualValues(t, until-from, t.number("select coalesce(sum(read), 0) from dataflow_run where scope <> ''"))
	require.EqualValues(t, until-from, t.number("select coalesce(sum(written), 0) from dataflow_checkpoint where scope <> ''"))
}

// Ranges together read what one backfill would, each record once, with and without
// slots of their own.
func TestClient_BackfillRanges(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, atOnce := range []int{0, 1, 3} {
			for _, c := range []struct{ n, ranges, from, until int }{
				{1, 1, 0, 40}, {2, 2, 0, 40}, {7, 7, 0, 40}, {100, 40, 0, 40}, {3, 3, 10, 40}, {4, 4, 0, 25}, {5, 5, 10, 25}, {9, 4, 10, 14}, {3, 1, 10, 11}, {3, 1, 12, 12},
			} {
				require.NoError(t, t.exec("drop table if exists numbers"))
				require.NoError(t, t.exec("delete from dataflow_run"))
				require.NoError(t, t.exec("delete from dataflow_checkpoint"))
				client := t.registered(t.splits(splitting{ranged: ranged{n: 40}}, &dataflow.FlowOptions{MaxBackfills: atOnce, Runtime: dataflow.Heartbeat{BatchSize: 3}}))
				p := &dataflow.BackfillParams{Actor: "ann", Reason: "wrong prices"}
				if c.from > 0 {
					p.From = cursorAt(c.from)
				}
				if c.until < 40 {
					p.Until = cursorAt(c.until)
				}
				runs, err := client.BackfillRanges(t.Context(), "n", c.n, p)
				require.NoError(t, err)
				require.Len(t, runs, c.ranges)
				for i, run := range runs {
					require.False(t, run.Coalesced)
					require.Equal(t, dataflow.TriggerBackfill, run.Trigger)
					require.Equal(t, []string{"ann", "wrong prices"}, []string{run.Actor, run.Reason})
					if i > 0 {
						require.Equal(t, string(runs[i-1].UntilCursor), string(run.FromCursor))
						require.Equal(t, fmt.Sprintf("%d/%d", runs[0].ID, i+1), run.Scope)
					}
				}
				require.Equal(t, fmt.Sprint(runs[0].ID), runs[0].Scope)
				require.Equal(t, string(p.From), string(runs[0].FromCursor))
				require.Equal(t, string(p.Until), string(runs[len(runs)-1].UntilCursor))
				t.wholly(client, c.from, c.until)
				require.Nil(t, t.live(client, "n").Cursor)
			}
		}
	})
}

// Asking again while a range waits makes none, whatever the source would say now.
func TestClient_BackfillRanges_Coalesced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		asked := 0
		source := splitting{ranged: ranged{n: 40}, cuts: func(dataflow.Request[int], int) ([]int, error) {
			asked++
			return []int{10 + asked, 20 + asked}, nil
		}}
		client := t.registered(t.splits(source, nil))
		runs, err := client.BackfillRanges(t.Context(), "n", 3, nil)
		require.NoError(t, err)
		require.Equal(t, []string{"11", "21", ""}, untils(runs))
		_, err = client.Cancel(t.Context(), runs[0].ID, "ann", "not that one")
		require.NoError(t, err)
		for _, n := range []int{3, 2, 9} {
			again, err := client.BackfillRanges(t.Context(), "n", n, &dataflow.BackfillParams{Until: json.RawMessage("null")})
			require.NoError(t, err)
			require.Equal(t, []string{"21", ""}, untils(again))
			for i, run := range again {
				require.True(t, run.Coalesced)
				require.Equal(t, runs[1+i].ID, run.ID)
			}
		}
		require.Equal(t, 1, asked)
		require.EqualValues(t, 3, t.number("select count(*) from dataflow_run"))

		for i, p := range []*dataflow.BackfillParams{
			{From: cursorAt(1)}, {Until: cursorAt(39)}, {Params: cursorAt(2)}, {At: time.Now().Add(time.Hour)}, {At: time.Now().Add(time.Hour), Params: cursorAt(2)},
		} {
			other, err := client.BackfillRanges(t.Context(), "n", 3, p)
			require.NoError(t, err)
			require.False(t, other[0].Coalesced, "%d is something else", i)
			same, err := client.BackfillRanges(t.Context(), "n", 3, p)
			require.NoError(t, err)
			require.Equal(t, other[0].ID, same[0].ID)
			require.True(t, same[0].Coalesced)
		}
		single, err := client.BackfillRanges(t.Context(), "n", 1, nil)
		require.NoError(t, err)
		require.False(t, single[0].Coalesced)
		again, err := client.Backfill(t.Context(), "n", nil)
		require.NoError(t, err)
		require.Equal(t, single[0].ID, again.ID, "it is a Backfill")

		_, err = client.CancelFlow(t.Context(), "n", "ann", "all of them")
		require.NoError(t, err)
		runs, err = client.BackfillRanges(t.Context(), "n", 3, nil)
		require.NoError(t, err)
		require.False(t, runs[0].Coalesced, "none waits any more")
	})
}

func untils(runs []*dataflow.Run) []string {
	var all []string
	for _, run := range runs {
		all = append(all, string(run.UntilCursor))
	}
	return all
}

// While some ranges are worked already, the others still wait: asking again makes none.
func TestClient_BackfillRanges_CoalescedWithBegun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var client *dataflow.Client
		var again []*dataflow.Run
		flow := dataflow.NewFlow("n", splitting{ranged: ranged{n: 9}}, dataflow.Batch(func(ctx context.Context, in []int) (_ []int, err error) {
			if in[0] == 4 { // in the second
				again, err = client.BackfillRanges(ctx, "n", 2, nil)
			}
			return in, err
		}), dataflow.ToTx(discard{}), nil)
		client = t.registered(flow)
		runs, err := client.BackfillRanges(t.Context(), "n", 3, nil)
		require.NoError(t, err)
		worked, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, worked, 3)
		require.Len(t, again, 2, "of those that have not ended")
		require.Equal(t, []int64{runs[1].ID, runs[2].ID}, []int64{again[0].ID, again[1].ID})
		require.Equal(t, dataflow.RunInProgress, again[0].State)
		require.EqualValues(t, 3, t.number("select count(*) from dataflow_run"))
	})
}

// Of several callers that ask at once for different numbers of ranges, one makes them.
func TestClient_BackfillRanges_AtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var meet sync.WaitGroup
		meet.Add(4)
		source := splitting{ranged: ranged{n: 40}, cuts: func(r dataflow.Request[int], n int) ([]int, error) {
			meet.Done()
			meet.Wait() // so that all have found none that waits
			return splitting{ranged: ranged{n: 40}}.Split(t.Context(), r, n)
		}}
		client := t.registered(t.splits(source, nil))
		made := make([][]*dataflow.Run, 4)
		errs := make([]error, 4)
		var all sync.WaitGroup
		for i := range made {
			all.Go(func() { made[i], errs[i] = client.BackfillRanges(t.Context(), "n", 4+i, nil) })
		}
		all.Wait()
		require.NoError(t, errors.Join(errs...))
		coalesced := 0
		for _, runs := range made {
			require.Equal(t, untils(made[0]), untils(runs))
			require.Equal(t, made[0][3].ID, runs[3].ID)
			if runs[0].Coalesced {
				coalesced++
			}
		}
		require.Equal(t, 3, coalesced)
		require.EqualValues(t, len(made[0]), t.number("select count(*) from dataflow_run"))
		t.wholly(client, 0, 40)
	})
}

// BackfillRanges refuses a source that cannot be cut or would read too much, and leaves
// no run. It makes all ranges or none.
func TestClient_BackfillRanges_Refused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		cuts := func(cuts ...int) splitting {
			return splitting{ranged: ranged{n: 40}, cuts: func(dataflow.Request[int], int) ([]int, error) { return cuts, nil }}
		}
		flow := func(name string, source dataflow.Source[int, int]) *dataflow.Flow {
			return dataflow.NewFlow(name, source, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		}
		broken := splitting{cuts: func(dataflow.Request[int], int) ([]int, error) { return nil, errBroken }}
		panics := splitting{cuts: func(dataflow.Request[int], int) ([]int, error) { panic("oh") }}
		parametric := func(source dataflow.Source[int, int]) dataflow.Source[int, int] {
			return dataflow.Parametric(func(struct{}) (dataflow.Source[int, int], error) { return source, nil })
		}
		client := t.registered(flow("none", ranged{n: 5}), flow("unbounded", cutNumbers{numbers{n: 5}}), flow("many", cuts(1, 2, 3)), flow("broken", broken), flow("panics", panics),
			flow("p none", parametric(ranged{n: 5})), flow("p unbounded", parametric(cutNumbers{numbers{n: 5}})), flow("good", cuts(7, 7, 9)),
			dataflow.NewFlow("appends", cuts(7), dataflow.Identity[int](), dataflow.ToTx(discard{appendOnly: true}), nil))
		for _, c := range []struct {
			flow string
			n    int
			want string
		}{
			{"good", 0, "n: 0 is out of range: use 1 to 1000"},
			{"good", -3, "n: -3 is out of range: use 1 to 1000"},
			{"good", 1001, "n: 1001 is out of range: use 1 to 1000"},
			{"none", 2, "n: the source (custom) cannot be cut: it lacks the power Splitter: use 1, or a source that has it, such as pgtable.Keyset"},
			{"p none", 2, "n: the source (custom) cannot be cut: it lacks the power Splitter"},
			{"unbounded", 2, "n: the source (custom) cannot end a read at Until, which ranges need: it lacks the power RequestChecker: use 1"},
			{"p unbounded", 2, "range 1 of 2, from the beginning up to 3: Until: the source (custom) cannot end a read there"},
			{"appends", 2, "Append: the flow's sink appends, or keeps each batch"},
		} {
			_, err := client.BackfillRanges(t.Context(), c.flow, c.n, nil)
			require.ErrorContains(t, err, fmt.Sprintf("dataflow: backfill flow %q in %d ranges: %s", c.flow, c.n, c.want))
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce, c.want)
			requirePublic(t, err)
		}
		_, err := client.BackfillRanges(t.Context(), "many", 3, nil)
		require.ErrorContains(t, err, "split the source: Split (of custom) returned 3 cursors for 3 parts: return 2 at most")
		_, err = client.BackfillRanges(t.Context(), "broken", 3, nil)
		require.ErrorIs(t, err, errBroken)
		_, err = client.BackfillRanges(t.Context(), "panics", 3, nil)
		var pe *dataflow.PanicError
		require.ErrorAs(t, err, &pe)
		_, err = client.BackfillRanges(t.Context(), "nothing", 3, nil)
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		_, err = t.client(nil).BackfillRanges(t.Context(), "good", 3, nil)
		require.ErrorIs(t, err, dataflow.ErrNotRegistered)
		_, err = client.Pause(t.Context(), "good", "ann", "lunch")
		require.NoError(t, err)
		_, err = client.BackfillRanges(t.Context(), "good", 4, nil)
		require.ErrorIs(t, err, dataflow.ErrDisabled)
		require.Zero(t, t.number("select count(*) from dataflow_run"))

		_, err = client.Resume(t.Context(), "good", "ann", "")
		require.NoError(t, err)
		runs, err := client.BackfillRanges(t.Context(), "good", 4, &dataflow.BackfillParams{From: cursorAt(7), Until: cursorAt(9)})
		require.NoError(t, err)
		require.Equal(t, []string{"9"}, untils(runs), "there is nothing between the same cursors")
		_, err = client.BackfillRanges(t.Context(), "appends", 2, &dataflow.BackfillParams{Append: true})
		require.NoError(t, err)
	})
}

// cutNumbers tells where it can be cut, and obeys no bounds.
type cutNumbers struct{ numbers }

func (cutNumbers) Split(context.Context, dataflow.Request[int], int) ([]int, error) {
	return []int{3}, nil
}

func (cutNumbers) Read(context.Context, dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(func(dataflow.Item[int, int], error) bool) {}
}

// If one range cannot be made, none is.
func TestClient_BackfillRanges_AllOrNone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(t.splits(splitting{ranged: ranged{n: 40}}, nil))
		if t.isPostgres {
			require.NoError(t, t.exec(`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no more'; end $$`))
			require.NoError(t, t.exec(`create trigger refuse before insert on dataflow_run for each row when (new.scope like '%/3') execute function refuse()`))
		} else {
			require.NoError(t, t.exec(`create trigger refuse before insert on dataflow_run when new.scope like '%/3' begin select raise(abort, 'no more'); end`))
		}
		_, err := client.BackfillRanges(t.Context(), "n", 4, nil)
		require.ErrorContains(t, err, "no more")
		require.Zero(t, t.number("select count(*) from dataflow_run"))
	})
}

// A range that fails is tried again alone, from its last checkpoint.
func TestClient_BackfillRanges_Retry(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		broken := true
		t.table("numbers")
		client := t.registered(dataflow.NewFlow("n", splitting{ranged: ranged{n: 30}}, dataflow.Map(func(_ context.Context, n int) (int, error) {
			if broken && n == 17 {
				return 0, dataflow.Permanent(errBroken)
			}
			return n, nil
		}), appendTo("numbers"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 3}, MaxBackfills: 1}))
		runs, err := client.BackfillRanges(t.Context(), "n", 3, nil)
		require.NoError(t, err)
		worked, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, worked, 3)
		require.Equal(t, dataflow.RunFailed, worked[1].State)
		require.Equal(t, "16", string(worked[1].ToCursor))
		broken = false
		retry, err := client.Retry(t.Context(), runs[1].ID, "ann")
		require.NoError(t, err)
		require.Equal(t, runs[1].Scope, retry.Scope)
		t.wholly(client, 0, 30)
	})
}

// A backfill in ranges has one progress: of all its ranges, and of those that were retried.
func TestFlow_Backfills(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(someTime)
		client := t.onClock(c, t.splits(splitting{ranged: ranged{n: 40}}, nil))
		f, err := client.Flow(t.Context(), "n")
		require.NoError(t, err)
		none, err := f.Backfills(t.Context())
		require.NoError(t, err)
		require.Empty(t, none)
		runs, err := client.BackfillRanges(t.Context(), "n", 4, &dataflow.BackfillParams{Until: cursorAt(20), Actor: "ann", Reason: "wrong prices"})
		require.NoError(t, err)
		progress := func() *dataflow.BackfillProgress {
			all, err := f.Backfills(t.Context())
			require.NoError(t, err)
			require.Len(t, all, 1)
			return all[0]
		}
		require.Equal(t, &dataflow.BackfillProgress{
			Name: runs[0].Scope, Ranges: 4, Pending: 4, CreatedAt: someTime, Until: cursorAt(20), Actor: "ann", Reason: "wrong prices",
		}, progress())

		_, err = client.Cancel(t.Context(), runs[3].ID, "ann", "later")
		require.NoError(t, err)
		_, err = client.Tick(t.Context())
		require.NoError(t, err)
		c.set(someTime.Add(time.Minute))
		p := progress()
		require.Equal(t, 1, p.Cancelled)
		require.Positive(t, p.Succeeded)
		require.Equal(t, 3, p.Succeeded+p.Pending)
		require.InDelta(t, float64(p.Succeeded)/4, p.Done, 1e-9)
		require.EqualValues(t, 5*p.Succeeded, p.Counters.Read)
		require.Equal(t, someTime, *p.StartedAt)
		if p.Pending > 0 {
			require.Nil(t, p.EndedAt)
			require.Equal(t, time.Minute*time.Duration(p.Pending)/time.Duration(p.Succeeded), *p.Left)
		}

		_, err = client.Retry(t.Context(), runs[3].ID, "ann")
		require.NoError(t, err)
		require.Equal(t, 0, progress().Cancelled)
		t.wholly(client, 0, 20)
		p = progress()
		require.Equal(t, []int{4, 4, 0}, []int{p.Ranges, p.Succeeded, p.Pending})
		require.InDelta(t, 1, p.Done, 0)
		require.Nil(t, p.Left)
		require.Equal(t, someTime.Add(time.Minute), *p.EndedAt)
		require.EqualValues(t, 20, p.Counters.Read)

		// The newest is told, and those that have not ended.
		second, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{From: cursorAt(39)})
		require.NoError(t, err)
		third, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{From: cursorAt(38)})
		require.NoError(t, err)
		all, err := f.Backfills(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.Equal(t, []string{third.Scope, second.Scope}, []string{all[0].Name, all[1].Name})
		require.Equal(t, []any{1, 1, cursorAt(38)}, []any{all[0].Ranges, all[0].Pending, all[0].From})
	})
}

// A range in progress counts as far as it has come, if its source tells how much there is.
func TestFlow_Backfills_InProgress(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		begun, open := make(chan struct{}, 2), make(chan struct{})
		source := splitting{ranged: ranged{n: 40}}
		t.table("numbers")
		slow := dataflow.Map(func(_ context.Context, n int) (int, error) {
			if n == 16 {
				begun <- struct{}{}
				<-open
			}
			return n, nil
		})
		flow := dataflow.NewFlow("n", source, slow, appendTo("numbers"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 5}})
		client := t.registered(flow)
		_, err := client.BackfillRanges(t.Context(), "n", 2, nil)
		require.NoError(t, err)
		report, err := client.BeginTick(t.Context())
		require.NoError(t, err)
		receive(t, begun)
		f, err := client.Flow(t.Context(), "n")
		require.NoError(t, err)
		for {
			all, err := f.Backfills(t.Context())
			require.NoError(t, err)
			p := all[0]
			require.Equal(t, []int{2, 1, 1}, []int{p.Ranges, p.InProgress, p.Pending})
			if p.Counters.Read == 15 { // the batch before is committed while this one waits
				require.InDelta(t, 15.0/20/2, p.Done, 1e-9)
				require.NotNil(t, p.Left)
				break
			}
			require.NoError(t, t.Context().Err())
		}
		close(open)
		_, err = report.Wait(t.Context())
		require.NoError(t, err)
	})
}
