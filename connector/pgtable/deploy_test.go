package pgtable_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// deploys are what a deploy breaks for a while, and how it ends.
func deploys() map[string]struct{ breaks, mends, says string } {
	return map[string]struct{ breaks, mends, says string }{
		"table renamed":   {`alter table numbers rename to numbers_old`, `alter table numbers_old rename to numbers`, "there is no table|42P01"},
		"table swapped":   {`alter table numbers rename to numbers_old`, `create table numbers (like numbers_old including all)`, "there is no table|42P01"},
		"column missing":  {`alter table numbers drop column n`, `alter table numbers add n bigint; create unique index on numbers (n)`, "has no column|42703"},
		"index missing":   {`alter table numbers drop constraint numbers_n_key`, `create unique index on numbers (n)`, "42P10"},
		"index not valid": {`alter table numbers drop constraint numbers_n_key; create unique index i on numbers (n); update pg_index set indisvalid = false where indexrelid = 'i'::regclass`, `reindex index i`, "42P10"},
		"schema missing":  {`alter schema app rename to app_old`, `alter schema app_old rename to app`, "there is no table|42P01"},
	}
}

// A table, a column or an index that a deploy takes away for a while ends an attempt, at the
// first batch and in the middle. It blames no record, and fails no run for good.
func TestTargets_Deploys(t *testing.T) {
	t.Parallel()
	for name, deploy := range deploys() {
		for way, target := range map[string]func(pool *pgxpool.Pool) dataflow.Target[number]{
			"Upsert": func(*pgxpool.Pool) dataflow.Target[number] { return pgtable.Upsert[number]("numbers", "n") },
			"UpsertTo": func(pool *pgxpool.Pool) dataflow.Target[number] {
				return pgtable.UpsertTo[number](pool, "numbers", "n")
			},
		} {
			for _, size := range []int{10, 100} { // by arrays and by COPY
				for _, at := range []int64{0, 150} {
					if !dbtest.Part(fmt.Sprint(name, way, size, at), 3) {
						continue
					}
					t.Run(name+"/"+way, func(t *testing.T) {
						t.Parallel()
						owner := setup(t, `create schema app`, `create table app.numbers (n bigint unique, id serial)`)
						config := owner.Config()
						config.ConnConfig.RuntimeParams["search_path"] = "public, app"
						pool, err := pgxpool.NewWithConfig(t.Context(), config)
						require.NoError(t, err)
						t.Cleanup(pool.Close)
						client := pool
						if way == "UpsertTo" {
							client = setup(t)
						}
						driver := dataflowpgx.New(client)
						do := func(sql string) {
							_, err := pool.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
							require.NoError(t, err, sql)
						}
						broken := at == 0
						if broken {
							do(deploy.breaks)
						}
						breaks := dataflow.Map(func(_ context.Context, n number) (number, error) {
							if n.N == at && !broken {
								broken = true
								do(deploy.breaks)
							}
							return n, nil
						})
						flow := dataflow.NewFlow("f", memory.Slice(numberRows(300)), breaks, target(pool), &dataflow.FlowOptions{
							Runtime: dataflow.Heartbeat{BatchSize: size}, OnBadRecord: dataflow.SkipUpTo(1000), MaxAttempts: 1,
						})
						_, err = runOn(t, driver, flow)
						require.Error(t, err)
						require.Regexp(t, deploy.says, err.Error())
						require.False(t, dataflow.IsPermanent(err), "%v", err)
						do(deploy.mends)
						run, err := runOn(t, driver, flow)
						require.NoError(t, err)
						require.Zero(t, run.Counters.Dropped)
						var last int
						require.NoError(t, pool.QueryRow(t.Context(), `select max(n) from numbers`).Scan(&last))
						require.Equal(t, 300, last)
					})
				}
			}
		}
	}
}
