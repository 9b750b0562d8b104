package modernc_test

import (
	"database/sql"
	"testing"

	_ "modernc.org/sqlite" // The "sqlite" driver.

	"github.com/activedataflow/dataflow/connector/sqltable/sqlitetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	sqlitetest.Run(t, sqlitetest.Library{
		Open: func(path string) (*sql.DB, error) {
			return sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)")
		},
		Format: sqlitetest.Forms()["modernc"],
	})
}
