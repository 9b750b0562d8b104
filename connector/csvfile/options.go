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
	// Comma separates the cells of a record. 0: a comma.
	Comma rune

	// Comment begins a line that is left out. 0: there are no comments.
	Comment rune

	// TimeLayouts are the layouts of [time.Parse] that the cell of a time.Time
	// may have, tried in this order. A layout in the field's tag takes the place
	// of all of them. Empty: [time.RFC3339], [time.DateTime] and [time.DateOnly].
	TimeLayouts []string

	// Null holds the texts of cells that mean null. Nil: the empty text alone.
	// Empty but not nil: no cell is null.
	Null []string

	// TrimSpace removes white space around cells and column names, also in
	// front of a cell's opening quote and within its quotes. False: it is part of them.
	TrimSpace bool

	// MaxRecordBytes ends the read at a record that is longer than about this,
	// so that a quote that is never closed does not draw a huge file into
	// memory. 0: 16 MiB.
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
		wrong("Comment", "%q is the Comma as well: use another character", o.Comment)
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

// validDelimiter is the rule of encoding/csv.
func validDelimiter(r rune) bool {
	return r != 0 && r != '"' && r != '\r' && r != '\n' && utf8.ValidRune(r) && r != utf8.RuneError
}

// checkLayout refuses a layout such as "YYYY-MM-DD", which would match that one
// text only.
func checkLayout(layout string) error {
	// No part of this moment is written like the same part of Go's reference time.
	other := time.Date(1999, time.December, 31, 23, 58, 59, 0, time.FixedZone("XYZ", 3600))
	if other.Format(layout) == layout {
		return fmt.Errorf("%q has no part of a time: write the layout of the moment %s", layout, time.DateTime)
	}
	return nil
}
