package sqltable

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

// database is the database of a source or sink. It is asked once whether it is
// MySQL.
type database struct {
	*sql.DB

	mu    sync.Mutex // guards the fields below
	known bool
	mysql bool
}

// isMySQL reports whether the database is MySQL or MariaDB. Only these execute the
// text between /*! and */; it is a comment everywhere else.
func (d *database) isMySQL(ctx context.Context) (bool, error) { return d.isMySQLBy(ctx, d.DB) }

// isMySQLBy is isMySQL in a transaction, for a pool that has no other connection.
func (d *database) isMySQLBy(ctx context.Context, q queryer) (bool, error) {
	d.mu.Lock()
	known, mysql := d.known, d.mysql
	d.mu.Unlock()
	if known {
		return mysql, nil
	}
	// Not under the lock: nobody must wait for another's connection.
	var n int
	if err := q.QueryRowContext(ctx, "select 1 /*! + 1 */").Scan(&n); err != nil {
		return false, passing(ctx, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known, d.mysql = true, n == 2
	return d.mysql, nil
}

// mysqlNumber finds MySQL's error number in the text of its driver. This package
// does not link the driver.
var mysqlNumber = regexp.MustCompile(`\bError (\d{4})(?: \(|:)`)

// errorNumber returns MySQL's number of an error, or 0.
func errorNumber(err error) int {
	if found := mysqlNumber.FindStringSubmatch(err.Error()); found != nil {
		n, _ := strconv.Atoi(found[1])
		return n
	}
	return 0
}

// lost marks the error of a connection that broke, or could not be made, as
// transient.
func lost(ctx context.Context, err error) error {
	var network net.Error
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network), innermost(err).Error() == "invalid connection": // the last is an error of MySQL's driver
		return dataflow.Transient(err)
	default:
		return err
	}
}

// passing marks the errors that should go away by themselves: another transaction was in the way, or the server was
// not ready. MySQL's numbers are in its server error message reference, and in "Error codes" of MariaDB's knowledge base.
func passing(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || dataflow.IsPermanent(err) {
		return driverkit.Ended(ctx, err)
	}
	switch errorNumber(err) {
	case 1040, 1203, 1226, // too many connections, also of one user, or another limit of that user
		1047,                   // a node of a Galera cluster that is not ready
		1053,                   // the server is shutting down
		1158, 1159, 1160, 1161, // the network between client and server, or between servers
		1205,       // timeout of a lock
		1213,       // a deadlock
		1020, 1412, // a row, or the table's definition, has changed since the transaction began
		1180, 3101, // another server of a cluster has committed the same rows
		1290, 1836, // the server is read-only, as during a failover
		1317,       // the statement was killed
		1615,       // a prepared statement whose table has changed
		1927, 4031: // the connection was killed, or idle for too long
		return dataflow.Transient(err)
	case 0:
		if sqlitePasses(err) {
			return dataflow.Transient(err)
		}
	}
	return lost(ctx, err)
}

// sqlitePasses asks the package of SQLite, because the client's own may be for another database. It looks at the error
// alone.
func sqlitePasses(err error) bool {
	store, serr := dataflowsqlite.New(new(sql.DB)).Store(dataflow.StoreOptions{})
	return serr == nil && store.Classify(err).Passes()
}

// ofMySQLRows reports whether MySQL or MariaDB refuses what rows hold: values that do not fit, keys,
// checks, and what triggers say.
func ofMySQLRows(err error) bool {
	switch errorNumber(err) {
	case 1048, // a NULL
		1062, 1169, 1586, // a key that is there already
		1216, 1217, 1451, 1452, 1761, 1762, // a foreign key, also of a change that it cascades
		1118,             // a row that is too long for a page
		3819, 4025, 1369, // a check, also that of a view
		1526,             // no partition
		1644,             // a signal of a trigger
		1264, 1690, 1441, // out of range
		1265, 1292, 1366, 1367, 1406, 1411, // no value of the type, or too long
		1365, 1416, 3140, 3141: // a division by zero, geometries, JSON
		return true
	default:
		return false
	}
}

func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// clockQuery asks a MySQL session for one moment in winter and one in summer.
const clockQuery = `select from_unixtime(1704067200), from_unixtime(1719792000)`

// checkClock returns an error unless a MySQL session uses the time zone that the
// driver assumes for timestamp columns. It needs parseTime.
func checkClock(ctx context.Context, q queryer) error {
	_, err := clockOf(ctx, q)
	return err
}

