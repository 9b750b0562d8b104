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
