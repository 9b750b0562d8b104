package dataflow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strings"

	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/stored"
)

// openLetters are the records of the flow that have open dead letters, as one attempt knows
// them: a record that is written resolves its dead letter.
type openLetters struct {
	loaded     bool
	keys       map[string]struct{}
	identities map[string]struct{} // where the stored key may have escapes, because the database lacks a character
	many       bool                // too many to be kept here: any record may have one

	// Of the batch that is written now:
	hits    []placedKey    // the good records that have open dead letters
	bad     map[string]int // where in the batch each bad record comes last, by its key
	refused map[string]int // the same, of the records that the sink refuses
}

// placedKey is the key of a record, and its place in the batch.
type placedKey struct {
	key string
	at  int
}

// rowAt is the place of row i in its batch, and badAt that of a bad record which came after so
// many rows.
func rowAt(i int) int    { return 2*i + 1 }
func badAt(rows int) int { return 2 * rows }

// atEnd is a place after all records of a batch.
const atEnd = math.MaxInt

// openLimit is how many open dead letters an attempt looks at.
const openLimit = 100_000

func (o *openLetters) newBatch() { o.hits, o.bad, o.refused = nil, nil, nil }

// note notes a bad record of the batch.
func (o *openLetters) note(stage Stage, key string, at int) {
	places := &o.bad
	if stage == StageWrite {
		places = &o.refused
	}
	if *places == nil {
		*places = make(map[string]int)
	}
	key = stored.Clean(key)
	(*places)[key] = max((*places)[key], at)
}

// good reports whether the record at a place is good, and so is each later one of its key.
func (o *openLetters) good(r placedKey) bool {
	bad, isBad := o.bad[r.key]
	refused, isRefused := o.refused[r.key]
	return (!isBad || r.at > bad) && (!isRefused || r.at > refused)
}

// add notes an open dead letter. of returns the Identity of a record with its key. No record of this run has the
// Identity of a dead letter whose run had other parameters, or that is named by its content too.
func (o *openLetters) add(l DeadLetterIdentity, of func(key string) string) {
	if o.keys == nil {
		o.keys, o.identities = make(map[string]struct{}), make(map[string]struct{})
	}
	switch {
	case of(l.Key) == l.Identity:
		o.keys[l.Key] = struct{}{}
	case strings.Contains(l.Key, `\u`):
		o.identities[l.Identity] = struct{}{}
	}
}

// has reports whether the record with a key may have an open dead letter. As a rule the keys alone tell: to make
// the Identity of each record would take a tenth of a flow's time.
func (o *openLetters) has(key string, of func(key string) string) bool {
	_, has := o.keys[key]
	if !has && len(o.identities) > 0 {
		_, has = o.identities[of(key)]
	}
	return has || o.many
}

// identity is the Identity of the record with a key. Runs with other parameters read other
// records, which may have the same keys.
func (w *batchWriter) identity(key string) string {
	return hashed(key, w.a.run.Params)
}

func hashed(key string, more []byte) string {
	text := bytes.NewBufferString(key)
	if len(more) > 0 {
		_ = text.WriteByte(0)        // a buffer takes everything
		_ = json.Compact(text, more) // so does it JSON
	}
	sum := sha256.Sum256(text.Bytes())
	return hex.EncodeToString(sum[:16])
}

// positionKey matches a key that is but a number or a place in a page: "#7", "17#7", "page 3 record 7",
// "first call record 7". A key of a source's own, such as "order #7", is none.
var positionKey = regexp.MustCompile(`((^|[^ ])#|^(page|call|first call) (.* )?record )[0-9]+$`)

// numberKey matches a key that counts the records of a read.
var numberKey = regexp.MustCompile(`^(row|line) [0-9]+$`)

// counts reports whether a key is but the number of a record in the read of a source without
// a cursor. The next read may yield another record there.
func (p *flowCode) counts(key string) bool {
	return !p.resumable() && numberKey.MatchString(key)
}

// names reports whether a key names a record, in this attempt and any other.
func (p *flowCode) names(key string) bool {
	return key != "" && !positionKey.MatchString(key) && !p.counts(key) && (p.resumable() || key != stored.CursorText(NoCursor{}))
}

