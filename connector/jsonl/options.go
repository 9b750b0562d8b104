package jsonl

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// defaultMaxLineBytes is the default of Options.MaxLineBytes.
const defaultMaxLineBytes = 16 << 20

// Options are the optional settings of a source. The zero value is ready to use.
type Options struct {
	// Key is the field of each record that names it, such as "id". Dead letters have the name. A
	// later line with the same name resolves the dead letter when it is written, so
	// that no replay puts the earlier line over the later one. Empty, and a line without the
	// field, mean the line's place in the file.
	Key string

	// Strict makes a record bad if it has a field that T lacks. False ignores such
	// fields.
	Strict bool

	// MaxLineBytes makes a record bad if its line is longer. Such a line is not
	// loaded into memory. 0 means 16 MiB.
	MaxLineBytes int64

	// Partial says what a read does with a last line that has no line break. The zero
	// value is [Leave]. A stream ([From], [FromFunc]) is read to its end.
	Partial Partial

	// Rest is how long a file must be unchanged for its last line to count as whole
	// without a line break. 0 means one minute.
	Rest time.Duration

	// SkipUnreadable goes on to the next file of a pattern if a file cannot be opened or
	// read. The file counts as one bad record, with its name as the key. Once a record of a
	// later file is written, no run reads it again. False ends the read with the error, as does an error
	// that should pass and is about more than the file, such as that of a server that is away.
	SkipUnreadable bool
}

// Partial says what a read does with a last line that has no line break. csvfile and
// jsonl share the type.
type Partial = files.Partial

const (
	// Leave leaves the line for a later read, until it has its line break or the file has
	// rested. Of several files, the later ones are read after that. Another program may
	// still be writing the line.
	Leave = files.Leave
	// Take reads the line as it is.
	Take = files.Take
)

// withDefaults returns a copy with all zero values filled in.
func (o *Options) withDefaults() Options {
	if o == nil {
		o = &Options{}
	}
	filled := *o
	filled.MaxLineBytes = cmp.Or(o.MaxLineBytes, defaultMaxLineBytes)
	filled.Rest = cmp.Or(o.Rest, files.DefaultRest)
	return filled
}

func (o *Options) validate() error {
	errs := []error{o.Partial.Validate(o.Rest)}
	wrong := func(field, reason string, args ...any) {
		errs = append(errs, &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
	}
	if o.MaxLineBytes < 0 {
		wrong("MaxLineBytes", "%d is negative: use 1 or more, or 0 for %d", o.MaxLineBytes, int64(defaultMaxLineBytes))
	}
	return errors.Join(errs...)
}
