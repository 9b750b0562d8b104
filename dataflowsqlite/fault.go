package dataflowsqlite

import (
	"errors"
	"reflect"
	"strings"

	"github.com/activedataflow/dataflow"
)

// Errors are classified by SQLite's result code. Each SQLite library has its own error type, and this
// package links none of them: modernc.org/sqlite has a method Code, ncruces/go-sqlite3 has Code and
// ExtendedCode, and mattn/go-sqlite3 has fields of these names. Of an error without a code, the
// message decides, which is SQLite's own.

// The primary result codes, which are the lowest byte of the extended ones.
const (
	codeBusy       = 5
	codeLocked     = 6
	codeReadOnly   = 8
	codeIOErr      = 10
	codeFull       = 13
	codeCantOpen   = 14 // for example, the process has no file descriptors left
	codeProtocol   = 15 // the locks of the write-ahead log
	codeTooBig     = 18
	codeConstraint = 19
	codeMismatch   = 20
)

// The extended codes of a unique key that exists: of a primary key, a unique index and a rowid.
const (
	codePrimaryKey = codeConstraint | 6<<8
	codeUnique     = codeConstraint | 8<<8
	codeRowID      = codeConstraint | 10<<8
)

// resultCode returns SQLite's result code of an error, extended if the library tells it.
func resultCode(err error) (int, bool) {
	for ; err != nil; err = unwrapped(err) {
		v := reflect.ValueOf(err)
		t := v.Type()
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if !strings.Contains(t.PkgPath(), "sqlite") {
			continue
		}
		for _, name := range []string{"ExtendedCode", "Code"} {
			if code, ok := number(v, name); ok && code != 0 {
				return code, true
			}
		}
	}
	return 0, false
}

func unwrapped(err error) error {
	switch err := err.(type) { //nolint:errorlint // it goes through the chain itself
	case interface{ Unwrap() error }:
		return err.Unwrap()
	case interface{ Unwrap() []error }:
		for _, one := range err.Unwrap() {
			if _, ok := resultCode(one); ok {
				return one
			}
		}
	}
	return nil
}

// number calls a method without parameters, or reads a field, that is a number.
func number(v reflect.Value, name string) (int, bool) {
	value := reflect.Value{}
	if m := v.MethodByName(name); m.IsValid() && m.Type().NumIn() == 0 && m.Type().NumOut() == 1 {
		value = m.Call(nil)[0]
	} else if v = reflect.Indirect(v); v.Kind() == reflect.Struct {
		value = v.FieldByName(name)
	}
	switch {
	case !value.IsValid():
		return 0, false
	case value.CanInt():
		return int(value.Int()), true
	case value.CanUint():
		return int(value.Uint()), true //nolint:gosec // a result code has two bytes
	default:
		return 0, false
	}
}

func isUniqueViolation(err error) bool {
	if err == nil {
		return false
	}
	switch code, known := resultCode(err); {
	case code == codePrimaryKey, code == codeUnique, code == codeRowID:
		return true
	case known && code>>8 != 0:
		return false
	}
	return strings.Contains(err.Error(), "UNIQUE constraint failed")
}

// Classify returns what kind of database failure an error is.
func (s *store) Classify(err error) dataflow.Fault {
	var ended *endedError
	if errors.As(err, &ended) {
		return dataflow.FaultOther
	}
	if code, known := resultCode(err); known {
		switch code & 0xff {
		case codeBusy, codeLocked:
			return dataflow.FaultConflict
		case codeIOErr, codeFull, codeReadOnly, codeCantOpen, codeProtocol:
			return dataflow.FaultUnavailable
		case codeConstraint, codeMismatch, codeTooBig:
			return dataflow.FaultData
		default:
			return dataflow.FaultOther
		}
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "database is locked"), strings.Contains(text, "database table is locked"):
		return dataflow.FaultConflict
	case strings.Contains(text, "disk I/O error"), strings.Contains(text, "database or disk is full"), strings.Contains(text, "unable to open database file"),
		strings.Contains(text, "attempt to write a readonly database"), strings.Contains(text, "locking protocol"):
		return dataflow.FaultUnavailable
	case strings.Contains(text, "constraint failed"), strings.Contains(text, "datatype mismatch"), strings.Contains(text, "string or blob too big"):
		return dataflow.FaultData
	default:
		return dataflow.FaultOther
	}
}
