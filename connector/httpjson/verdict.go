package httpjson

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Verdict is what [Options].Classify says about a response.
type Verdict struct {
	Action Action
	// After is the wait before the next try, for [Retry]. 0 means the time in the headers
	// of the response, or the connector's own wait.
	After time.Duration
}

// Action is what to do about a response.
type Action int

const (
	// ByStatus decides by the status and the headers, as without Classify.
	ByStatus Action = iota
	// Retry requests the page again.
	Retry
	// Fail ends the run, because no retry can help.
	Fail
	// Renew takes the token for rejected, as with the status 401.
	Renew
	// End takes the page for the one after the last.
	End
	// Expired takes the page's cursor for expired.
	Expired
	// Accept reads the response as a page, whatever its status.
	Accept
)

// RetryIf returns a function for [Options].Classify. It requests a page again if the response
// has the status, 0 for any, and the text in its body, "" for any. after is the wait; 0 means
// the time in the headers of the response, or the connector's own wait.
func RetryIf(status int, text string, after time.Duration) func(*Page) Verdict {
	return func(p *Page) Verdict {
		if status != 0 && p.Status != status || !bytes.Contains(p.Body, []byte(text)) {
			return Verdict{}
		}
		return Verdict{Action: Retry, After: after}
	}
}

// Limiter limits the rate of requests. A *[golang.org/x/time/rate.Limiter] is one.
type Limiter interface {
	// Wait returns when the next request may be made, or ctx is done.
	Wait(ctx context.Context) error
}

// TokenRejected reports whether the server answered the previous try of a request with the
// status 401. [Options].Auth is then called a second time, and should get a new token. If the
// server rejects that too, the run fails.
func TokenRejected(req *http.Request) bool { return httpcall.TokenRejected(req) }

func (o *Options) classify() func(*httpcall.Response) httpcall.Verdict {
	if o.Classify == nil {
		return nil
	}
	return func(resp *httpcall.Response) httpcall.Verdict {
		v := o.Classify(pageOf(resp))
		return httpcall.Verdict{Action: httpcall.Action(v.Action), After: v.After}
	}
}
