// Package keyrange is what the two sides of a comparison of keys agree on: ranges of keys, the
// canonical text of each value, and hashes that databases of different kinds compute alike.
package keyrange

import "context"

// Key are the values of a key's columns, each in its canonical text; see [Kind].
type Key = []string

// Range are the keys that are greater than After and not greater than Until, in the order of the
// side that is asked. Nil has no limit.
type Range struct {
	After Key `json:"after,omitempty"`
	Until Key `json:"until,omitempty"`
}

// Sum is what tells two equal ranges.
type Sum struct {
	Rows int64  // the number of keys
	Hash uint64 // the sum of their hashes, modulo 2^64
}

// Kind is what the values of a column are. It says which canonical text they have.
type Kind string

// The kinds of columns.
const (
	Integer     Kind = "integer"     // -17
	Numeric     Kind = "numeric"     // 0.5, without zeros at the end
	Text        Kind = "text"        // the text
	UUID        Kind = "uuid"        // with four hyphens, in lower case
	Bytes       Kind = "bytes"       // hexadecimal, in lower case
	Date        Kind = "date"        // days since 2000-01-01, as 8 hexadecimal digits
	Timestamp   Kind = "timestamp"   // microseconds since 2000-01-01, as 16 hexadecimal digits
	TimestampTZ Kind = "timestamptz" // the same, in UTC
	Literal     Kind = "any"         // 17, 'text', x'00ff': a column of SQLite may hold any of them
)

// CodePoints is the order of texts by the numbers of their characters, which is that of their bytes
// in UTF-8; see [Column].
const CodePoints = "C"

// AllDigits are the digits of a column that keeps all of a number; see [Column].
const AllDigits = 1 << 20

// Column is a column of a key.
type Column struct {
	Name string
	Type string // its type in the database, for errors
	Kind Kind
	// Own is what the side compares a given key as. Empty: as Kind.
	Own Kind
	// Loose says why different texts may be equal in the column: "" if they never are.
	Loose string
	// Affinity is what a column of SQLite stores values as: "number", "text", "time", or "" as they are.
	Affinity string
	// Order names the order of texts. Two columns with the same name order texts alike. "": it is not known.
	Order string
	// Digits are how many digits after the point a number or a time of the column keeps.
	Digits int
	// Hides is true if the database may hide rows of the table from the role.
	Hides bool
}

// Plan is how one side is read.
type Plan struct {
	// Kinds are what both sides take the columns for. Own is what the side compares a given
	// key as: text where the other side has uuid.
	Kinds, Own []Kind
	Hash       Hash // which both sides compute
	// Ordered is true if both sides have the keys in the same order.
	Ordered bool
	// Unmarked is the column that is NULL in the rows that are compared. "": all are.
	Unmarked string
}

// Side reads the keys of a table. Its methods may be called at the same time.
type Side interface {
	// Columns looks up the columns of the key, in its order, and the hashes that the database
	// computes, the fastest first.
	Columns(ctx context.Context) ([]Column, []Hash, error)
	// Estimate returns about how many keys the side has. ok is false if it cannot tell without reading them.
	Estimate(ctx context.Context, p *Plan) (rows int64, ok bool, err error)
	// Sum counts the keys of a range, and adds up their hashes.
	Sum(ctx context.Context, p *Plan, r Range) (Sum, error)
	// Cut returns every step-th key of a range in the side's order, at most most of them.
	Cut(ctx context.Context, p *Plan, r Range, step, most int64) ([]Key, error)
	// List returns up to most keys of a range, in any order.
	List(ctx context.Context, p *Plan, r Range, most int) ([]Key, error)
	// Find reports for each key whether the side has it, as the side compares keys.
	Find(ctx context.Context, p *Plan, keys []Key) ([]bool, error)
}

// Removal is what a remover does to the keys that are gone.
type Removal struct {
	// Mark is the column that gets the time. Empty: the row is deleted.
	Mark string
	// Plan returns the target's plan.
	Plan func(ctx context.Context) (*Plan, error)
	// Alive asks the source for each key whether it is there.
	Alive func(ctx context.Context, keys []Key) ([]bool, error)
}

// StillGone returns the keys that the source does not have now. The remover calls it after it has
// locked the rows of the target. While a slow source is asked, ping lets the target's server know that
// this process is alive; nil for a server that does not end silent transactions.
func (r *Removal) StillGone(ctx context.Context, keys []Key, ping func(ctx context.Context) error) ([]Key, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var alive []bool
	err := pinging(ctx, ping, func(ctx context.Context) (err error) {
		alive, err = r.Alive(ctx, keys)
		return err
	})
	if err != nil {
		return nil, err
	}
	var gone []Key
	for i, k := range keys {
		if !alive[i] {
			gone = append(gone, k)
		}
	}
	return gone, nil
}
