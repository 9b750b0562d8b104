package sqlstate

import (
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// Remedy is what to do about a state.
type Remedy struct{ Code, Text string }

// Remedies returns what the library adds to the errors of some states: what happened, and
// what to set.
func Remedies() []Remedy {
	return []Remedy{
		{"25006", "the server takes no writes: it is a standby, or default_transaction_read_only is on: let the pool's address lead to the primary, or add target_session_attrs=read-write to it"},
		{"25P03", "the server ended the transaction, because this process sent nothing for longer than idle_in_transaction_session_timeout: the client sets it to Config.Lease for its own transactions: raise that, or let the sink work less between two statements"},
		{"25P04", "the transaction took longer than transaction_timeout: raise that setting for this role, or use a smaller BatchSize"},
		{"28000", "the server lets no such connection in: the role may be missing (createuser NAME) or may not log in, its pg_hba.conf may name no such connection, or it wants TLS (sslmode=require)"},
		{"28P01", "the password is missing or wrong: give it in the address (postgres://user:password@host/name), in PGPASSWORD or in ~/.pgpass"},
		{"3D000", "create the database (createdb --owner USER NAME), or mend its name in the address"},
		{"40001", "another transaction has changed the same rows: with default_transaction_isolation = 'read committed' this does not happen"},
		{"42501", "the role lacks the right: grant it. If it is about a schema: to make tables a role needs create there, which from Postgres 15 on only the database's owner has on the schema public"},
		{"53100", "the server's disk is full: free space there"},
		{"53200", "the server has no memory for the statement: use a smaller BatchSize, or a smaller work_mem; if it is shared memory, the server has no room for more locks: raise max_locks_per_transaction"},
		{"53300", "the server has no connection left: use a smaller pool (pool_max_conns), a pooler, or raise max_connections"},
		{"53400", "the statement went over a limit of the server, such as temp_file_limit: raise it for this role, or let the query sort less"},
		{"55P03", "another transaction held the lock for longer than lock_timeout: end that transaction (pg_blocking_pids names its process), or raise lock_timeout for this role"},
		{QueryCanceled, "the statement took longer than statement_timeout, or somebody cancelled it: raise statement_timeout for this role (alter role … set statement_timeout = '10min'), or use a smaller BatchSize or PageSize"},
	}
}

// recoveryRemedy is the remedy for a conflict with recovery, whose code others have too.
const recoveryRemedy = "the standby ended the statement, because it had to replay what the primary did: set hot_standby_feedback = on or raise max_standby_streaming_delay on the standby, use a smaller PageSize, or read from the primary"

// explained is an error with its remedy.
type explained struct {
	err    error
	remedy string
}

func (e *explained) Error() string { return e.err.Error() + ": " + e.remedy }
func (e *explained) Unwrap() error { return e.err }

// telling are the codes whose details hold only the values of a key, or a range. The details
// of others hold the whole row, which must not be in logs.
var telling = []string{UniqueViolation, ForeignKeyViolation, "23P01", NumericOutOfRange} //nolint:gochecknoglobals // constants

// Explain adds to an error of the server what it means or
// what to do about it, unless that was done already
// or nothing is known. err may be nil.
func Explain(err error) error {
	var pg *pgconn.PgError
	var done *explained
	if !errors.As(err, &pg) || errors.As(err, &done) {
		return err
	}
	if IsRecoveryConflict(err) {
		return &explained{err: err, remedy: recoveryRemedy}
	}
	if slices.Contains(telling, pg.Code) && pg.Detail != "" {
		return &explained{err: err, remedy: pg.Detail}
	}
	for _, r := range Remedies() {
		if r.Code == pg.Code {
			return &explained{err: err, remedy: r.Text}
		}
	}
	return err
}
