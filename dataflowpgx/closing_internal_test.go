package dataflowpgx

import (
	"errors"
	"io"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// answered is the end of a batch, whose last statement is a commit.
type answered struct {
	pgx.BatchResults

	tag         string
	exec, close error
}

func (a answered) Exec() (pgconn.CommandTag, error) { return pgconn.NewCommandTag(a.tag), a.exec }
func (a answered) Close() error                     { return a.close }

// An answered commit counts, also when the server ends the connection right after it. After any other end, an error says
// whether something may be stored.
func TestCommitAnswer(t *testing.T) {
	t.Parallel()
	ended := &pgconn.PgError{Severity: "FATAL", Code: "57P01"}
	own := errors.New("River's own trouble")
	for name, c := range map[string]struct {
		answer answered
		want   error
		text   string
	}{
		"committed":   {answered{tag: "COMMIT"}, nil, "are committed, but something failed after that"},
		"ended after": {answered{tag: "COMMIT", close: ended}, nil, "are committed, but something failed after that"},
		"rolled back": {answered{tag: "ROLLBACK"}, pgx.ErrTxCommitRollback, ""},
		"refused":     {answered{exec: ended, close: ended}, ended, ""},
		"broken":      {answered{exec: io.ErrUnexpectedEOF, close: io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF, "it is not known whether"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorIs(t, commitAnswer(c.answer), c.want)
			err := (&closingTx{sent: c.answer}).explain(own)
			require.ErrorIs(t, err, own)
			if c.text == "" {
				require.Equal(t, own, err)
			} else {
				require.ErrorContains(t, err, c.text)
			}
		})
	}
	require.NoError(t, (&closingTx{sent: answered{tag: "COMMIT"}}).explain(nil))
}
