// Package mysqltest holds the tests of package sqltable with MySQL and MariaDB, in a
// module of its own, so that nobody who uses the library has their driver among his
// dependencies.
package mysqltest
