package pgtable_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

func TestGuard_Validate(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for name, tc := range map[string]struct {
		guard pgtable.Guard
		want  string
	}{
		"grace":     {pgtable.OpenTransactions{Grace: -time.Second}, "OpenTransactions.Grace -1s is negative: use 0 for keys from now()"},
		"no lag":    {pgtable.Lag{}, "Lag.By 0s protects no rows: give more than the longest time that a transaction writes to the table"},
		"lag":       {pgtable.Lag{By: -time.Second}, "Lag.By -1s protects no rows: give more than the longest time that a transaction writes to the table"},
		"no column": {pgtable.XID8{}, "XID8.Column is empty: name the column of type xid8 that holds the row's transaction"},
		"column": {
			pgtable.XID8{Column: "txid"},
			`XID8.Column "txid" is not the first of Query.Key ("id" is): an id alone does not order rows by their commits: use Key: []string{"txid", …}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := tickets(pool, tc.guard, "id", "txid")
			err := source.(dataflow.Validator).Validate()
			require.EqualError(t, err, "Query.LateCommits: "+tc.want)
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
			require.Equal(t, "Query.LateCommits", ce.Field)
			_, err = read(t, source, nil, -1)
			require.EqualError(t, err, "Query.LateCommits: "+tc.want)
		})
	}
	for _, guard := range []pgtable.Guard{
		nil, pgtable.OpenTransactions{}, &pgtable.OpenTransactions{}, pgtable.Lag{By: time.Second}, pgtable.XID8{Column: "id"}, pgtable.Unguarded{},
	} {
		require.NoError(t, tickets(pool, guard, "id").(dataflow.Validator).Validate())
	}
}

// TestGuard_WrongKey uses keys that a guard cannot compare.
func TestGuard_WrongKey(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable, `alter table ticket add day date not null default current_date`)
	for name, tc := range map[string]struct {
		guard pgtable.Guard
		key   []string
		want  string
	}{
		"id and open": {
			pgtable.OpenTransactions{},
			[]string{"id"},
			`key column "id" is of type int8, but pgtable.OpenTransactions in Query.LateCommits compares times: begin the key with a timestamp with time zone, or with a column for pgtable.XID8`,
		},
		"id first and open": {
			pgtable.OpenTransactions{UTC: true},
			[]string{"id", "version"},
			`key column "id" is of type int8, but pgtable.OpenTransactions in Query.LateCommits compares times: begin the key with a timestamp with time zone, or with a column for pgtable.XID8`,
		},
		"date and lag": {
			pgtable.Lag{By: time.Minute},
			[]string{"day", "id"},
			`key column "day" is of type date, but pgtable.Lag in Query.LateCommits compares times: begin the key with a timestamp with time zone, or with a column for pgtable.XID8`,
		},
		"timestamp": {
			nil,
			[]string{"utc", "id"},
			`key column "utc" is a timestamp without time zone, and its zone must be known to compare it with a clock: if it holds times in UTC, set Query.LateCommits to pgtable.OpenTransactions with UTC: true; if nobody writes to the table while it is read, to pgtable.Unguarded{}`,
		},
		"timestamp and lag": {
			pgtable.Lag{By: time.Minute},
			[]string{"utc", "id"},
			`key column "utc" is a timestamp without time zone, and its zone must be known to compare it with a clock: if it holds times in UTC, set Query.LateCommits to pgtable.Lag with UTC: true; if nobody writes to the table while it is read, to pgtable.Unguarded{}`,
		},
		"xid8": {
			pgtable.XID8{Column: "id"},
			[]string{"id"},
			`key column "id" is of type int8, but pgtable.XID8 needs type xid8 with the default pg_current_xact_id()`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := tickets(pool, tc.guard, tc.key...)
			_, err := read(t, source, nil, -1)
			require.ErrorContains(t, err, `from ticket": `+tc.want)
			require.ErrorContains(t, err, `query "select `)
			_, err = source.(dataflow.Counter[pgtable.Cursor]).Count(t.Context(), dataflow.Request[pgtable.Cursor]{})
			require.ErrorContains(t, err, `from ticket": `+tc.want)
		})
	}
	_, err := read(t, tickets(pool, nil, "day", "id"), nil, -1)
	require.NoError(t, err, "a date has no default guard")
}

func TestGuard_Describe(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for want, guard := range map[string]pgtable.Guard{
		"open transactions, grace 1s": pgtable.OpenTransactions{Grace: time.Second},
		"lag 1m0s":                    pgtable.Lag{By: time.Minute},
		"xid8 txid":                   pgtable.XID8{Column: "txid"},
		"unguarded":                   pgtable.Unguarded{},
	} {
		d := tickets(pool, guard, "id").(dataflow.Describer).Describe()
		require.Equal(t, want, d.Detail["late_commits"])
	}
	require.NotContains(t, tickets(pool, nil, "id").(dataflow.Describer).Describe().Detail, "late_commits")
}
