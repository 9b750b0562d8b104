package keyrange

import "fmt"

// mostShown is the length up to which a key is shown in an error.
const mostShown = 200

// NotHeld is the error of a key of the other table that a column cannot be compared with, because it
// could not hold it. why says what is wrong.
func NotHeld(column string, kind Kind, text string, why error) error {
	shown := kind.Readable(text)
	if len(shown) > mostShown {
		shown = shown[:mostShown] + "…"
	}
	return fmt.Errorf("key column %q: the other table has the key %q, which this column cannot hold: %w: mend or delete that row there, or leave it out by Where", column, shown, why)
}
