package ncruces_test

import (
	"database/sql"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver" // The "sqlite3" driver.

	"github.com/activedataflow/dataflow/connector/sqltable/sqlitetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	sqlitetest.Run(t, sqlitetest.Library{
		Open: func(path string) (*sql.DB, error) {
			return sql.Open("sqlite3", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)")
		},
		Format: sqlitetest.Forms()["ncruces"],
	})
}
