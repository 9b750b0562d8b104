// Package sqlstate decides what each error of Postgres means for a batch. The decisions are
// a table, with a line for each SQLSTATE that a server of version 13 to 18 knows. The page
// docs/postgres-errors.md shows the table to users.
package sqlstate

import (
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// Decision is what an error means for the batch at which it occurs.
type Decision int

// The decisions.
const (
	// Attempt ends the attempt. The next one may succeed, for example after a
	// migration or a grant.
	Attempt Decision = iota
	// Record concerns one record's data. The flow's policy decides about the record.
	Record
	// Batch was too much for one statement. Smaller parts may pass.
	Batch
	// Conflict came of another transaction. The batch is tried again after a pause.
	Conflict
	// Connection means that the server cannot be reached or cannot work now. The
	// attempt waits and goes on from the last checkpoint.
	Connection
	// Permanent ends the run: only a change of code, schema or settings helps.
	Permanent
	// Again means that the same statement succeeds if it is tried again at once.
	Again
)

// String returns the decision's name, as the documentation has it.
func (d Decision) String() string {
	return [...]string{"attempt", "record", "batch", "conflict", "connection", "permanent", "again"}[d]
}

// State is a line of the table.
type State struct {
	Code     string
	Name     string // as PL/pgSQL knows it
	Decision Decision
	// Own is true if only the row's own values can cause the error, whatever other
	// rows there are.
	Own bool
}

// Special is an exception for errors that a certain function of the server raises. The
// texts of errors depend on the server's language; the names of its functions do not.
type Special struct {
	Code     string
	Routines []string
	Decision Decision
	Meaning  string
}

// Codes that other packages ask for by name.
const (
	DeadlockDetected       = "40P01"
	DuplicateTable         = "42P07"
	FeatureNotSupported    = "0A000"
	ForeignKeyViolation    = "23503"
	GeneratedAlways        = "428C9"
	NotInState             = "55000"
	InvalidColumnReference = "42P10"
	InvalidTextValue       = "22P02"
	NumericOutOfRange      = "22003"
	ProtocolViolation      = "08P01"
	QueryCanceled          = "57014"
	UndefinedColumn        = "42703"
	UndefinedSchema        = "3F000"
	UndefinedTable         = "42P01"
	UndefinedFunction      = "42883"
	UniqueViolation        = "23505"
	Untranslatable         = "22P05"
)

// StaleRoutine is the function of the server that refuses a prepared statement that no longer fits its table.
const StaleRoutine = "RevalidateCachedQuery"

// Specials returns the exceptions.
func Specials() []Special {
	return []Special{
		{Code: "0A000", Routines: []string{StaleRoutine}, Decision: Again, Meaning: "a migration has changed the columns of a prepared statement"},
		{Code: "40001", Routines: recoveryRoutines(), Decision: Conflict, Meaning: "a standby has ended the statement, because it replays what the primary did"},
		{Code: "54000", Routines: []string{"GetNewTransactionId", "GetNewMultiXactId"}, Decision: Attempt, Meaning: "the database must be vacuumed before it accepts writes"},
	}
}

// recoveryRoutines raise the conflicts with recovery: the first in Postgres 13 to 16, the
// others in later versions.
func recoveryRoutines() []string {
	return []string{"ProcessInterrupts", "ProcessRecoveryConflictInterrupt", "ProcessRecoveryConflictInterrupts"}
}

// Table returns all states, by their codes.
func Table() []State { return slices.Concat(tableData, tableRest) }

// states finds a line of the table by its code, and classes the class of a code.
var states, classes = index() //nolint:gochecknoglobals // made once of a constant table

func index() (states map[string]State, classes map[string]bool) {
	states, classes = make(map[string]State), make(map[string]bool)
	for _, s := range Table() {
		states[s.Code], classes[s.Code[:2]] = s, true
	}
	return states, classes
}

// Decide returns the decision about an error of the server. A code that is not in the table
// follows the line of its class, whose code ends in 000. A class that Postgres does not
// know is one of a function in the database, which refuses a record.
func Decide(err *pgconn.PgError) Decision {
	for _, s := range Specials() {
		if s.Code == err.Code && slices.Contains(s.Routines, err.Routine) {
			return s.Decision
		}
	}
	return OfCode(err.Code)
}

// OfCode is Decide for a code alone.
func OfCode(code string) Decision {
	if s, ok := states[code]; ok {
		return s.Decision
	}
	if len(code) != 5 {
		return Attempt
	}
	if s, ok := states[code[:2]+"000"]; ok {
		return s.Decision
	}
	if classes[code[:2]] || code[:2] < "04" {
		return Attempt
	}
	return Record
}

// Of returns the decision about an error. ok is false if it does not come from a server.
func Of(err error) (d Decision, ok bool) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return Attempt, false
	}
	return Decide(pg), true
}

// Is reports whether an error comes from a server and has one of the decisions.
func Is(err error, decisions ...Decision) bool {
	d, ok := Of(err)
	return ok && slices.Contains(decisions, d)
}

// Has reports whether an error comes from a server and has one of the codes.
func Has(err error, codes ...string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains(codes, pg.Code)
}

// IsOwn reports whether an error comes from a server, and only a row's own values can cause
// it.
func IsOwn(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && states[pg.Code].Own
}

// IsRecoveryConflict reports whether a standby has ended a statement, because it replays
// what the primary did.
func IsRecoveryConflict(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == DeadlockDetected) && slices.Contains(recoveryRoutines(), pg.Routine)
}
