package pgtable_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/pgtable"
)

var hinted = regexp.MustCompile(`(create (?:unique )?index [^;]*?\))(?:$|;|: ERROR)`)

// The index that a note names can be made as it is written there, and then nothing is noted.
func TestKeyset_HintedIndexes(t *testing.T) {
	t.Parallel()
	const table = `create table t (id int not null, at timestamptz, "Odd ""name" text collate "C", low text collate no_case, note varchar(20), n int)`
	const fill = `insert into t select i, case when i % 7 > 0 then '2024-01-01'::timestamptz + i * interval '1 second' end, 'x' || i, 'y' || i, 'z' || i, i from generate_series(1, 40000) i`
	noCase := `create collation no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`
	parted := strings.Replace(table, `"C"`, `"C"`, 1) + ` partition by range (id)`
	for name, c := range map[string]struct {
		setup []string
		query pgtable.Query
		hints []string
	}{
		"columns":          {[]string{table, fill}, pgtable.Query{SQL: `select id as number, n from t`, Key: []string{"number"}}, []string{`create unique index concurrently on t (id)`, `create index concurrently on t (id)`}},
		"quoted":           {[]string{table, fill}, pgtable.Query{SQL: `select "Odd ""name" as k, id, n from t`, Key: []string{"k", "id"}}, []string{`create unique index concurrently on t ("Odd ""name", id)`, `create index concurrently on t ("Odd ""name", id)`}},
		"other schema":     {[]string{`create schema "S"`, strings.Replace(table, "table t", `table "S"."T"`, 1), strings.Replace(fill, "into t", `into "S"."T"`, 1)}, pgtable.Query{SQL: `select id, n from "S"."T"`, Key: []string{"id"}}, []string{`create unique index concurrently on "S"."T" (id)`, `create index concurrently on "S"."T" (id)`}},
		"partitioned":      {[]string{parted, `create table part partition of t default`, fill}, pgtable.Query{SQL: `select id, n from t`, Key: []string{"id"}}, []string{`create unique index on t (id)`, `create index on t (id)`}},
		"coalesce":         {[]string{table, fill}, pgtable.Query{SQL: `select coalesce(x.at, '-infinity') as at, id, n from t x`, Key: []string{"at", "id"}}, []string{`create index concurrently on "public"."t" ((COALESCE(at, '-infinity'::timestamp with time zone)), id)`}},
		"coalesce text":    {[]string{table, fill}, pgtable.Query{SQL: `select coalesce("Odd ""name", '') as k, id, n from t`, Key: []string{"k", "id"}}, []string{`create index concurrently on "public"."t" ((COALESCE("Odd ""name", ''::text)) COLLATE "C", id)`}},
		"collation":        {[]string{table, fill}, pgtable.Query{SQL: `select note collate "C" as k, id, n from t`, Key: []string{"k", "id"}}, []string{`create index concurrently on "public"."t" (((note)::text) COLLATE "C", id)`}},
		"nondeterministic": {[]string{table, fill}, pgtable.Query{SQL: `select low as k, id, n from t`, Key: []string{"k", "id"}}, []string{`create unique index concurrently on t (low, id)`, `create index concurrently on t (low, id)`}},
		"expression":       {[]string{table, fill}, pgtable.Query{SQL: `select n % 100 as k, id, n from t`, Key: []string{"k", "id"}}, []string{`create index concurrently on "public"."t" ((n % 100), id)`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, append(append([]string{noCase}, c.setup...), `analyze`)...)
			c.query.LateCommits = pgtable.Unguarded{}
			found := notes(t, pool, c.query)
			require.Equal(t, c.hints, hintsOf(found), "%v", found)
			for len(found) > 0 {
				exec(t, pool, hintsOf(found)[0])
				exec(t, pool, `analyze`)
				now := notes(t, pool, c.query)
				require.Less(t, len(now), len(found), "%v", now)
				found = now
			}
		})
	}
}

func hintsOf(notes []string) (hints []string) {
	for _, note := range notes {
		hints = append(hints, append(hinted.FindStringSubmatch(note), "", "")[1])
	}
	return hints
}

// What can have no index is not hinted at.
func TestKeyset_NoHintedIndex(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id int primary key, at timestamptz)`, `create table u (id int primary key, n int)`,
		`insert into t select i, '2024-01-01'::timestamptz + i * interval '1 second' from generate_series(1, 40000) i`, `insert into u select i, i from generate_series(1, 40000) i`, `analyze`)
	for _, sql := range []string{
		`select at::date as k, id from t`,
		`select coalesce(u.n, 0) as k, t.id from t join u using (id)`,
	} {
		found := notes(t, pool, pgtable.Query{SQL: sql, Key: []string{"k", "id"}, LateCommits: pgtable.Unguarded{}})
		require.Len(t, found, 1, sql)
		require.Contains(t, found[0], "create an index on the expressions of the key")
	}
}

// The index that an upsert's error names can be made as it is written there, and then the
// upsert works.
func TestUpsert_HintedIndex(t *testing.T) {
	t.Parallel()
	for kind, create := range map[string]string{
		"table": `create table numbers (n bigint)`, "partitioned": `create table numbers (n bigint) partition by hash (n)`,
	} {
		pool := setup(t, create)
		if kind == "partitioned" {
			exec(t, pool, `create table part partition of numbers for values with (modulus 1, remainder 0)`)
		}
		_, err := trigger(t, pool, pgtable.Upsert[number]("numbers", "n"), nil)
		require.ErrorContains(t, err, "no unique index of exactly the key columns")
		exec(t, pool, hintsOf([]string{err.Error()})[0])
		run, err := trigger(t, pool, pgtable.Upsert[number]("numbers", "n"), nil)
		require.NoError(t, err)
		require.EqualValues(t, 100, run.Counters.Written)
	}
}
