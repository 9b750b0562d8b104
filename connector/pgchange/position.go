package pgchange

import (
	"fmt"
	"slices"

	"github.com/jackc/pglogrepl"
)

// LSN is a place in Postgres' log. Its text is that of Postgres, such as "16/B374D848".
type LSN uint64

// String returns the text of Postgres.
func (l LSN) String() string { return pglogrepl.LSN(l).String() }

// MarshalText returns the text of Postgres.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads the text of Postgres.
func (l *LSN) UnmarshalText(text []byte) error {
	at, err := pglogrepl.ParseLSN(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a place in Postgres' log, such as 16/B374D848", text)
	}
	*l = LSN(at)
	return nil
}

// Position is the cursor of a stream: what was read of the log, and of the tables' first load.
type Position struct {
	// LSN is the end of the last transaction that was read to its end. All that was committed
	// before it was read.
	LSN LSN `json:"lsn"`
	// Commit, Changes and Change are set in the middle of a large transaction: the LSN of its
	// commit, how many of its changes were read, and the LSN of the last one.
	Commit  LSN   `json:"commit,omitempty"`
	Changes int64 `json:"changes,omitempty"`
	Change  LSN   `json:"change,omitempty"`
	// System and Timeline are of the server. If they are empty, they are not checked.
	System   string `json:"system,omitempty"`
	Timeline int32  `json:"timeline,omitempty"`
	// Loaded are the tables whose rows are loaded, or need not be.
	Loaded []string `json:"loaded,omitempty"`
	// Table is the table that is loaded in part, and After is the key of the last row that was
	// loaded of it. Nil: none was.
	Table string   `json:"table,omitempty"`
	After []string `json:"after,omitempty"`
}

// unloaded returns the next table to load, nil if there is none. One that is loaded in part
// comes first, because After is of it, even if another was added meanwhile.
func (p *Position) unloaded(tables []*table) *table {
	for _, t := range tables {
		if t.name == p.Table && !slices.Contains(p.Loaded, t.name) {
			return t
		}
	}
	for _, t := range tables {
		if !slices.Contains(p.Loaded, t.name) {
			return t
		}
	}
	return nil
}
