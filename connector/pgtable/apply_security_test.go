package pgtable_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// limitedTo returns a pool of a role that has a table, but does not bypass its row security.
func limitedTo(t *testing.T, pool *pgxpool.Pool, table string) *pgxpool.Pool {
	t.Helper()
	role := "limited_" + pool.Config().ConnConfig.Database
	exec(t, pool, `create role `+role)
	exec(t, pool, `grant all on `+table+` to `+role)
	exec(t, pool, `grant all on schema public to `+role)
	t.Cleanup(func() {
		_, _ = pool.Exec(context.WithoutCancel(t.Context()), `drop owned by `+role)
		_, _ = pool.Exec(context.WithoutCancel(t.Context()), `drop role `+role)
	})
	return open(t, pool.Config().ConnString(), pgx.QueryExecModeCacheStatement, map[string]string{"role": role})
}

// A row that row security hides from the role would stay when the source has deleted it.
func TestApply_RowSecurity(t *testing.T) {
	t.Parallel()
	const hidden = `alter table account enable row level security; create policy most on account using (id > 1) with check (true)`
	for name, changes := range map[string][]accountChange{
		"Delete":   {deleteOf(1), deleteOf(2)},
		"Patch":    {updateOf(1, "x", "new", "email"), deleteOf(2)},
		"Truncate": {{Op: pgtable.ChangeTruncate}},
		"Moved":    {movedFrom(1, updateOf(3, "x", "new", "email"))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, accountTable, `create table detail (of bigint references account)`)
			limited := limitedTo(t, pool, "account")
			target := pgtable.ApplyTo[account](limited, "account", "id")
			first := []accountChange{insertOf(1, "a", ""), insertOf(2, "b", "")}
			changes = append(first, changes...)
			_, err := apply(t, pool, target, nil, first...)
			require.NoError(t, err)

			exec(t, pool, hidden, pgx.QueryExecModeSimpleProtocol)
			_, err = apply(t, pool, target, nil, changes...) // the target has looked the table up
			require.ErrorContains(t, err, "row security is active for this role and may hide rows")
			require.Equal(t, []string{"1 a ", "2 b "}, accounts(t, pool))

			exec(t, pool, `alter table account disable row level security`)
			_, err = apply(t, pool, target, nil, changes...)
			require.NoError(t, err)
			require.NotContains(t, accounts(t, pool), "1 a ")
		})
	}
}

// Policies that show all rows to the role hide none. The table's own row security may be on for other roles.
func TestApply_RowSecurityShowsAll(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policies []string
		hides    bool
	}{
		"All":         {[]string{`for all to ROLE using (true)`}, false},
		"Each":        {[]string{`for select using (true)`, `for update using (true)`, `for delete using (true)`, `for insert with check (true)`, `using (id > 1)`}, false},
		"Restrictive": {[]string{`for all using (true)`, `as restrictive for delete using (id > 1)`}, true},
		"Others":      {[]string{`for all using (id > 1) with check (true)`, `for all to pg_monitor using (true)`}, true},
		"NotDelete":   {[]string{`for select using (true)`, `for update using (true)`, `for delete using (id > 1)`, `for insert with check (true)`}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, accountTable, `alter table account enable row level security`)
			limited := limitedTo(t, pool, "account")
			for i, policy := range c.policies {
				exec(t, pool, strings.ReplaceAll(fmt.Sprintf("create policy p%d on account ", i)+policy, "ROLE", "limited_"+pool.Config().ConnConfig.Database))
			}
			_, err := apply(t, pool, pgtable.ApplyTo[account](limited, "account", "id"), nil, insertOf(1, "a", ""), insertOf(2, "b", ""), deleteOf(1))
			found, nerr := pgtable.Keyset[account](limited, pgtable.Query{SQL: "select * from account", Key: []string{"id"}}).(dataflow.Noter[pgtable.Cursor]).Notes(t.Context(), dataflow.Request[pgtable.Cursor]{})
			require.NoError(t, nerr)
			if c.hides {
				require.ErrorContains(t, err, "row security is active for this role and may hide rows")
				require.Len(t, found, 1)
				return
			}
			require.NoError(t, err)
			require.Empty(t, found)
			require.Equal(t, []string{"2 b "}, accounts(t, pool))
		})
	}
}
