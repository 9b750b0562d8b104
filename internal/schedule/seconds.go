package schedule

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// Seconds is a duration that JSON holds as a number of seconds.
type Seconds time.Duration

// MarshalJSON writes all nanoseconds, which a float64 could not hold.
func (s Seconds) MarshalJSON() ([]byte, error) {
	sign, whole, rest := "", time.Duration(s)/time.Second, time.Duration(s)%time.Second
	if s < 0 {
		sign, whole, rest = "-", -whole, -rest
	}
	text := fmt.Sprintf("%s%d.%09d", sign, whole, rest)
	return []byte(strings.TrimSuffix(strings.TrimRight(text, "0"), ".")), nil
}

// UnmarshalJSON reads any JSON number. Null leaves s as it is.
func (s *Seconds) UnmarshalJSON(data []byte) error {
	var n *float64
	if err := json.Unmarshal(data, &n); err != nil {
		return fmt.Errorf("interval %s is not a number of seconds", data)
	}
	if n == nil {
		return nil
	}
	if d, err := time.ParseDuration(string(data) + "s"); err == nil {
		*s = Seconds(d)
		return nil
	}
	if math.Abs(*n) >= math.MaxInt64/float64(time.Second) {
		return fmt.Errorf("interval %s is out of range", data)
	}
	*s = Seconds(math.Round(*n * float64(time.Second)))
	return nil
}
