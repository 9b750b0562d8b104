//go:build unix

package mysqltest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// After a key column has lost its time of day, a row of the cursor's day has no place before or after it.
func TestKeyset_DatetimeBecameDate(t *testing.T) {
	t.Parallel()
	type row struct{ ID int64 }
	db := setup(t, "create table x (id bigint primary key, d datetime not null)", "insert into x values (2, '2024-01-31 10:00:00')")
	source := sqltable.Keyset[row](db, sqltable.Query{SQL: "select id, d from x", Key: []string{"d", "id"}})
	cursor := readAll(t, source)[0].Cursor
	execAll(t, db, "insert into x values (1, '2024-01-31 12:00:00')", "alter table x modify d date not null")
	_, err := read(t, source, cursor)
	require.ErrorContains(t, err, "value 1 of the stored cursor ('2024-01-31 10:00:00', 2) is not a date like '2006-01-02'")
	require.True(t, dataflow.IsPermanent(err))

	rows, err := read(t, source, sqltable.Cursor{"'2024-01-31'", "1"})
	require.NoError(t, err)
	require.Equal(t, []row{{2}}, values(rows))
	execAll(t, db, "alter table x modify d datetime not null")
	rows, err = read(t, source, sqltable.Cursor{"'2024-01-31'", "1"})
	require.NoError(t, err, "a date is the beginning of its day")
	require.Equal(t, []row{{2}}, values(rows))
}
