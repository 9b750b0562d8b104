package csvfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// defaultMaxRecordBytes is the default of Options.MaxRecordBytes.
const defaultMaxRecordBytes = 16 << 20

// Options are the optional settings of [Open]. The zero value is ready to use.
type Options struct {
	// Key is the name of the column that names each record, such as "id". Dead letters have the
	// name. A later record with the same name resolves the dead letter when it is
	// written, so that no replay puts the earlier record over the later one. Empty, and an empty
	// cell, mean the record's place in the file.
	Key string

	// Comma separates the cells of a record. 0 means a comma, unless the first line of the
	// file names another character, such as "sep=;". An Options value with another Comma
	// than such a line is an error.
	Comma rune

	// Comment begins a line that is skipped. 0 means that there are no comments.
	Comment rune

	// Quote encloses a cell that holds separators or line breaks. Within the cell it is
	// doubled. 0 means '"'. [None] means that the file has no quotes: a '"' is text.
	Quote rune

	// Escape makes the Quote, a line break or itself part of a quoted cell. If Quote is None,
	// it makes the Comma, a line break, a '"', a "'" or itself part of a cell. Then \b, \f, \n, \r,
	// \t and \v are control characters, and \0 is NUL, as Postgres and MySQL write them. Before any
	// other character it is text, so that \N stays \N. 0 means that there is none.
	Escape rune

	// LazyQuotes reads cells with misplaced quotes in place of making their records bad.
	// A quote in a cell that does not begin with one is text. In a cell that begins with
	// one, a quote is text if another one on the line ends the cell. If none does, the
	// cell ends at the quote, and what follows up to the Comma belongs to it.
	LazyQuotes bool

	// SurplusEmpty accepts a record with more cells than the header, if the surplus ones
	// are empty, and one with fewer, if the header's names for them are empty. False makes
	// it bad.
	SurplusEmpty bool

	// SkipLines is the number of lines before the header, such as a title. Blank lines
	// count.
	SkipLines int

	// HeaderAt is the name of a column. The lines before the first record that has a cell
	// with this text are skipped; that record is the header. Empty means that the first
	// record is the header.
	HeaderAt string

	// SkipRepeatedHeader leaves out records that repeat the header, as in files that were
	// put together from several. False makes them bad.
	SkipRepeatedHeader bool

	// Footer is how the first cell of the file's last lines begins, such as "Total". That
	// record and all after it are left out, and are not counted. Empty means that there is
	// none.
	Footer string

	// TimeLayouts are layouts of [time.Parse] for the cells of a time.Time, tried
	// in this order. A layout in the field's tag replaces all of them. Empty means
	// [time.RFC3339], [time.DateTime] and [time.DateOnly]. A cell without a zone is in
	// UTC. A cell whose zone is an abbreviation other than UTC and GMT is a bad record:
	// package time would take EST for UTC on most machines.
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

	sepMayDiffer bool // Comma is the default
}

// None is the Quote of files without quotes.
const None rune = -1

// Partial says what a read does with a last line that has no line break, or a quote
// that is not closed. csvfile and
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
	filled.Comma = cmp.Or(o.Comma, ',')
	filled.sepMayDiffer = o.Comma == 0
	filled.Quote = cmp.Or(o.Quote, '"')
	filled.Rest = cmp.Or(o.Rest, files.DefaultRest)
	filled.MaxRecordBytes = cmp.Or(o.MaxRecordBytes, defaultMaxRecordBytes)
	filled.TimeLayouts = slices.Clone(o.TimeLayouts)
	filled.Null = slices.Clone(o.Null)
	if o.Null == nil {
		filled.Null = []string{""}
	}
	return filled
}

func (o *Options) validate() error {
	errs := []error{o.Partial.Validate(o.Rest)}
	wrong := func(field, reason string, args ...any) {
		errs = append(errs, &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
	}
	if !validDelimiter(o.Comma) {
		wrong("Comma", "%q cannot separate cells: use a character that is neither a quote nor a line break", o.Comma)
	}
	if o.Quote != None && (o.Quote <= ' ' || o.Quote >= utf8.RuneSelf || o.Quote != '"' && (o.Quote == o.Comma || o.Quote == o.Comment)) {
		wrong("Quote", "%q cannot enclose cells: use an ASCII character that is neither a space nor the Comma nor the Comment, or None", o.Quote)
	}
	if o.Escape != 0 && (o.Escape <= ' ' || o.Escape >= utf8.RuneSelf || o.Escape == o.Comma || o.Escape == o.Comment) {
		wrong("Escape", "%q cannot escape: use an ASCII character that is neither a space nor the Comma nor the Comment", o.Escape)
	}
	if o.LazyQuotes && o.Quote == None {
		wrong("LazyQuotes", "it is set, but Quote is None: there are no quotes")
	}
	if o.SkipLines < 0 {
		wrong("SkipLines", "%d is negative: use the number of lines before the header", o.SkipLines)
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
