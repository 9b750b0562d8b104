package pgtable

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// word is a row whose key is a text.
type word struct {
	K string
	G int64
	V string
}

// The unique index of a key decides which keys are equal, not the collation of the column.
func TestUpsert_CollationOfTheIndex(t *testing.T) {
	t.Parallel()
	const ci, c = "collate no_case", `collate "C"`
	for name, test := range map[string]struct {
		table, index string
		merged       bool
	}{
		"column without case, index with": {"k text " + ci, "(k " + c + ")", false},
		"default index":                   {"k text " + ci, `(k collate "default")`, false},
		"column with case, index without": {"k text", "(k " + ci + ")", true},
		"domain":                          {"k word", "(k " + c + ")", false},
		"varchar":                         {"k varchar(9) " + ci, "(k " + c + ")", false},
		"two columns":                     {"k text " + ci, "(g, k " + c + ")", false},
		"both without case":               {"k text " + ci, "(k)", true},
		"two indexes":                     {"k text", "(k); create unique index on words (k " + ci + ")", true},
		"an index with a predicate":       {"k text " + ci, "(k " + c + "); create unique index on words (k) where v = 'none'", false},
		"partitions":                      {"k text " + ci, "(k " + c + ")", false},
		"view":                            {"k text " + ci, "(k " + c + ")", false},
	} {
		for _, numbered := range []string{"", ", id bigserial"} {
			for _, from := range []int{1, math.MaxInt} {
				t.Run(fmt.Sprint(name, numbered, from), func(t *testing.T) {
					t.Parallel()
					parted := ""
					if name == "partitions" {
						parted = " partition by list (k " + c + "); create table part partition of words default"
					}
					pool := setup(t, `create collation no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`, `create domain word as text collate no_case`)
					exec := func(sql string) {
						_, err := pool.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
						require.NoError(t, err, sql)
					}
					exec(`create table words (` + test.table + `, g bigint not null, v text` + numbered + `)` + parted)
					exec(`create unique index on words ` + test.index)
					if name == "view" {
						exec(`alter table words rename to base; create view words as select * from base`)
					}
					key := []string{"k"}
					if name == "two columns" {
						key = []string{"k", "g"}
					}
					s := newSink[word]("words", true, key)
					s.to.copyFrom = from
					for _, v := range []string{"first", "second"} {
						require.NoError(t, write(t, pool, s, word{"a", 1, v}, word{"b", 1, v}, word{"A", 1, v + " upper"}))
					}
					results := make([]dataflow.RowResult, 3)
					require.NoError(t, inTransaction(t, pool, func(ctx context.Context) error {
						return reporting(s).WriteResultTx(ctx, []word{{"a", 1, "third"}, {"c", 1, "third"}, {"A", 1, "second upper"}}, results)
					}))
					rows := query(t, pool, `select k, v from words order by k collate "C", v`)
					if test.merged {
						require.Equal(t, []string{`(A,"second upper")`, "(b,second)", "(c,third)"}, rows)
						require.Equal(t, []dataflow.RowResult{dataflow.RowRedundant, dataflow.RowWritten, dataflow.RowRedundant}, results)
						return
					}
					require.Equal(t, []string{`(A,"second upper")`, "(a,third)", "(b,second)", "(c,third)"}, rows)
					require.Equal(t, []dataflow.RowResult{dataflow.RowUpdated, dataflow.RowWritten, dataflow.RowRedundant}, results)
				})
			}
		}
	}
}
