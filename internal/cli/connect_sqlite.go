package cli

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
)

// makesFiles are the commands that make a SQLite file if it does not exist. All others say
// that there is no such database, and make no file.
var makesFiles = []string{"migrate up"} //nolint:gochecknoglobals // a list

// sqliteDrivers are the names under which SQLite libraries register with database/sql.
var sqliteDrivers = []string{"sqlite", "sqlite3"} //nolint:gochecknoglobals // a list

func (s *session) openSQLite(ctx context.Context, path string) error {
	driver := ""
	for _, name := range sqliteDrivers {
		if slices.Contains(sql.Drivers(), name) {
			driver = name
			break
		}
	}
	switch {
	case path == "", path == ":memory:", strings.HasPrefix(path, "file:"): // SQLite would not read these as the name of a file
		return usage("DATABASE_URL names no file: %s", urlForms)
	case driver == "":
		return &databaseError{fmt.Errorf(`this program has no library for SQLite: import _ "modernc.org/sqlite" in it`)}
	}
	mode := "rw" // so that SQLite makes no file, even if the file vanishes before it is opened
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return &databaseError{fmt.Errorf("DATABASE_URL names the directory %s: name a file in it", path)}
	case s.makes:
		mode = "rwc"
	case errors.Is(err, fs.ErrNotExist):
		return &databaseError{fmt.Errorf("there is no database %s: run %s migrate up to make it", path, s.program.Name)}
	}
	db, err := sql.Open(driver, (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "mode=" + mode}).String())
	if err != nil {
		return &databaseError{fmt.Errorf("open SQLite: %w", err)}
	}
	db.SetMaxOpenConns(1) // SQLite has one writer, and each pragma is for one connection
	db.SetMaxIdleConns(1)
	for _, pragma := range []string{"busy_timeout = 10000", "journal_mode = wal", "foreign_keys = on"} {
		if _, err := db.ExecContext(ctx, "pragma "+pragma); err != nil {
			_ = db.Close()
			return &databaseError{fmt.Errorf("open SQLite file %s: %w", path, err)}
		}
	}
	s.db, s.name = Database{SQLite: db}, "SQLite, "+path
	return nil
}
