package dataflow

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/internal/zonedata"
)

// ZoneData is which time zone data a process uses: the rules by which it computes ticks.
type ZoneData struct {
	// Version is the version of the data, such as "2026f". Empty: it is not known.
	Version string `json:"version,omitempty"`
	// Source is where they are from: the environment variable ZONEINFO, a directory of the
	// system, or the program itself. Empty: no flow of the process uses a zone.
	Source string `json:"source,omitempty"`
	// Offsets are the offsets of the zones that the process's flows use, for a year.
	Offsets map[string][]ZoneOffset `json:"offsets,omitempty"`
}

// ZoneOffset is an offset from UTC, from a moment on. Moments are a quarter of a day apart.
type ZoneOffset = zonedata.Offset

// String returns the version and the source.
func (d *ZoneData) String() string {
	return strings.TrimSpace(cmp.Or(d.Version, "of an unknown version") + ", from " + d.Source)
}

// ZoneReader is the power of a [Store] to tell the offsets of a zone by the database server's own
// zone data. SQLite has none.
type ZoneReader interface {
	// ZoneOffsets returns the offsets for a year from a time on, nil if the server does not
	// know the zone.
	ZoneOffsets(ctx context.Context, zone string, from time.Time) ([]ZoneOffset, error)
}

// ZoneConflict is a zone whose offsets differ within a year between two live processes, or between
// one and the database server. See [Client.ZoneConflicts].
type ZoneConflict struct {
	Zone string
	// Processes are the ids of two processes. The second is empty for the database server.
	Processes [2]string
	// Data are what they use. The second is nil for the server, which does not tell its version.
	Data [2]*ZoneData
	// At is about when the offsets differ first, within six hours, and Offsets are what they
	// are then.
	At      time.Time
	Offsets [2]time.Duration
}

// String says it in a sentence.
func (c *ZoneConflict) String() string {
	first := fmt.Sprintf("process %s (zone data %s)", c.Processes[0], c.Data[0])
	second := "the database server"
	if c.Data[1] != nil {
		second = fmt.Sprintf("process %s (zone data %s)", c.Processes[1], c.Data[1])
	}
	update := "update the older of them"
	switch older, other := c.Data[0], c.Data[1]; {
	case other == nil || older.Version == "" || other.Version == "" || older.Version == other.Version:
	case older.Version < other.Version:
		update = "the data of " + c.Processes[0] + " are older: update them"
	default:
		update = "the data of " + c.Processes[1] + " are older: update them"
	}
	return fmt.Sprintf("%s and %s disagree about %s: about %s, it is %s for the one and %s for the other; %s",
		first, second, c.Zone, c.At.Format(time.RFC3339), utcOffset(c.Offsets[0]), utcOffset(c.Offsets[1]), update)
}

// utcOffset returns an offset as "UTC-07:00".
func utcOffset(d time.Duration) string {
	sign := "+"
	if d < 0 {
		sign, d = "-", -d
	}
	return fmt.Sprintf("UTC%s%02d:%02d", sign, int(d.Hours()), int(d.Minutes())%60)
}

// zoneConflicts compares the zone data of processes with each other, and with the server's. It
// returns at most one conflict a zone and process.
func zoneConflicts(ctx context.Context, store Store, processes []*Process, now time.Time) ([]*ZoneConflict, error) {
	byZone := make(map[string][]*Process)
	var zones []string
	for _, p := range processes {
		if p.ZoneData == nil {
			continue
		}
		for zone := range p.ZoneData.Offsets {
			if byZone[zone] == nil {
				zones = append(zones, zone)
			}
			byZone[zone] = append(byZone[zone], p)
		}
	}
	slices.Sort(zones)
	var found []*ZoneConflict
	for _, zone := range zones {
		// The newest data come last. All others are compared with them.
		all := byZone[zone]
		slices.SortStableFunc(all, func(a, b *Process) int { return strings.Compare(a.ZoneData.Version, b.ZoneData.Version) })
		newest := all[len(all)-1]
		for _, p := range all[:len(all)-1] {
			c := &ZoneConflict{Zone: zone, Processes: [2]string{p.ID, newest.ID}, Data: [2]*ZoneData{p.ZoneData, newest.ZoneData}}
			if c.compare(p.ZoneData.Offsets[zone], newest.ZoneData.Offsets[zone], now) {
				found = append(found, c)
			}
		}
		reader, ok := store.(ZoneReader)
		if !ok {
			continue
		}
		server, err := reader.ZoneOffsets(ctx, zone, now)
		if err != nil {
			return nil, err
		}
		c := &ZoneConflict{Zone: zone, Processes: [2]string{newest.ID}, Data: [2]*ZoneData{newest.ZoneData}}
		if c.compare(newest.ZoneData.Offsets[zone], server, now) {
			found = append(found, c)
		}
	}
	return found, nil
}

// compare fills in where two lists of offsets differ, and reports whether they do.
func (c *ZoneConflict) compare(a, b []ZoneOffset, now time.Time) bool {
	at, x, y, differ := zonedata.Differ(a, b, now)
	c.At, c.Offsets = at, [2]time.Duration{time.Duration(x) * time.Second, time.Duration(y) * time.Second}
	return differ
}
