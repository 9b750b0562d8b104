// Package dbtest gives each test a fresh database of its own, on PostgreSQL or SQLite.
//
// PostgreSQL databases are made on the server that DATAFLOW_TEST_DATABASE_URL names. When it
// is not set, the first test that asks for a database starts a private server from the
// programs on this machine. The server keeps its files in a directory of its own: in TMPDIR if
// that is set, else in memory or /tmp. It listens only on a socket in that directory. It ends
// with the test binary, even if that is killed.
//
// Without PostgreSQL, a test fails and says what to do. Only [StartServer] can skip a test.
// With go test -short, all tests that need PostgreSQL are skipped.
//
// A package whose tests use PostgreSQL hands its TestMain to [Main]:
//
//	func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }
package dbtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// Main runs the tests, drops each [Template], stops the private server if they started one, and
// returns the exit code. It fails a passing run whose server could not be stopped.
func Main(m *testing.M) int {
	code := m.Run()
	if err := errors.Join(templates.drop(), private.stop()); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		code = max(code, 1)
	}
	return code
}

// perProcessor is how many tests [Waiting] runs at a time on each processor.
const perProcessor = 3

// Waiting makes go test run more tests at a time than there are processors, unless -parallel
// says how many. A package whose tests wait more than they compute calls it before [Main].
func Waiting() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(perProcessor*runtime.GOMAXPROCS(0))) // It is a number.
	}
}
