// Package zonedata finds out which time zone data a process uses, and what they say. It knows
// where Go's time package looks for them.
package zonedata

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Step is how far apart the moments are at which offsets are compared, Ahead for how long.
const (
	Step  = 6 * time.Hour
	Ahead = 366 * 24 * time.Hour
)

// Offset is an offset from UTC, from a moment on.
type Offset struct {
	From    int64 `json:"from"`    // Unix seconds
	Seconds int   `json:"seconds"` // east of UTC
}

// Offsets returns the offsets of a zone at moments that are a Step apart, from a time on. Those of
// all processes have the same moments.
func Offsets(zone string, from time.Time) ([]Offset, error) {
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, err
	}
	return Collect(from, func(at int64) int {
		_, seconds := time.Unix(at, 0).In(location).Zone()
		return seconds
	}), nil
}

// Moments returns the first of the moments from a time on, and how many there are.
func Moments(from time.Time) (first int64, n int) {
	step := int64(Step / time.Second)
	return from.Unix() / step * step, int(Ahead/Step) + 1
}

// Collect returns the offsets that a function knows, from a time on.
func Collect(from time.Time, offset func(at int64) int) []Offset {
	var all []Offset
	first, n := Moments(from)
	for i := range n {
		at := first + int64(i)*int64(Step/time.Second)
		if seconds := offset(at); len(all) == 0 || all[len(all)-1].Seconds != seconds {
			all = append(all, Offset{at, seconds})
		}
	}
	return all
}

// Differ returns the first moment from a time on, for which both have offsets, at which they differ.
func Differ(a, b []Offset, from time.Time) (at time.Time, offsetA, offsetB int, differ bool) {
	if len(a) == 0 || len(b) == 0 {
		return time.Time{}, 0, 0, false
	}
	first, n := Moments(from)
	for i := range n {
		at := max(first, a[0].From, b[0].From) + int64(i)*int64(Step/time.Second)
		if x, y := offsetAt(a, at), offsetAt(b, at); x != y {
			return time.Unix(at, 0).UTC(), x, y, true
		}
	}
	return time.Time{}, 0, 0, false
}

func offsetAt(offsets []Offset, at int64) int {
	seconds := offsets[0].Seconds
	for _, o := range offsets {
		if o.From > at {
			break
		}
		seconds = o.Seconds
	}
	return seconds
}

// systemDirs are where the time package looks for the system's files.
func systemDirs() []string {
	return []string{"/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"}
}

// Where returns where the time package finds a zone, and the version of the data there, such as
// "2026f". The version is empty if it is not known.
func Where(zone string) (source, version string) {
	name := filepath.FromSlash(zone)
	if info := os.Getenv("ZONEINFO"); info != "" {
		if _, err := os.Stat(filepath.Join(info, name)); err == nil {
			return "ZONEINFO " + info, versionIn(info)
		}
		if strings.HasSuffix(info, ".zip") {
			if _, err := os.Stat(info); err == nil {
				return "ZONEINFO " + info, ""
			}
		}
	}
	for _, dir := range systemDirs() {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return dir, versionIn(dir)
		}
	}
	return "the data of " + runtime.Version(), versionOfGo(runtime.Version())
}

// versionIn reads the version of a directory: tzdata.zi begins with it, and BSDs have a file +VERSION.
func versionIn(dir string) string {
	for _, name := range []string{"tzdata.zi", "+VERSION", "version"} {
		file, err := os.Open(filepath.Join(dir, name)) //nolint:gosec // the system's, or the operator's
		if err != nil {
			continue
		}
		line, _ := bufio.NewReader(file).ReadString('\n')
		_ = file.Close()
		if version := strings.TrimSpace(strings.TrimPrefix(line, "# version ")); version != "" && len(version) < 16 {
			return version
		}
	}
	return ""
}

// versionOfGo returns the version of the data that a release of Go has, as far as it was looked up:
// in lib/time/update.bash of its source.
func versionOfGo(release string) string {
	if release == "go1.26" || strings.HasPrefix(release, "go1.26.") {
		return "2025c"
	}
	return ""
}
