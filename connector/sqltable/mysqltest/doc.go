// Package mysqltest tests package sqltable with MySQL and MariaDB. It is a module
// of its own, so that the library does not depend on their driver.
package mysqltest
