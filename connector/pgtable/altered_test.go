package pgtable_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// A table that is altered between two pages is read on, and its target too, in the types of now.
func TestFlow_AlteredMeanwhile(t *testing.T) {
	t.Parallel()
	type feeling struct {
		ID int64
		M  string
		N  any
	}
	for name, c := range map[string]struct {
		alter string
		last  string // of the target, as m and n
		fails string
	}{
		"a label is added":          {`alter type mood add value 'great' before 'ok'`, "(great,7)", ""},
		"a column is added":         {`alter table feelings add more text default 'x'; alter table copies add more text default 'y'`, "(ok,1000)", ""},
		"another column is dropped": {`alter table feelings drop extra; alter table copies drop extra`, "(ok,1000)", ""},
		"a type grows":              {`alter table feelings alter n type bigint; alter table copies alter n type bigint`, "(ok,1000)", ""},
		"the key grows":             {`alter table feelings alter id type numeric; alter table copies alter id type numeric`, "(ok,1000)", ""},
		"a column is dropped":       {`alter table feelings drop n`, "", `column q.n does not exist|column "n" does not exist|do not match`},
	} {
		for _, size := range []int{10, 100} { // by arrays and by COPY
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				const columns = ` (id int primary key, m mood, n int, extra text)`
				pool := setup(t, `create type mood as enum ('sad', 'ok')`, `create table feelings`+columns, `create table copies`+columns, `insert into feelings select i, 'ok', i from generate_series(1, 1000) i`)
				altered := false
				alter := dataflow.Map(func(ctx context.Context, f feeling) (feeling, error) {
					if f.ID > 50 && !altered {
						altered = true
						if _, err := pool.Exec(ctx, c.alter, pgx.QueryExecModeSimpleProtocol); err != nil {
							return f, dataflow.Permanent(err)
						}
						if strings.HasPrefix(c.last, "(great") {
							if _, err := pool.Exec(ctx, `insert into feelings values (2000, 'great', 7)`); err != nil {
								return f, dataflow.Permanent(err)
							}
						}
					}
					return f, nil
				})
				source := pgtable.Keyset[feeling](pool, pgtable.Query{SQL: `select id, m, n from feelings`, Key: []string{"id"}, PageSize: 20})
				flow := dataflow.NewFlow("f", source, alter, pgtable.Upsert[feeling]("copies", "id"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: size}, MaxAttempts: 1})
				run, err := runOn(t, dataflowpgx.New(pool), flow)
				if c.fails != "" {
					require.Error(t, err)
					require.Regexp(t, c.fails, err.Error())
					require.False(t, dataflow.IsPermanent(err))
					return
				}
				require.NoError(t, err)
				require.Zero(t, run.Counters.Dropped)
				var last string
				var complete bool
				require.NoError(t, pool.QueryRow(t.Context(), `select (select count(*) from feelings) = (select count(distinct id) from copies),
					(select row(m::text, n::text)::text from copies order by id desc limit 1)`).Scan(&complete, &last))
				require.True(t, complete)
				require.Equal(t, c.last, last)
			})
		}
	}
}
