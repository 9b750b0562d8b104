// Package dbtest gives each test a fresh database of its own, on PostgreSQL or SQLite.
//
// PostgreSQL databases are made on the server that DATAFLOW_TEST_DATABASE_URL names. When it
// is not set, the first test that asks for a database starts a private server from the
// programs on this machine. It keeps its files in a directory of its own (in TMPDIR if that
// is set, else in memory or /tmp), listens on a socket in there only, and goes away with the
// test binary, however that ends. Where there is no PostgreSQL, the test fails and says what
// to do. With go test -short, it is skipped.
//
// A package whose tests use PostgreSQL hands its TestMain to [Main]:
//
//	func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }
package dbtest

import (
	"fmt"
	"os"
	"testing"
)

// Main runs the tests, stops the private server if they started one, and returns the exit
// code. It fails a passing run whose server could not be stopped.
func Main(m *testing.M) int {
	code := m.Run()
	if err := private.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		code = max(code, 1)
	}
	return code
}
