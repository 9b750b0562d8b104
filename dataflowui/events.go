package dataflowui

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/activedataflow/dataflow/internal/jsonview"
)

// events sends the progress of a run as server-sent events until the run ends or the reader leaves.
func (u *ui) events(w http.ResponseWriter, r *http.Request) {
	stream := http.NewResponseController(w)
	every := time.NewTicker(u.period)
	defer every.Stop()
	for first := true; ; first = false {
		p, err := get[jsonview.Progress](u, r, nil, "runs", r.PathValue("id"), "progress")
		if err != nil {
			if first {
				u.answer(w, r, nil, err)
			}
			return // the browser connects again
		}
		if first {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		// A server's WriteTimeout is for whole answers.
		if err := stream.SetWriteDeadline(time.Now().Add(10 * u.period)); err != nil && !errors.Is(err, http.ErrNotSupported) { //nolint:forbidigo // a deadline of the network
			return
		}
		if err := send(w, p); err != nil || stream.Flush() != nil || ended(p.State) {
			return
		}
		select {
		case <-every.C:
		case <-r.Context().Done():
			return
		}
	}
}

func send(w http.ResponseWriter, p *jsonview.Progress) error {
	texts := map[string]string{
		"read": number(p.Counters.Read), "again": number(p.Counters.ReadAgain), "written": number(p.Counters.Written), "redundant": number(p.Counters.Redundant), "filtered": number(p.Counters.Filtered),
		"dropped": number(p.Counters.Dropped), "dead": number(p.Counters.DeadLettered), "rate": rate(p), "left": left(p), "lag": lagText(p.Lag), "state": p.State,
		"percent": strconv.FormatInt(percent(p), 10),
	}
	data, err := json.Marshal(texts)
	if err != nil {
		return err
	}
	name := "progress"
	if ended(p.State) {
		name = "end"
	}
	_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, data)
	return err
}
