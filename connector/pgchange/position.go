package pgchange

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

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
	// At is when the last of it was committed, by the clock of the server, or when the server
	// said that there is nothing more.
	At time.Time `json:"at,omitzero"`
	// Last is when the last change was committed that was read, by the clock of the server. Zero:
	// none was.
	Last time.Time `json:"last,omitzero"`
	// Creating is true from before the slot is created until the stream begins. A slot that is
	// there then is this flow's.
	Creating bool `json:"creating,omitempty"`
	// Commit, Changes and Change are set in the middle of a large transaction: the LSN of its
	// commit, how many of its changes were read, and the LSN of the last one.
	Commit  LSN   `json:"commit,omitempty"`
	Changes int64 `json:"changes,omitempty"`
	Change  LSN   `json:"change,omitempty"`
	// Sent is the LSN of the commit of the last transaction that the server sent, or where the slot
	// began, and SentAt its time by the clock of the server. The next read sees by them whether the
	// server still has the log that was read. 0: not known. Leave both out of a cursor that you set.
	Sent   LSN       `json:"sent,omitempty"`
	SentAt time.Time `json:"sent_at,omitzero"`
	// System and Timeline are of the server. If they are empty, they are not checked.
	System   string `json:"system,omitempty"`
	Timeline int32  `json:"timeline,omitempty"`
	// Loaded are the tables whose rows are loaded, or need not be. The value is how Postgres
	// knows the table and its part in the publication (their oids). A table of which that has
	// changed was made anew, or was not published for a while: it is loaded again. Empty: not
	// known yet.
	Loaded Loaded `json:"loaded,omitempty"`
	// Publication is which version of the publication was read. If it is another one, changes may
	// be missing, and all tables are loaded again. Empty: not known yet.
	Publication string `json:"publication,omitempty"`
	// Table is the table that is loaded in part, TableID what Loaded will say of it, with its key
	// (empty: not known yet), and After the key of the last row that was loaded. Nil: none was.
	Table   string   `json:"table,omitempty"`
	TableID string   `json:"table_id,omitempty"`
	After   []string `json:"after,omitempty"`
}

// Loaded are tables by their name, and how Postgres knows each: see [Position].
type Loaded map[string]string

// UnmarshalJSON also reads a list of names, as cursors had it at first.
func (l *Loaded) UnmarshalJSON(data []byte) error {
	var names []string
	if json.Unmarshal(data, &names) != nil {
		return json.Unmarshal(data, (*map[string]string)(l))
	}
	*l = make(Loaded)
	for _, name := range names {
		(*l)[name] = ""
	}
	return nil
}

const (
	// left, as the value of a table in Loaded, says that its changes are not read for the time being.
	left = "left"
	// altered says that the publication was altered. No cursor has it that is yielded.
	altered = "altered"
)

// begins is where a read begins: at the last transaction that was sent, to see that it is still there.
func (p *Position) begins() LSN {
	if p.Sent == 0 {
		return p.LSN
	}
	return min(p.Sent, p.LSN)
}

// isLoaded reports whether a table needs no load any more.
func (p *Position) isLoaded(t *table) bool {
	id, is := p.Loaded[t.name]
	return is && (t.is(id) || id == "")
}

// begun reports whether rows or changes of a table have been read, or of one that had its name.
func (p *Position) begun(t *table) bool {
	_, loaded := p.Loaded[t.name]
	return loaded || p.Table == t.name
}

// replaced reports whether changes may be missing between what was read of a table and what is
// to be read: it is another one, or another version of the publication sends it, or it was not
// read for a while, or its load went by another key.
func (p *Position) replaced(t *table) bool {
	if id, loaded := p.Loaded[t.name]; loaded {
		return !t.is(id) && id != ""
	}
	return p.Table == t.name && !t.isPart(p.TableID) && p.TableID != ""
}

// publish notes which version of the publication is read. If it is another one, all tables are
// loaded again.
func (p *Position) publish(id string) {
	if p.Publication != "" && p.Publication != id {
		p.Loaded = maps.Clone(p.Loaded)
		for name := range p.Loaded {
			if p.Loaded[name] != left {
				p.Loaded[name] = altered
			}
		}
		if p.Table != "" {
			p.TableID = altered
		}
		p.Sent = 0 // it may not be sent by this one
	}
	p.Publication = id
}

// moved returns the names of tables whose rows are read by other names now: the table was renamed, or the
// publication was altered, perhaps to send a partitioned table by its root.
func (p *Position) moved(tables []*table) []string {
	others := slices.DeleteFunc(slices.Clone(tables), p.begun)
	by := func(name, id string, is func(*table, string) bool) bool {
		return !slices.ContainsFunc(tables, func(t *table) bool { return t.name == name }) &&
			slices.ContainsFunc(others, func(t *table) bool { return id == altered || is(t, id) })
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.Loaded)) {
		if by(name, p.Loaded[name], (*table).is) {
			names = append(names, name)
		}
	}
	if p.Table != "" && by(p.Table, p.TableID, (*table).isPart) {
		names = append(names, p.Table)
	}
	return names
}

// leave notes that the tables that were read before are not read any more, but for those given.
// It returns their names. When one of them returns, it is loaded again.
func (p *Position) leave(tables []*table) []string {
	var names []string
	read := func(name string) bool {
		return slices.ContainsFunc(tables, func(t *table) bool { return t.name == name })
	}
	for _, name := range slices.Sorted(maps.Keys(p.Loaded)) {
		if p.Loaded[name] != left && !read(name) {
			names = append(names, name)
		}
	}
	if p.Table != "" && !read(p.Table) {
		names = append(names, p.Table)
		p.Table, p.TableID, p.After = "", "", nil
	}
	if names != nil {
		p.Loaded = maps.Clone(p.Loaded) // that of a cursor that was yielded stays
		if p.Loaded == nil {
			p.Loaded = make(Loaded)
		}
	}
	for _, name := range names {
		p.Loaded[name] = left
	}
	return names
}

// begin notes that the load of a table begins.
func (p *Position) begin(t *table) {
	if p.Table != t.name || p.TableID == "" {
		p.Table, p.TableID = t.name, t.partID()
	}
}

// load notes that a table needs no load any more.
func (p *Position) load(t *table) {
	if p.Loaded[t.name] != t.id {
		p.Loaded = maps.Clone(p.Loaded) // that of a cursor that was yielded stays
		if p.Loaded == nil {
			p.Loaded = make(Loaded)
		}
		p.Loaded[t.name] = t.id
	}
	if p.Table == t.name { // else another is loaded in part
		p.Table, p.TableID, p.After = "", "", nil
	}
}

// unload notes that a table must be loaded from its beginning.
func (p *Position) unload(t *table) {
	p.Loaded = maps.Clone(p.Loaded)
	delete(p.Loaded, t.name)
	if p.Table == t.name {
		p.Table, p.TableID, p.After = "", "", nil
	}
}

// unloaded returns the next table to load, nil if there is none. One that is loaded in part
// comes first, because After is of it, even if another was added meanwhile.
func (p *Position) unloaded(tables []*table) *table {
	for _, t := range tables {
		if t.name == p.Table && !p.isLoaded(t) {
			return t
		}
	}
	for _, t := range tables {
		if !p.isLoaded(t) {
			return t
		}
	}
	return nil
}
