package mattn_test

import (
	"database/sql"
	"testing"

	_ "github.com/mattn/go-sqlite3" // The "sqlite3" driver.

	"github.com/activedataflow/dataflow/connector/sqltable/sqlitetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	sqlitetest.Run(t, sqlitetest.Library{
		Open: func(path string) (*sql.DB, error) {
			return sql.Open("sqlite3", "file:"+path+"?_busy_timeout=5000&_foreign_keys=1")
		},
		Format: sqlitetest.Forms()["mattn"],
	})
}
