package dataflow

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// validate returns everything that is wrong with a declared flow.
func (f *Flow) validate() error {
	at := fmt.Sprintf("Flows[%q]", f.Name)
	var errs []error
	if err := validateName(f.Name); err != nil {
		errs = append(errs, &ConfigError{Field: at + ".Name", Reason: err.Error()})
	}
	if f.code == nil {
		return &ConfigError{Field: at, Reason: "it was not made by NewFlow: use NewFlow"}
	}
	if f.opts.MaxAttempts < 0 {
		errs = append(errs, &ConfigError{Field: at + ".MaxAttempts", Reason: fmt.Sprintf("%d is negative: use 1 or more, or 0 for %d", f.opts.MaxAttempts, defaultMaxAttempts)})
	}
	if n := f.opts.MaxBackfills; n < 0 || n > maxBackfills {
		errs = append(errs, &ConfigError{Field: at + ".MaxBackfills", Reason: fmt.Sprintf("%d is out of range: use 1 to %d, or 0 for backfills that take the place of the flow's own runs", n, maxBackfills)})
	}
	if w := f.opts.BatchWait; w < 0 || w > 0 && w < time.Millisecond {
		errs = append(errs, &ConfigError{Field: at + ".BatchWait", Reason: fmt.Sprintf("%s is less than a millisecond: use 1ms or more, or 0 for none", w)})
	}
	if w := f.opts.ReadTimeout; w > 0 && w < time.Millisecond {
		errs = append(errs, &ConfigError{Field: at + ".ReadTimeout", Reason: fmt.Sprintf("%s is less than a millisecond: use 1ms or more, 0 for the default, %s, or -1 for no limit", w, defaultReadTimeout)})
	}
	errs = append(errs, prefixed(at, f.validateFirstLoad())...)
	errs = append(errs, prefixed(at+".After", f.validateAfter())...)
	errs = append(errs, prefixed(at+".Runtime", f.validateRuntime())...)
	errs = append(errs, prefixed(at, f.code.validate())...)
	return errors.Join(errs...)
}

// validateFirstLoad returns what is wrong with the flow's FirstLoad.
func (f *Flow) validateFirstLoad() error {
	n := f.opts.FirstLoad
	bad := func(format string, args ...any) error {
		return &ConfigError{Field: "FirstLoad", Reason: fmt.Sprintf(format, args...)}
	}
	switch _, ok := f.Runtime.(TxRuntime); {
	case n == 0:
		return nil
	case n < 2 || n > MaxRanges:
		return bad("%d is out of range: use 2 to %d, or 0 for a first run that reads everything by itself", n, MaxRanges)
	case f.opts.MaxBackfills == 0:
		return bad("MaxBackfills is 0: set it to how many of the %d ranges are worked at once", n)
	case !ok:
		return bad("the type %T of its Runtime has no ExecuteTx to start the ranges with: add it (see TxRuntime)", f.Runtime)
	default:
		return f.code.checkFirstLoad()
	}
}

// validateAfter returns what is wrong with the flow's After.
func (f *Flow) validateAfter() error {
	a := f.opts.After
	if a == (After{}) {
		return nil
	}
	if err := validateName(a.Flow); err != nil {
		return &ConfigError{Field: "Flow", Reason: err.Error()}
	}
	if a.Flow == f.Name {
		return &ConfigError{Field: "Flow", Reason: "it is the flow itself: name another one"}
	}
	if _, ok := f.Runtime.(TxRuntime); !ok {
		return &ConfigError{Field: "Flow", Reason: fmt.Sprintf("the type %T of its Runtime has no ExecuteTx to start the run with: add it (see TxRuntime)", f.Runtime)}
	}
	return nil
}

// validateRuntime returns what is wrong with the flow's Runtime, in itself and for this
// flow.
func (f *Flow) validateRuntime() error {
	if err := validateRuntime(f.Runtime); err != nil {
		return err
	}
	s := f.Runtime.Settings()
	var errs []error
	if _, checked := f.Runtime.(Validator); !checked {
		errs = append(errs, s.Schedule.validate(s.Interval))
	}
	if n := s.Schedule.Overlap.policy().Slots; n > 1 && f.code.resumable() {
		errs = append(errs, &ConfigError{Field: "Schedule.Overlap", Reason: fmt.Sprintf(
			"OverlapAllow(%d) lets %d runs move one cursor: use OverlapSkip or another policy, or a source without a cursor", n, n)})
	}
	if n := s.Schedule.Overlap.policy().Slots; n > 1 && f.code.replaces() {
		errs = append(errs, &ConfigError{Field: "Schedule.Overlap", Reason: fmt.Sprintf(
			"OverlapAllow(%d) lets %d runs replace the same content: use OverlapSkip or another policy", n, n)})
	}
	if _, ok := f.Runtime.(TxRuntime); !ok && s.Schedule.RunAtRegistration {
		errs = append(errs, &ConfigError{Field: "Schedule.RunAtRegistration", Reason: fmt.Sprintf(
			"the type %T has no ExecuteTx to start that run with: add it (see TxRuntime), or leave RunAtRegistration out", f.Runtime)})
	}
	if _, ok := f.Runtime.(TxRuntime); !ok && s.scheduled() {
		errs = append(errs, &ConfigError{Field: "Interval", Reason: fmt.Sprintf(
			"the type %T has no ExecuteTx to start the runs of ticks with: add it (see TxRuntime), or return no Interval and no Cron in its Settings", f.Runtime)})
	}
	if len(errs) == 0 && s.scheduled() {
		errs = append(errs, f.validateStagger(s))
	}
	return errors.Join(errs...)
}

// validateStagger returns an error if Stagger shifts all ticks of this flow past the
// End of its schedule.
func (f *Flow) validateStagger(s RuntimeSettings) error {
	_, err := s.ticks(f.Name)
	var ce *ConfigError
	if !errors.As(err, &ce) || s.Schedule.Stagger == 0 {
		return err
	}
	return &ConfigError{Field: "Schedule.Stagger", Reason: fmt.Sprintf("it shifts the ticks of this flow by %s, and then %s: use less",
		schedule.Stagger(f.Name, s.Schedule.Stagger), ce.Reason)}
}

// prefixed puts the flow's name before the field of each error.
func prefixed(at string, err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range joined.Unwrap() {
			errs = append(errs, prefixed(at, e)...)
		}
		return errs
	}
	var ce *ConfigError
	if errors.As(err, &ce) {
		return []error{&ConfigError{Field: at + "." + ce.Field, Reason: ce.Reason}}
	}
	return []error{&ConfigError{Field: at, Reason: err.Error()}}
}

func validateName(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty: give each flow a name of 1 to 200 bytes")
	case len(name) > MaxNameLength:
		return fmt.Errorf("it has %d bytes: use at most %d", len(name), MaxNameLength)
	case !utf8.ValidString(name):
		return errors.New("it is not valid UTF-8: use UTF-8")
	case name == ".", name == "..":
		return errors.New("it would be another address in the path of a URL: use another name")
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("it holds the control character %U: leave it out", r)
		}
	}
	if name[0] == ' ' || name[len(name)-1] == ' ' {
		return errors.New("it begins or ends with a space: leave it out")
	}
	return nil
}
