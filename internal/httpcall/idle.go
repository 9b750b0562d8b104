package httpcall

import (
	"context"
	"errors"
	"io"
	"time"
)

// errTimeout is the cause of a request that took longer than Timeout.
var errTimeout = errors.New("the request timed out")

// idleBody is a response's body of which each read has a time limit.
type idleBody struct {
	body    io.ReadCloser // nil before there is a response
	timer   *time.Timer
	timeout time.Duration
	cancel  context.CancelCauseFunc
	explain func(error) error
}

func (b *idleBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.timeout)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.explain(err)
	}
	return n, err
}

func (b *idleBody) Close() error {
	b.stop()
	return nil
}

func (b *idleBody) stop() {
	b.timer.Stop()
	if b.body != nil {
		_ = b.body.Close() // it was only read
	}
	b.cancel(nil)
}
