package dataflow_test

import (
	"context"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// numbers yields 1 to n; the cursor is the last number.
type numbers struct{ n int }

func (s numbers) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) {
		for i := r.From + 1; i <= s.n; i++ {
			if !yield(dataflow.Item[int, int]{Value: i, Cursor: i, Resume: true}, ctx.Err()) {
				return
			}
		}
	}
}

// appendTo inserts numbers into a table without a unique key.
func appendTo(table string) dataflow.Target[int] {
	return dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
		for _, n := range rows {
			if tx, ok := dataflowpgx.TxFrom(ctx); ok {
				if _, err := tx.Exec(ctx, "insert into "+table+" (n) values ($1)", n); err != nil {
					return err
				}
				continue
			}
			tx, _ := dataflowsqlite.TxFrom(ctx)
			if _, err := tx.ExecContext(ctx, "insert into "+table+" (n) values (?)", n); err != nil {
				return err
			}
		}
		return nil
	}))
}

func TestClient(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		require.NoError(t, t.exec("create table numbers (n integer)"))
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
			name := "numbers on " + rt.Type()
			flow := dataflow.NewFlow(name, numbers{n: 95}, dataflow.Identity[int](), appendTo("numbers"), &dataflow.FlowOptions{Runtime: rt})
			client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}}))
			run, err := t.execute(client, name)
			require.NoError(t, err)
			run, err = t.wait(client, run.ID)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 95, Written: 95}, run.Counters)
			require.Equal(t, "95", string(run.ToCursor))
		}
		require.Equal(t, int64(190), t.number("select count(*) from numbers"))
	})
}
