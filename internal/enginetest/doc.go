// Package enginetest holds the tests of the root package that need a database. It has no
// code but tests.
//
// Almost every test here runs on Postgres and on SQLite, as two subtests of onBoth, each on a
// fresh database. The root package keeps the tests that need none, so that go test . answers
// in seconds. A rule of the storage alone belongs in internal/drivertest.
package enginetest
