// Package sqlitetest tests connector/sqltable and dataflowsqlite with the three SQLite libraries for Go:
// modernc.org/sqlite, github.com/mattn/go-sqlite3 and github.com/ncruces/go-sqlite3. It is a module of
// its own, so that nobody else needs them. The second one needs a C compiler.
//
// Each library has a package, because the second and the third cannot be linked into one program: both
// register a driver "sqlite3", which panics.
package sqlitetest
