// Package pgchange follows the changes of Postgres tables from the server's log, by logical
// replication.
package pgchange
