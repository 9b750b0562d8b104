package pgchange

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	maxQueued  = 4096     // messages that wait to be read
	maxBytes   = 16 << 20 // and their bytes
	statusEach = time.Second
	hurryEach  = 20 * time.Millisecond

	hurryQueued = 64 // packets that wait, up to which the server is asked
)

// packet is a message of the log, or the place that the server has reached.
type packet struct {
	message pglogrepl.Message // nil: the server has sent all before reached
	at      LSN               // of the message
	reached LSN
	now     time.Time // of the server, when it said so
	size    int
	err     error // the last packet
}

// receiver reads a replication connection, and answers its keepalives even while nobody takes
// the packets.
type receiver struct {
	conn      *pgconn.PgConn
	confirmed func() LSN // up to where all is committed in the target
	packets   chan packet
	bytes     atomic.Int64  // of the packets that wait
	room      chan struct{} // a packet was taken

	// hurry says that somebody waits to hear how far the server is: it is asked several times a
	// second. Otherwise it says so when it has nothing more to send.
	hurry atomic.Bool

	received, told LSN // the goroutine's
	toldAt         time.Time
	cancel         context.CancelFunc
	ended          chan struct{}
}

// receive starts to read. close ends it, and closes the connection.
func receive(ctx context.Context, conn *pgconn.PgConn, confirmed func() LSN, hurry bool) *receiver {
	r := &receiver{conn: conn, confirmed: confirmed, packets: make(chan packet, maxQueued), room: make(chan struct{}, 1), ended: make(chan struct{})}
	r.hurry.Store(hurry)
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.ended)
		defer close(r.packets)
		r.push(ctx, packet{err: r.run(ctx)})
	}()
	return r
}

func (r *receiver) close(ctx context.Context) {
	r.cancel()
	<-r.ended
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if last := r.confirmed(); last > r.told && !r.conn.IsClosed() {
		_ = r.send(ctx, last, false) // otherwise the slot hears it next time
	}
	_ = r.conn.Close(ctx)
}

// took says that a packet was taken.
func (r *receiver) took(p *packet) {
	r.bytes.Add(-int64(p.size))
	select {
	case r.room <- struct{}{}:
	default:
	}
}

// asks reports whether the server is to say soon how far it is. It need not while much waits here.
func (r *receiver) asks() bool { return r.hurry.Load() && len(r.packets) < hurryQueued }

// each is how often to send a status.
func (r *receiver) each() time.Duration {
	if r.asks() {
		return hurryEach
	}
	return statusEach
}

// run reads until there is an error.
func (r *receiver) run(ctx context.Context) error {
	for {
		if err := r.status(ctx, false); err != nil {
			return err
		}
		if r.bytes.Load() > maxBytes {
			if err := r.wait(ctx); err != nil {
				return err
			}
			continue
		}
		read, cancel := context.WithDeadline(ctx, r.toldAt.Add(r.each()))
		message, err := r.conn.ReceiveMessage(read)
		cancel()
		switch {
		case err != nil && pgconn.Timeout(err) && ctx.Err() == nil:
			continue
		case err != nil:
			return err
		}
		if err := r.take(ctx, message); err != nil {
			return err
		}
	}
}

// wait waits until there is room for another packet, or a status is due.
func (r *receiver) wait(ctx context.Context) error {
	t := time.NewTimer(time.Until(r.toldAt.Add(r.each())))
	defer t.Stop()
	select {
	case <-r.room:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// push queues a packet. Meanwhile it goes on to send the status.
func (r *receiver) push(ctx context.Context, p packet) {
	r.bytes.Add(int64(p.size))
	for {
		t := time.NewTimer(r.each())
		select {
		case r.packets <- p:
			t.Stop()
			return
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
			if p.err == nil && r.status(ctx, false) != nil {
				p.err = errors.New("the replication connection broke while the target was slow")
			}
		}
	}
}

func (r *receiver) take(ctx context.Context, message pgproto3.BackendMessage) error {
	switch m := message.(type) {
	case *pgproto3.ErrorResponse:
		return pgconn.ErrorResponseToPgError(m)
	case *pgproto3.CopyData:
		return r.data(ctx, m.Data)
	case *pgproto3.CopyDone, *pgproto3.CommandComplete:
		return errors.New("the server has ended the stream, as it does when it shuts down")
	default:
		return nil // a notice, or the value of a setting
	}
}

func (r *receiver) data(ctx context.Context, data []byte) error {
	switch data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		m, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return err
		}
		r.received = max(r.received, LSN(m.ServerWALEnd))
		r.push(ctx, packet{reached: LSN(m.ServerWALEnd), now: m.ServerTime})
		if m.ReplyRequested {
			return r.status(ctx, true)
		}
		return nil
	case pglogrepl.XLogDataByteID:
		x, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return err
		}
		message, err := pglogrepl.Parse(x.WALData)
		if err != nil {
			return fmt.Errorf("read a message of pgoutput: %w", err)
		}
		r.received = max(r.received, LSN(x.WALStart))
		r.push(ctx, packet{message: message, at: LSN(x.WALStart), size: len(x.WALData)})
		return nil
	default:
		return nil
	}
}

// status tells the server what was received and confirmed, if it is time to.
func (r *receiver) status(ctx context.Context, now bool) error {
	if !now && time.Since(r.toldAt) < r.each() {
		return nil
	}
	return r.send(ctx, r.confirmed(), r.asks())
}

func (r *receiver) send(ctx context.Context, confirmed LSN, ask bool) error {
	r.told, r.toldAt = confirmed, time.Now() //nolint:forbidigo // how long it takes, not what time it is
	return pglogrepl.SendStandbyStatusUpdate(ctx, r.conn, pglogrepl.StandbyStatusUpdate{
		WALWritePosition: pglogrepl.LSN(max(r.received, confirmed)), WALFlushPosition: pglogrepl.LSN(confirmed), WALApplyPosition: pglogrepl.LSN(confirmed),
		ClientTime: r.toldAt, ReplyRequested: ask,
	})
}
