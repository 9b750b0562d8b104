package keyrange

import (
	"math"
	"strconv"
	"time"
)

// epoch is the beginning of the year 2000 in Unix seconds.
const epoch = 946684800

// Readable returns a canonical text as the database writes such a value.
func (k Kind) Readable(text string) string {
	switch k {
	case Date:
		n, err := strconv.ParseUint(text, 16, 32)
		days := int32(n)
		switch {
		case err != nil:
			return text
		case days == math.MaxInt32:
			return "infinity"
		case days == math.MinInt32:
			return "-infinity"
		}
		return yearFirst(time.Unix(epoch+int64(days)*24*60*60, 0).UTC(), "-01-02")
	case Timestamp, TimestampTZ:
		n, err := strconv.ParseUint(text, 16, 64)
		micros := int64(n)
		switch {
		case err != nil:
			return text
		case micros == math.MaxInt64:
			return "infinity"
		case micros == math.MinInt64:
			return "-infinity"
		}
		zone := ""
		if k == TimestampTZ {
			zone = "Z"
		}
		return yearFirst(time.Unix(epoch+micros/1e6, micros%1e6*1e3).UTC(), "-01-02 15:04:05.999999"+zone)
	case Bytes:
		return `\x` + text
	default:
		return text
	}
}

// yearFirst formats a time as Postgres does. The year before 1 is 1 BC.
func yearFirst(t time.Time, rest string) string {
	if t.Year() > 0 {
		return t.Format("2006" + rest)
	}
	year := strconv.Itoa(1 - t.Year())
	for len(year) < 4 {
		year = "0" + year
	}
	return year + t.Format(rest) + " BC"
}
