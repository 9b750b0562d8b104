package csvfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/activedataflow/dataflow"
)

// defaultMaxRecordBytes is the default of Options.MaxRecordBytes.
const defaultMaxRecordBytes = 16 << 20

// Options are the optional settings of [Open]. The zero value is ready to use.
type Options struct {
	// Comma separates the cells of a record. 0 means a comma.
	Comma rune

	// Comment begins a line that is skipped. 0 means that there are no comments.
	Comment rune

	// TimeLayouts are layouts of [time.Parse] for the cells of a time.Time, tried
	// in this order. A layout in the field's tag replaces all of them. Empty means
	// [time.RFC3339], [time.DateTime] and [time.DateOnly].
	TimeLayouts []string

	// Null lists the texts of a null cell. Nil means the empty text alone. Empty
	// but not nil means that no cell is null.
	Null []string

	// TrimSpace removes white space around column names and cells, both before an
	// opening quote and within the quotes. False keeps it as part of the text.
	TrimSpace bool

	// MaxRecordBytes ends the read at a record longer than about this many bytes.
	// It keeps a quote that is never closed from loading a huge file into memory. 0
	// means 16 MiB.
	MaxRecordBytes int64
}

// withDefaults returns a copy with all zero values filled in.
func (o *Options) withDefaults() Options {
	if o == nil {
		o = &Options{}
	}
	filled := *o
	filled.Comma = cmp.Or(o.Comma, ',')
	filled.MaxRecordBytes = cmp.Or(o.MaxRecordBytes, defaultMaxRecordBytes)
	filled.TimeLayouts = slices.Clone(o.TimeLayouts)
	filled.Null = slices.Clone(o.Null)
	if o.Null == nil {
		filled.Null = []string{""}
	}
	return filled
}

func (o *Options) validate() error {
	var errs []error
	wrong := func(field, reason string, args ...any) {
		errs = append(errs, &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
	}
	if !validDelimiter(o.Comma) {
		wrong("Comma", "%q cannot separate cells: use a character that is neither a quote nor a line break", o.Comma)
	}
	if o.Comment != 0 && !validDelimiter(o.Comment) {
		wrong("Comment", "%q cannot begin a comment: use a character that is neither a quote nor a line break", o.Comment)
	}
	if o.Comment == o.Comma {
		wrong("Comment", "%q is also the Comma: use another character", o.Comment)
	}
	for i, layout := range o.TimeLayouts {
		if err := checkLayout(layout); err != nil {
			wrong(fmt.Sprintf("TimeLayouts[%d]", i), "%v", err)
		}
	}
	if o.MaxRecordBytes < 0 {
		wrong("MaxRecordBytes", "%d is negative: use 1 or more, or 0 for %d", o.MaxRecordBytes, int64(defaultMaxRecordBytes))
	}
	return errors.Join(errs...)
}

// validDelimiter applies the rule of encoding/csv.
func validDelimiter(r rune) bool {
	return r != 0 && r != '"' && r != '\r' && r != '\n' && utf8.ValidRune(r) && r != utf8.RuneError
}

// checkLayout rejects a layout such as "YYYY-MM-DD", which would match only that
// exact text.
func checkLayout(layout string) error {
	// Every part of this moment is written differently from the same part of Go's
	// reference time.
	other := time.Date(1999, time.December, 31, 23, 58, 59, 0, time.FixedZone("XYZ", 3600))
	if other.Format(layout) == layout {
		return fmt.Errorf("%q has no part of a time: write the moment %s in your layout", layout, time.DateTime)
	}
	return nil
}
