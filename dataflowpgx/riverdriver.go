package dataflowpgx

import (
	"context"
	"errors"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// riverDriver is River's driver of a pool.
type riverDriver struct {
	*riverpgxv5.Driver
	pool *pool
}

func (p *pool) river() riverDriver { return riverDriver{Driver: riverpgxv5.New(p.Pool), pool: p} }

// SupportsListener is false after a pooler was found: a listener would lose its server, and
// River then polls. River asks again when a client starts, which is after the first statement.
func (d riverDriver) SupportsListener() bool {
	return !d.pool.pooler.Found().Transaction && d.Driver.SupportsListener()
}

// GetListener returns a listener that reconnects when the pool closes its connections. Its own
// connection is no longer the pool's.
func (d riverDriver) GetListener(params *riverdriver.GetListenenerParams) riverdriver.Listener {
	return &listener{Listener: d.Driver.GetListener(params), pool: d.pool}
}

// GetExecutor returns an executor that can store the error of a job. River would give up the ends of all
// jobs that ended at the same time.
func (d riverDriver) GetExecutor() riverdriver.Executor {
	return executor{Executor: d.Driver.GetExecutor(), server: d.pool.server}
}

type executor struct {
	riverdriver.Executor
	server *server
}

func (e executor) JobSetStateIfRunningMany(ctx context.Context, params *riverdriver.JobSetStateIfRunningManyParams) ([]*rivertype.JobRow, error) {
	narrow := e.server.narrow.Load()
	jobs, err := e.Executor.JobSetStateIfRunningMany(ctx, storableJobs(narrow, params))
	if lack := (*lackError)(nil); errors.As(e.server.lacks(narrow, err), &lack) {
		jobs, err = e.Executor.JobSetStateIfRunningMany(ctx, storableJobs(true, params))
	}
	return jobs, err
}

type listener struct {
	riverdriver.Listener
	pool  *pool
	reset <-chan struct{} // closed when the connection is to be closed
}

// errReset makes River close the listener's connection, and connect again.
var errReset = errors.New("the server became read-only")

func (l *listener) Connect(ctx context.Context) error {
	l.reset = l.pool.nextReset()
	return l.Listener.Connect(ctx)
}

func (l *listener) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	defer close(stopped)
	reset := l.reset // Connect may be called before the goroutine ends
	go func() {
		select {
		case <-reset:
			cancel()
		case <-stopped:
		}
	}()
	n, err := l.Listener.WaitForNotification(waiting)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		return nil, errReset
	}
	return n, err
}
