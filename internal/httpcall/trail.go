package httpcall

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"time"
)

const (
	// maxTrail is the number of pages that a Trail knows.
	maxTrail = 1 << 14
	// maxName is the number of bytes of a page's name that an error shows.
	maxName = 200
	// freeEmpty is the number of empty pages in a row that are not slowed down.
	freeEmpty = 3
	// emptyWait is the wait before the page after the next empty one. It doubles up to
	// maxEmptyWait.
	emptyWait    = 25 * time.Millisecond
	maxEmptyWait = 200 * time.Millisecond
)

// Trail knows the pages of a read, to notice a page that comes again before its records
// are read twice. The zero value is ready to use. It forgets the oldest of many pages,
// except for a few by which it still notices a long cycle.
type Trail struct {
	// EqualPages allows two pages with the same records.
	EqualPages bool

	names, records seen
	seeds          [2]maphash.Seed
	empty          int // empty pages in a row
}

// Visit notes a page and its records. It returns an error that names both pages if the
// page has the records of an earlier one, or names an earlier one as the next.
func (t *Trail) Visit(name, next string, records []json.RawMessage) error {
	t.names.add(sha256.Sum256([]byte(name)), name)
	if next != "" {
		if _, ok := t.names.at[sha256.Sum256([]byte(next))]; ok {
			return fmt.Errorf("it names the page %s as the next, which was read before: check the paging", clipName(next))
		}
	}
	if len(records) == 0 {
		t.empty++
		return nil
	}
	t.empty = 0
	if t.EqualPages {
		return nil
	}
	sum := t.sum(records)
	if earlier, ok := t.records.at[sum]; ok {
		return fmt.Errorf("it has the same records as the page %s: check the paging, or set AllowEqualPages if they are other records", clipName(earlier))
	}
	t.records.add(sum, name)
	return nil
}

// sum is a hash of records, by the seeds of this trail.
func (t *Trail) sum(records []json.RawMessage) (sum [sha256.Size]byte) {
	for i := range t.seeds {
		if t.seeds[i] == (maphash.Seed{}) {
			t.seeds[i] = maphash.MakeSeed()
		}
		var hash maphash.Hash
		hash.SetSeed(t.seeds[i])
		for _, record := range records {
			_, _ = hash.Write(record) // never fails
			_ = hash.WriteByte(',')   // never fails
		}
		binary.LittleEndian.PutUint64(sum[8*i:], hash.Sum64())
	}
	return sum
}

// Pace waits before the next page if many pages in a row were empty.
func (t *Trail) Pace(ctx context.Context) error {
	if t.empty <= freeEmpty {
		return nil
	}
	return pause(ctx, min(emptyWait<<min(t.empty-freeEmpty-1, 10), maxEmptyWait))
}

// seen maps hashes to the names of pages.
type seen struct {
	at    map[[sha256.Size]byte]string
	order [][sha256.Size]byte // a ring
	n     int
}

func (s *seen) add(sum [sha256.Size]byte, name string) {
	if s.at == nil {
		s.at = map[[sha256.Size]byte]string{}
	}
	if _, ok := s.at[sum]; ok {
		return
	}
	s.at[sum] = clipName(name)
	s.n++
	if s.n&(s.n-1) == 0 { // keep these few, so that a cycle of any length is noticed
		return
	}
	if len(s.order) < maxTrail {
		s.order = append(s.order, sum)
		return
	}
	place := &s.order[s.n%maxTrail]
	delete(s.at, *place)
	*place = sum
}

func clipName(name string) string {
	if name == "" {
		return "first"
	}
	return name[:min(len(name), maxName)]
}
