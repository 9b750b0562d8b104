//go:build unix && chaos

package chaos_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
)

// fleet is a number of worker processes. A worker that ends is replaced.
type fleet struct {
	*stage
	settings workerSettings
	dir      string

	mu      sync.Mutex // guards the fields below, and those of the workers
	workers []*worker  // one in each slot
	logs    []string
	closed  bool
	starts  int
}

// worker is one process.
type worker struct {
	id   string
	cmd  *exec.Cmd
	life io.Closer
	log  string
	done chan struct{} // closed when it has ended

	noted   bool // its kill is in the log
	leaving bool // it was asked to end
}

// newFleet starts workers. It fills the database of the stage into settings.
func newFleet(s *stage, size int, settings workerSettings) *fleet {
	s.Helper()
	f := &fleet{stage: s, settings: settings, dir: workDir(s.T), workers: make([]*worker, size)}
	f.settings.Kind, f.settings.URL, f.settings.Elsewhere, f.settings.Flows, f.settings.Orders = s.kind, s.url, s.elsewhereAt, s.flows, f.dir
	if f.settings.Conns == 0 {
		f.settings.Conns = 12
	}
	s.Cleanup(f.close)
	for slot := range f.workers {
		f.launch(slot)
	}
	return f
}

// launch starts a worker in a slot.
func (f *fleet) launch(slot int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.starts++
	w := &worker{id: fmt.Sprintf("w%d-%d", slot, f.starts), done: make(chan struct{})}
	w.log = filepath.Join(f.dir, w.id+".log")
	settings := f.settings
	settings.ID = w.id
	out, err := os.Create(w.log)
	if err != nil {
		f.Errorf("start worker: %v", err)
		return
	}
	defer out.Close()                //nolint:errcheck // the worker has it
	w.cmd = exec.Command(os.Args[0]) //nolint:noctx // close ends it, after the test's context
	w.cmd.Env = append(os.Environ(), settings.env(), "GORACE=atexit_sleep_ms=0")
	w.cmd.Stdout, w.cmd.Stderr = out, out
	if w.life, err = w.cmd.StdinPipe(); err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		f.Errorf("start worker: %v", err)
		return
	}
	f.workers[slot] = w
	f.logs = append(f.logs, w.log)
	go f.attend(slot, w)
}

// attend waits until a worker ends, fails the test if it should not have, and starts another.
func (f *fleet) attend(slot int, w *worker) {
	err := w.cmd.Wait()
	f.mu.Lock()
	closed, noted, leaving := f.closed, w.noted, w.leaving
	f.mu.Unlock()
	defer close(w.done)
	if closed {
		return
	}
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && (exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL || exit.ExitCode() == poisonExit)
	switch {
	case killed && !noted:
		f.noteKill(w.id)
	case killed, leaving && err == nil:
	default:
		f.Errorf("worker %s has ended: %v\n%s", w.id, err, tail(w.log))
	}
	f.launch(slot)
}

// noteKill adds the end of a worker to the log. Unlike note, it may be called from any goroutine.
func (f *fleet) noteKill(id string) {
	_, err := f.db.ExecContext(f.Context(), fmt.Sprintf(`insert into chaos_log (event, worker) values ('%s', '%s')`, eventKilled, id))
	if err != nil && f.Context().Err() == nil {
		f.Errorf("note the end of %s: %v", id, err)
	}
}

// in returns the worker in a slot.
func (f *fleet) in(slot int) *worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.workers[slot]
}

// slotOf returns the slot of a worker, or -1 if the worker was replaced.
func (f *fleet) slotOf(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for slot, w := range f.workers {
		if w != nil && w.id == id {
			return slot
		}
	}
	return -1
}

// kill kills the worker in a slot, and waits until it has been replaced.
func (f *fleet) kill(slot int) {
	f.Helper()
	w := f.in(slot)
	f.mu.Lock()
	w.noted = true
	f.mu.Unlock()
	f.note(eventKilled, w.id)
	f.signal(w, syscall.SIGKILL)
	<-w.done
}

// replace asks the worker in a slot to end, and waits until it has been replaced.
func (f *fleet) replace(slot int) {
	f.Helper()
	w := f.in(slot)
	f.mu.Lock()
	w.leaving = true
	f.mu.Unlock()
	f.signal(w, syscall.SIGTERM)
	select {
	case <-w.done:
	case <-time.After(patience):
		f.Fatalf("worker %s has not ended\n%s", w.id, tail(w.log))
	}
}

func (f *fleet) signal(w *worker, sig syscall.Signal) {
	f.Helper()
	if err := w.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		require.NoError(f, err)
	}
}

// order gives an order to the first worker that reaches a point.
func (f *fleet) order(action, point string) {
	f.Helper()
	require.NoError(f, os.WriteFile(orderFile(f.dir, action, point), nil, 0o600))
}

// obeyed reports whether a worker has begun to obey an order.
func (f *fleet) obeyed(action, point string) bool {
	_, err := os.Stat(orderFile(f.dir, action, point))
	return os.IsNotExist(err)
}

// close kills all workers, and fails the test for a bad line in their logs.
func (f *fleet) close() {
	f.mu.Lock()
	f.closed = true
	workers, logs := f.workers, f.logs
	f.mu.Unlock()
	for _, w := range workers {
		if w != nil {
			_ = w.cmd.Process.Kill()
			<-w.done
			_ = w.life.Close()
		}
	}
	for _, log := range logs {
		for _, bad := range []string{"DATA RACE", "panic", "goroutine is left behind"} {
			if n := len(grep(log, bad)); n > 0 {
				f.Errorf("%d times %q in %s:\n%s", n, bad, log, tail(log))
			}
		}
		if f.Failed() {
			f.Logf("%s:\n%s", log, tail(log))
		}
	}
}

// grep returns the lines of a file that contain a text.
func grep(path, text string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// tail returns the last lines of a file.
func tail(path string) string {
	const most = 4000
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-most):])
}
