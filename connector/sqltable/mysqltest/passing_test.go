//go:build unix

package mysqltest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// A read and a write wait for a server whose user has too many connections, and go on after their statement was killed.
func TestSources_Passes(t *testing.T) {
	t.Parallel()
	type row struct{ N int64 }
	c := config(t)
	db := opened(t, c)
	execAll(t, db, "create table numbers (n bigint primary key)", "insert into numbers values (1), (2)")
	t.Run("UserConnections", func(t *testing.T) {
		t.Parallel()
		few := c.Clone()
		few.User = "u" + strings.TrimPrefix(c.DBName, "dataflow_test_")
		execAll(t, db, "create user "+few.User+"@'%' with max_user_connections 1", "grant all on *.* to "+few.User+"@'%'")
		t.Cleanup(func() {
			_, err := db.Exec("drop user " + few.User + "@'%'") //nolint:noctx // the test's context has ended
			require.NoError(t, err)
		})
		conn, err := opened(t, few).Conn(t.Context())
		require.NoError(t, err)
		other := opened(t, few)
		_, err = read(t, sqltable.Keyset[row](other, sqltable.Query{SQL: "select n from numbers", Key: []string{"n"}}), nil)
		require.ErrorContains(t, err, "Error 1226")
		require.True(t, marked(err), err)
		_, err = fencedOf(sqltable.InsertTo[row](other, "numbers")).Claim(t.Context(), "far", 1)
		require.ErrorContains(t, err, "Error 1226")
		require.True(t, marked(err), err)
		require.NoError(t, conn.Close())
	})
	t.Run("KillQuery", func(t *testing.T) {
		t.Parallel()
		ended := make(chan error, 1)
		go func() {
			for _, err := range sqltable.Select[row](db, "select n from numbers where sleep(60) = 0 and 'killed' <> ''").Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
				ended <- err
				return
			}
			ended <- nil
		}()
		execAll(t, db, "kill query "+strconv.Itoa(running(t, db, "select n from numbers where sleep%")))
		err := <-ended
		require.ErrorContains(t, err, "Error 1317")
		require.True(t, marked(err), err)
	})
}

// The policy decides about a record that is too long for a page of InnoDB, and about one whose change would give another
// table a key twice.
func TestTo_RefusedRows(t *testing.T) {
	t.Parallel()
	t.Run("RowSize", func(t *testing.T) {
		t.Parallel()
		type row struct {
			ID                int64
			A, B, C, D, E, F  string
			G, H, I, J, K, L  string
			M, N, O, P, Q, R2 string
		}
		var columns []string
		for _, name := range strings.Fields("a b c d e f g h i j k l m n o p q r2") {
			columns = append(columns, name+" varchar(700) character set latin1")
		}
		db := setup(t, "set session innodb_strict_mode = off", "create table x (id bigint primary key, "+strings.Join(columns, ", ")+") row_format = compact")
		long := strings.Repeat("x", 700)
		s := claimed(t, sqltable.InsertTo[row](db, "x"))
		err := s.WriteFenced(t.Context(), batch(1, row{ID: 1}, row{2, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long}, row{ID: 3}))
		require.ErrorContains(t, err, "Error 1118")
		var bad *dataflow.RowError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, 1, bad.Row)
	})
	t.Run("Cascade", func(t *testing.T) {
		t.Parallel()
		type parent struct {
			ID   int64
			Code string
		}
		db := setup(t, "create table parent (id bigint primary key, code varchar(9), index (code))",
			"create table child (code varchar(9), kind int, unique (kind, code), foreign key (code) references parent (code) on update cascade)",
			"insert into parent values (1, 'a'), (2, 'b')", "insert into child values ('a', 1), ('b', 1)")
		s := claimed(t, sqltable.UpsertTo[parent](db, "parent", "id"))
		err := s.WriteFenced(t.Context(), batch(1, parent{3, "c"}, parent{1, "b"}))
		require.ErrorContains(t, err, "Error 1761")
		var bad *dataflow.RowError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, 1, bad.Row)
	})
}