// lookForOpen finds the records of the batch that have open dead letters. The first batch of an
// attempt looks up those of the flow. A flow that keeps none is not asked.
func (w *batchWriter) lookForOpen(ctx context.Context) error {
	if w.a.flow.opts.OnBadRecord == nil || w.p.replaces() || w.batch.rows.len() == 0 {
		return nil
	}
	for after, seen := "", 0; !w.open.loaded; {
		letters, err := w.a.store.DeadLetterRecords(ctx, w.a.flow.ID, after, retryPage)
		if err != nil {
			return w.a.own(fmt.Errorf("look for open dead letters: %w", err))
		}
		for _, l := range letters {
			w.open.add(l, w.identity)
			after = l.Identity
		}
		seen += len(letters)
		w.open.many = seen >= openLimit
		w.open.loaded = w.open.many || len(letters) < retryPage
	}
	if !w.open.many && len(w.open.keys)+len(w.open.identities) == 0 {
		return nil
	}
	for i := range w.batch.rows.len() {
		key := stored.Clean(w.batch.key(i))
		if w.open.has(key, w.identity) && w.p.names(key) {
			w.open.hits = append(w.open.hits, placedKey{key, rowAt(i)})
		}
	}
	return nil
}

// resolveWritten resolves the open dead letters of records that the batch has written, or left
// out on purpose. A dead letter of the batch itself is resolved if a later record of its key is
// good: a replay would put the older record over it.
func (w *batchWriter) resolveWritten(ctx context.Context, q Queries, s *step) error {
	var identities []string
	resolved := make(map[string]bool)
	for _, hit := range append(w.hitsOfRefused(), w.open.hits...) {
		if w.open.good(hit) && !resolved[hit.key] {
			resolved[hit.key] = true
			identities = append(identities, w.identity(hit.key))
		}
	}
	if len(identities) == 0 {
		return nil
	}
	if err := batch.AwaitPredecessor(ctx); err != nil { // the batch before may have kept one of them
		return err
	}
	var letters, overtaken []*DeadLetterRecord
	for _, l := range s.letters {
		if resolved[l.Key] && w.p.names(l.Key) {
			overtaken = append(overtaken, l)
		} else {
			letters = append(letters, l)
		}
	}
	if len(overtaken) > 0 {
		if err := q.DeadLetterInsert(ctx, overtaken); err != nil {
			return w.a.own(fmt.Errorf("keep dead letters: %w", err))
		}
		s.letters = letters
	}
	return w.resolve(ctx, q, &DeadLetterCloseParams{Identities: identities})
}

// mayResolve reports whether the batch may have dead letters to resolve.
func (w *batchWriter) mayResolve() bool { return len(w.open.hits) > 0 || len(w.open.refused) > 0 }

// hitsOfRefused finds the later records of the keys that the sink has refused a record of.
func (w *batchWriter) hitsOfRefused() []placedKey {
	if len(w.open.refused) == 0 || w.a.flow.opts.OnBadRecord == nil || w.p.replaces() {
		return nil
	}
	var hits []placedKey
	for i := range w.batch.rows.len() {
		key := stored.Clean(w.batch.key(i))
		if at, refused := w.open.refused[key]; refused && rowAt(i) > at && w.p.names(key) {
			hits = append(hits, placedKey{key, rowAt(i)})
		}
	}
	return hits
}

// resolveOthers resolves the open dead letters of earlier runs, after a run has replaced all
// that they could have written.
func (w *batchWriter) resolveOthers(ctx context.Context, q Queries) error {
	if w.a.flow.opts.OnBadRecord == nil {
		return nil
	}
	return w.resolve(ctx, q, &DeadLetterCloseParams{NotOfRun: w.a.run.ID})
}

func (w *batchWriter) resolve(ctx context.Context, q Queries, p *DeadLetterCloseParams) error {
	if len(p.Identities) == 0 && p.NotOfRun == 0 {
		return nil
	}
	p.FlowID, p.State, p.By, p.Reason = w.a.flow.ID, DeadLetterResolved, runText(w.a.run), reasonWritten
	n, err := q.DeadLetterClose(ctx, p)
	if err != nil {
		return w.a.own(fmt.Errorf("resolve dead letters: %w", err))
	}
	if n > 0 {
		w.a.log.InfoContext(ctx, "dataflow: dead letters are resolved, because their records were written since", slog.Int64("dead_letters", n))
	}
	return nil
}

// runText names a run as who closed a dead letter.
func runText(run *Run) string { return fmt.Sprintf("run %d", run.ID) }

// reasonRetried is the Reason of a dead letter that a run has tried again and written.
const reasonRetried = "a later try wrote it"

// reasonWritten is the Reason of a dead letter that a run has resolved.
const reasonWritten = "the record was read again without an error"
