package pgchange

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// fakeServer sends messages of pgoutput on a connection.
type fakeServer struct {
	t    *testing.T
	conn net.Conn
}

func newFakeServer(t *testing.T) (*fakeServer, *pgconn.PgConn) {
	t.Helper()
	here, there := net.Pipe()
	conn, err := pgconn.Construct(&pgconn.HijackedConn{
		Conn: there, TxStatus: 'I', Frontend: pgproto3.NewFrontend(there, there), ParameterStatuses: map[string]string{}, Config: fakeConfig(t),
	})
	require.NoError(t, err)
	s := &fakeServer{t: t, conn: here}
	go func() { // what the client says
		for b := make([]byte, 1<<16); ; {
			if _, err := here.Read(b); err != nil {
				return
			}
		}
	}()
	return s, conn
}

func fakeConfig(t *testing.T) *pgconn.Config {
	t.Helper()
	c, err := pgconn.ParseConfig("host=/nowhere")
	require.NoError(t, err)
	return c
}

// log sends a message of the log that begins at a place.
func (s *fakeServer) log(at uint64, message []byte) {
	s.t.Helper()
	data := binary.BigEndian.AppendUint64([]byte{'w'}, at)
	data = binary.BigEndian.AppendUint64(data, at)
	data = binary.BigEndian.AppendUint64(data, 0)
	out, err := (&pgproto3.CopyData{Data: append(data, message...)}).Encode(nil)
	require.NoError(s.t, err)
	_, err = s.conn.Write(out)
	require.NoError(s.t, err)
}

func (s *fakeServer) begin(commit uint64, xid uint32) {
	b := binary.BigEndian.AppendUint64([]byte{'B'}, commit)
	b = binary.BigEndian.AppendUint64(b, 0)
	s.log(commit-10, binary.BigEndian.AppendUint32(b, xid))
}

func (s *fakeServer) insert(at uint64, id string) {
	b := binary.BigEndian.AppendUint32([]byte{'I'}, 7)
	b = append(b, 'N', 0, 1, 't')
	b = binary.BigEndian.AppendUint32(b, uint32(len(id)))
	s.log(at, append(b, id...))
}

func (s *fakeServer) commit(commit uint64) {
	b := binary.BigEndian.AppendUint64([]byte{'C', 0}, commit)
	b = binary.BigEndian.AppendUint64(b, commit+5)
	s.log(commit, binary.BigEndian.AppendUint64(b, 0))
}

// A server that sends transactions again, from before the cursor, changes nothing: they are
// skipped, and so is what was read of a transaction in part.
func TestReader_SkipsWhatWasRead(t *testing.T) {
	t.Parallel()
	type row struct{ ID int64 }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server, conn := newFakeServer(t)
	var got []change[row]
	s := &source[row]{stream{options: Options{Publication: "p", Slot: "s", OnlyChanges: true}}}
	from := Position{LSN: 105, Commit: 200, Changes: 1, Change: 191, Loaded: map[string]string{"public.t": "7"}}
	r := s.newReader(dataflow.Request[Position]{From: from, Resumed: true}, func(c change[row], err error) bool {
		if err != nil {
			return false
		}
		if !c.Mark {
			got = append(got, c)
		}
		return len(got) < 2
	})
	r.checked = time.Now()
	r.tables, r.types = []*table{{name: "public.t", oid: 7, id: "7", key: []string{"id"}}}, pgtype.NewMap()
	r.receiver = receive(ctx, conn, func() LSN { return 0 }, false)
	defer r.receiver.close(ctx)
	go func() {
		relation := binary.BigEndian.AppendUint32([]byte{'R'}, 7)
		relation = append(relation, "public\x00t\x00d\x00\x01\x01id\x00"...)
		relation = binary.BigEndian.AppendUint32(relation, pgtype.Int8OID)
		relation = binary.BigEndian.AppendUint32(relation, ^uint32(0))
		server.begin(100, 1) // read as a whole
		server.log(91, relation)
		server.insert(92, "1")
		server.commit(100)
		server.begin(200, 2) // read up to its first change
		server.insert(191, "2")
		server.insert(192, "3")
		server.commit(200)
		server.begin(300, 3)
		server.insert(291, "4")
		server.commit(300)
	}()
	require.ErrorIs(t, r.run(ctx), errEnough)
	var ids []int64
	for _, c := range got {
		require.True(t, c.Resume)
		ids = append(ids, c.Value.New.ID)
	}
	require.Equal(t, []int64{3, 4}, ids)
	require.Equal(t, LSN(205), got[0].Cursor.LSN)
	require.Zero(t, got[0].Cursor.Commit)
	require.WithinDuration(t, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), got[0].Cursor.At, 0)
}

// Transactions with nothing for the target come without end. The cursor moves all the same, and what
// was read before them is handed over.
func TestReader_AmongOthers(t *testing.T) {
	t.Parallel()
	type row struct{ ID int64 }
	var marks []LSN
	s := &source[row]{stream{options: Options{Publication: "p", Slot: "s", OnlyChanges: true}}}
	from := Position{LSN: 105, Loaded: map[string]string{"public.t": "7"}}
	r := s.newReader(dataflow.Request[Position]{From: from, Resumed: true}, func(c change[row], _ error) bool {
		require.True(t, c.Mark)
		if len(marks) == 0 || marks[len(marks)-1] != c.Cursor.LSN {
			marks = append(marks, c.Cursor.LSN)
		}
		return true
	})
	r.tables = []*table{{name: "public.t", oid: 7, id: "7", key: []string{"id"}}}
	r.relations[8] = &relation[row]{} // of another table
	read := func(commit pglogrepl.LSN) {
		for _, m := range []pglogrepl.Message{
			&pglogrepl.BeginMessage{FinalLSN: commit},
			&pglogrepl.InsertMessage{RelationID: 8, Tuple: &pglogrepl.TupleData{}},
			&pglogrepl.CommitMessage{CommitLSN: commit, TransactionEndLSN: commit + 5},
		} {
			require.NoError(t, r.take(t.Context(), &packet{message: m}))
		}
	}
	r.lastMark = time.Now().Add(time.Hour)
	read(200)
	require.Empty(t, marks)
	r.lastMark = time.Now().Add(-2 * time.Second)
	read(300)
	require.Equal(t, []LSN{305}, marks)
	r.lastMark, r.waits, r.first = time.Now().Add(time.Hour), true, time.Now().Add(-time.Second)
	read(400)
	require.Equal(t, []LSN{305, 405}, marks)
	require.False(t, r.waits)
	require.Zero(t, r.pos.Last, "nothing was read")
}
