package jsonl

import (
	"cmp"
	"fmt"

	"github.com/activedataflow/dataflow"
)

// defaultMaxLineBytes is the default of Options.MaxLineBytes.
const defaultMaxLineBytes = 16 << 20

// Options are the optional settings of a source. The zero value is ready to use.
type Options struct {
	// Strict makes a record bad if it has a field that T lacks. False ignores such
	// fields.
	Strict bool

	// MaxLineBytes makes a record bad if its line is longer. Such a line is not
	// loaded into memory. 0 means 16 MiB.
	MaxLineBytes int64
}

// withDefaults returns a copy with all zero values filled in.
func (o *Options) withDefaults() Options {
	if o == nil {
		o = &Options{}
	}
	filled := *o
	filled.MaxLineBytes = cmp.Or(o.MaxLineBytes, defaultMaxLineBytes)
	return filled
}

func (o *Options) validate() error {
	if o.MaxLineBytes < 0 {
		return &dataflow.ConfigError{Field: "MaxLineBytes", Reason: fmt.Sprintf("%d is negative: use 1 or more, or 0 for %d", o.MaxLineBytes, int64(defaultMaxLineBytes))}
	}
	return nil
}
