package rowmap

import "time"

// BeginsDay reports whether a time is the first moment of a day, or midnight, in its zone. The
// first moment is later than midnight where the clocks skip that.
func BeginsDay(t time.Time) bool {
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
	return t.Equal(midnight) || t.Add(-1).Day() != t.Day()
}
