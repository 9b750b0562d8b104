package dataflow

import (
	"errors"
	"reflect"
	"runtime/debug"
	"strings"
)

// errorPrefix begins every message that leaves the library, once.
const errorPrefix = "dataflow: "

// publicError is an error that leaves the library.
type publicError struct{ err error }

func (e *publicError) Error() string { return errorPrefix + e.err.Error() }
func (e *publicError) Unwrap() error { return e.err }

// public puts the library's name before an error's message, unless it is there already.
func public(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), errorPrefix) {
		return err
	}
	return &publicError{err: err}
}

// private removes the library's name from an error that is to be wrapped in another.
func private(err error) error {
	if p, ok := err.(*publicError); ok { //nolint:errorlint // the outermost alone
		return p.err
	}
	return err
}

// foreignError hides ErrFenced and ErrStopped in an error of the user's code. These two
// are the engine's to say. The user's code may return those of another client.
type foreignError struct{ err error }

// foreign marks an error as one of the user's code. err may be nil.
func foreign(err error) error {
	if errors.Is(err, ErrFenced) || errors.Is(err, ErrStopped) {
		return &foreignError{err: err}
	}
	return err
}

func (e *foreignError) Error() string { return e.err.Error() }

// Is and As replace Unwrap, which would let errors.Is find the two.
func (e *foreignError) Is(target error) bool {
	return target != ErrFenced && target != ErrStopped && errors.Is(e.err, target)
}

func (e *foreignError) As(target any) bool { return errors.As(e.err, target) }

// guard turns a panic of fn into an error with its stack.
func guard(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: string(debug.Stack())}
		}
	}()
	return fn()
}

// isNil reports whether v is nil, or an interface around nil.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan, reflect.Interface:
		return rv.IsNil()
	default:
		return false
	}
}

// validate checks a part of a flow.
func validate(field string, v any) error {
	if isNil(v) {
		return &ConfigError{Field: field, Reason: "it is nil"}
	}
	if val, ok := v.(Validator); ok {
		return errors.Join(prefixed(field, val.Validate())...)
	}
	return nil
}
