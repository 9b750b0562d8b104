package sqlstate_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// The codes are unique and in order, and each class has a line that others follow.
func TestTable(t *testing.T) {
	t.Parallel()
	var codes []string
	for _, s := range sqlstate.Table() {
		require.Regexp(t, `^[0-9A-Z]{5}$`, s.Code)
		require.NotEmpty(t, s.Name)
		require.True(t, !s.Own || s.Decision == sqlstate.Record, s.Code)
		codes = append(codes, s.Code)
	}
	require.True(t, slices.IsSorted(codes))
	require.Equal(t, codes, slices.Compact(slices.Clone(codes)))
	for _, r := range sqlstate.Remedies() {
		require.Contains(t, codes, r.Code)
	}
}

// The table has every error that a server installed here knows.
func TestTable_Complete(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("/usr/share/postgresql/*/errcodes.txt")
	require.NoError(t, err)
	if os.Getenv("CI") != "" {
		require.NotEmpty(t, files, "scripts/ensure-postgres.sh installs a server that comes with its list")
	}
	line := regexp.MustCompile(`^([0-9A-Z]{5})\s+E\s`)
	for _, name := range files {
		f, err := os.Open(name) //nolint:gosec // a file of the server
		require.NoError(t, err)
		var known int
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if m := line.FindStringSubmatch(lines.Text()); m != nil {
				known++
				require.True(t, slices.ContainsFunc(sqlstate.Table(), func(s sqlstate.State) bool { return s.Code == m[1] }), "%s: %s", name, lines.Text())
			}
		}
		require.NoError(t, f.Close())
		require.Greater(t, known, 200, name)
	}
}

// A code that is not in the table follows its class; one of an unknown class is a record's.
func TestDecide_Unknown(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]sqlstate.Decision{
		"22999": sqlstate.Record, "08999": sqlstate.Connection, "57999": sqlstate.Connection, "42999": sqlstate.Attempt, "XX999": sqlstate.Attempt,
		"01000": sqlstate.Attempt, "": sqlstate.Attempt, "U0001": sqlstate.Record, "45000": sqlstate.Record,
	} {
		require.Equal(t, want, sqlstate.OfCode(code), code)
	}
	_, ok := sqlstate.Of(errors.New("no server"))
	require.False(t, ok)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	require.NoError(t, sqlstate.Explain(nil))
	plain := errors.New("no server")
	require.Equal(t, plain, sqlstate.Explain(plain))
	err := sqlstate.Explain(fmt.Errorf("write: %w", &pgconn.PgError{Code: "57014", Message: "canceling statement due to statement timeout"}))
	require.ErrorContains(t, err, "raise statement_timeout for this role")
	require.Equal(t, err, sqlstate.Explain(err), "once")
	require.ErrorContains(t, sqlstate.Explain(&pgconn.PgError{Code: "40001", Routine: "ProcessInterrupts"}), "hot_standby_feedback")
	require.ErrorContains(t, sqlstate.Explain(&pgconn.PgError{Code: "23505", Detail: "Key (id)=(1) already exists."}), "Key (id)=(1)")
	require.NotContains(t, sqlstate.Explain(&pgconn.PgError{Code: "23514", Detail: "Failing row contains (secret)."}).Error(), "secret")
}

// page is the documentation of the table.
const page = "../../docs/postgres-errors.md"

// The page has exactly the lines of the table, the exceptions and the remedies.
func TestPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var want []string
	for _, s := range sqlstate.Specials() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", s.Code, s.Meaning, s.Decision))
	}
	for _, r := range sqlstate.Remedies() {
		want = append(want, fmt.Sprintf("| `%s` | %s |", r.Code, strings.ReplaceAll(r.Text, "|", `\|`)))
	}
	for _, s := range sqlstate.Table() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", s.Code, s.Name, s.Decision))
	}
	var have []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "| `") {
			have = append(have, line)
		}
	}
	require.Equal(t, strings.Join(want, "\n"), strings.Join(have, "\n"))
	for _, d := range []sqlstate.Decision{sqlstate.Record, sqlstate.Batch, sqlstate.Conflict, sqlstate.Connection, sqlstate.Permanent, sqlstate.Attempt, sqlstate.Again} {
		require.Contains(t, string(text), "\n- **"+d.String()+"**: ")
	}
}
