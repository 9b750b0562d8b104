package stored

import (
	"encoding/json"
	"reflect"
)

// Comparer compares JSON values by what they mean, and not by their text, which a database may
// write in its own way. It remembers what it has compared, for callers that compare the same values
// again and again. The zero value is ready to use. It is not safe for concurrent use.
type Comparer struct {
	answers map[[2]string]bool
}

// compared is how many answers a Comparer remembers.
const compared = 10_000

// Same reports whether two JSON values mean the same. Nil is the same as nil alone.
func (c *Comparer) Same(a, b json.RawMessage) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	key := [2]string{string(a), string(b)}
	if same, known := c.answers[key]; known {
		return same
	}
	var x, y any
	same := json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
	if c.answers == nil || len(c.answers) >= compared {
		c.answers = make(map[[2]string]bool)
	}
	c.answers[key] = same
	return same
}
