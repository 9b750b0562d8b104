package sqltable_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

type keyed struct{ V string }

func keyedBy(t *testing.T, statements ...string) dataflow.Source[keyed, sqltable.Cursor] {
	t.Helper()
	return sqltable.Keyset[keyed](setup(t, statements...), sqltable.Query{SQL: "select k, n, v from s", Key: []string{"k", "n"}})
}

// A cursor of texts says nothing of the order of numbers, and the other way round. Without an error, the first case
// reads nothing for ever, and the others lose rows and read some again.
func TestKeyset_KindOfKey(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		declared, value string
		cursor          sqltable.Cursor
		want            string
	}{
		"time that became a number":      {"k integer", "1796032830", sqltable.Cursor{"'2026-11-30 10:00:30'", "1"}, `key column "k" holds numbers, and the cursor ('2026-11-30 10:00:30', 1) has a text there`},
		"time that became a real number": {"k", "2461374.5", sqltable.Cursor{"'2026-11-30 10:00:30'", "1"}, `key column "k" holds numbers`},
		"number that became a time":      {"k datetime", "'2026-11-30 10:00:30'", sqltable.Cursor{"1796032829", "1"}, `key column "k" holds texts, and the cursor (1796032829, 1) has a number there`},
		"number that became a text":      {"k text", "'100'", sqltable.Cursor{"20", "1"}, `key column "k" holds texts, and the cursor (20, 1) has a number there`},
		"text that became a number":      {"k integer", "100", sqltable.Cursor{"'20'", "1"}, `key column "k" holds numbers, and the cursor ('20', 1) has a text there`},
		"blob that became a text":        {"k", "'a'", sqltable.Cursor{"x'61'", "1"}, `key column "k" holds texts, and the cursor (x'61', 1) has a blob there`},
		"second column":                  {"k integer", "7", sqltable.Cursor{"7", "'0'"}, `key column "n" holds numbers, and the cursor (7, '0') has a text there`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := keyedBy(t, "create table s ("+tc.declared+", n integer, v text)", "insert into s values ("+tc.value+", 1, 'a')")
			_, err := read(t, source, tc.cursor, -1)
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "dataflow cursor set")
			require.True(t, dataflow.IsPermanent(err))

			_, err = collect(source.Read(t.Context(), dataflow.Request[sqltable.Cursor]{Bounded: true, Until: tc.cursor}))
			require.ErrorContains(t, err, tc.want, "the end of a backfill")
		})
	}
}

// A column may hold several kinds, and a table may be empty.
func TestKeyset_KindsOfKey(t *testing.T) {
	t.Parallel()
	source := keyedBy(t, "create table s (k, n integer, v text)", "insert into s values (1, 1, 'a'), (2.5, 1, 'b'), ('x', 1, 'c'), ('2026-11-30 10:00:30', 1, 'd'), (x'00', 1, 'e'), (x'01', 1, 'f')")
	resumeEverywhere(t, source)
	for _, cursor := range []sqltable.Cursor{{"17", "1"}, {"'17'", "1"}, {"x'17'", "1"}} {
		items, err := read(t, keyedBy(t, "create table s (k integer, n integer, v text)"), cursor, -1)
		require.NoError(t, err, "no row")
		require.Empty(t, items)
	}
}