// clockOf is checkClock, and returns the time zone.
func clockOf(ctx context.Context, q queryer) (*time.Location, error) {
	var winter, summer any
	if err := q.QueryRowContext(ctx, clockQuery).Scan(&winter, &summer); err != nil {
		return nil, err
	}
	w, isTime := winter.(time.Time)
	s, _ := summer.(time.Time)
	switch {
	case !isTime:
		return nil, dataflow.Permanent(errParseTime)
	case w.Unix() != 1704067200 || s.Unix() != 1719792000:
		return nil, dataflow.Permanent(fmt.Errorf("the session's time_zone differs from the DSN's loc (%s), so its times would be shifted: "+
			"add time_zone=%%27%%2B00%%3A00%%27 to the DSN, and leave loc out", w.Location()))
	}
	return w.Location(), nil
}

// checkRepeated returns an error if a clock shows a time of a timestamp column twice, as when summer time ends. Between
// the server and its driver the time has no zone, and each takes it for one of the two.
func checkRepeated(t time.Time) error {
	if t.Location() == time.UTC {
		return nil
	}
	_, offset := t.Zone()
	start, end := t.ZoneBounds()
	repeated := false
	if !start.IsZero() {
		_, before := start.Add(-1).Zone()
		repeated = t.Sub(start) < time.Duration(before-offset)*time.Second
	}
	if !end.IsZero() {
		_, after := end.Zone()
		repeated = repeated || end.Sub(t) <= time.Duration(offset-after)*time.Second
	}
	if !repeated {
		return nil
	}
	return fmt.Errorf("the clock of the DSN's loc (%s) shows %s twice, and MySQL would take it for either: add time_zone=%%27%%2B00%%3A00%%27 to the DSN, and leave loc out",
		t.Location(), t.Format(time.DateTime))
}

// checkKeyClock returns an error unless a session is in UTC. In other zones, two
// moments have the same text when summer time ends.
func checkKeyClock(ctx context.Context, q queryer, column string) error {
	var winter, summer string
	if err := q.QueryRowContext(ctx, `select cast(from_unixtime(1704067200) as char), cast(from_unixtime(1719792000) as char)`).Scan(&winter, &summer); err != nil {
		return err
	}
	if !strings.HasPrefix(winter, "2024-01-01 00:00:00") || !strings.HasPrefix(summer, "2024-07-01 00:00:00") {
		return dataflow.Permanent(fmt.Errorf("key column %q is a timestamp, which is in the order of time only if the session is in UTC: add time_zone=%%27%%2B00%%3A00%%27 to the DSN", column))
	}
	return nil
}

// checkKeyCharset checks that the session takes and returns each character as it is. In another
// character set, a key would be taken for one that the table does not have. It also checks that an
// empty text is not NULL: no key is greater than that.
func checkKeyCharset(ctx context.Context, q queryer, column string) error {
	var client, connection, results, mode string
	if err := q.QueryRowContext(ctx, `select @@character_set_client, @@character_set_connection, coalesce(@@character_set_results, ' '), @@sql_mode`).Scan(&client, &connection, &results, &mode); err != nil {
		return err
	}
	if strings.Contains(mode, "EMPTY_STRING_IS_NULL") {
		return dataflow.Permanent(fmt.Errorf("key column %q is a text, and the session's sql_mode has EMPTY_STRING_IS_NULL: no rows would be found after an empty key: take it out of sql_mode in the DSN", column))
	}
	if client != "utf8mb4" || connection != "utf8mb4" || results != "utf8mb4" {
		return dataflow.Permanent(fmt.Errorf("key column %q is a text, and the session's character set is %s: it changes other characters: add charset=utf8mb4 to the DSN", column, client))
	}
	return nil
}

// checkTextCharset checks that the session returns each character of a text as it is. In another character set, the
// server puts a question mark for a character that the set does not have.
func checkTextCharset(ctx context.Context, q queryer) error {
	var results string
	if err := q.QueryRowContext(ctx, `select coalesce(@@character_set_results, 'binary')`).Scan(&results); err != nil {
		return err
	}
	if results != "utf8mb4" {
		return dataflow.Permanent(fmt.Errorf("the session returns texts in the character set %s, in which other characters become question marks: add charset=utf8mb4 to the DSN", results))
	}
	return nil
}

// textColumn returns the name of a column that holds a text, among those with these names, or "".
func textColumn(columns []*sql.ColumnType, names []string) string {
	for _, c := range columns {
		if slices.Contains(names, c.Name()) && slices.Contains([]string{"CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM", "SET", "JSON"}, c.DatabaseTypeName()) {
			return c.Name()
		}
	}
	return ""
}

// sqlTx is a *sql.Tx, or the *sql.Conn of a transaction.
type sqlTx interface {
	queryer
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// queryer is a *sql.DB or a *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
