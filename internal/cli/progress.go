package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/notes"
)

// How often progress is shown: on a terminal in one line, and elsewhere in a line each time.
// What is done sooner shows none.
const (
	liveProgress  = 100 * time.Millisecond
	linesProgress = 5 * time.Second
)

// progress shows how far long work is, on standard error.
type progress struct {
	app     *app
	total   int64 // used if the work does not know it; 0: not known
	started time.Time
	stop    chan struct{}
	stopped chan struct{}
	wide    int // how many runes are in the terminal's current line

	mu   sync.Mutex
	step notes.Step // the last one
}

// longWork is a context whose steps are shown until end is called. --quiet and -o json show none.
// total is how many things are to be done, if the work does not say it.
func (a *app) longWork(ctx context.Context, total int64) (_ context.Context, end func()) {
	every := linesProgress
	if a.LiveErr {
		every = liveProgress
	}
	t := time.NewTicker(every)
	ctx, ended := a.longWorkAt(ctx, total, t.C)
	return ctx, func() {
		t.Stop()
		ended()
	}
}

func (a *app) longWorkAt(ctx context.Context, total int64, ticks <-chan time.Time) (_ context.Context, end func()) {
	if a.quiet || a.format == "json" {
		return ctx, func() {}
	}
	p := &progress{app: a, total: total, started: a.Now(), stop: make(chan struct{}), stopped: make(chan struct{})}
	go p.show(ticks)
	end = func() {
		close(p.stop)
		<-p.stopped
	}
	return notes.WithProgress(ctx, p.note), end
}

func (p *progress) note(s notes.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step = s
}

// show writes the last step at each tick, and removes it from the terminal at the end.
func (p *progress) show(ticks <-chan time.Time) {
	defer close(p.stopped)
	for {
		select {
		case <-ticks:
			p.mu.Lock()
			step := p.step
			p.mu.Unlock()
			if step.What != "" {
				p.write(p.text(step))
			}
		case <-p.stop:
			if p.app.LiveErr && p.wide > 0 {
				p.write("")
				_, _ = fmt.Fprint(p.app.Err, "\r")
			}
			return
		}
	}
}

func (p *progress) write(text string) {
	text = clean(p.app.redact(text))
	if !p.app.LiveErr {
		_, _ = fmt.Fprintln(p.app.Err, text)
		return
	}
	wide := utf8.RuneCountInString(text)
	_, _ = fmt.Fprint(p.app.Err, "\r"+text+strings.Repeat(" ", max(p.wide-wide, 0)))
	p.wide = wide
}

// text is a step in a line: "[####      ] 40 %  4000 of 10000 rows, about 3s left".
func (p *progress) text(s notes.Step) string {
	if s.Total == 0 && p.total > 0 {
		s.Total = max(p.total, s.Done)
	}
	text := fmt.Sprintf("%d %s", s.Done, s.What)
	if s.Total > 0 {
		text = fmt.Sprintf("%s  %d of %d %s", share(s.Done, s.Total, p.app.LiveErr), s.Done, s.Total, s.What)
	}
	took := p.app.Now().Sub(p.started)
	switch {
	case s.Now != "":
		text += ", now " + clip(s.Now, 60)
	case s.Total > s.Done && s.Done > 0 && took > 0:
		left := time.Duration(float64(took) * float64(s.Total-s.Done) / float64(s.Done))
		text += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	return text
}

// barWide is how many cells a bar has.
const barWide = 20

// share is how much is done, with a bar on a terminal.
func share(done, total int64, live bool) string {
	done = min(done, total)
	text := fmt.Sprintf("%d %%", int64(float64(done)*100/float64(total)))
	if !live {
		return text
	}
	full := int(float64(done) * barWide / float64(total))
	return fmt.Sprintf("[%s%s] %s", strings.Repeat("#", full), strings.Repeat(" ", barWide-full), text)
}
