package cli

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// fakePooler answers like a pooler with two server processes, numbered 1 and 2.
type fakePooler struct {
	session bool // a client keeps its server
	rounds  bool // the servers take turns

	mu   sync.Mutex // guards next and busy
	next int
	busy [3]bool
}

// take reserves a free server.
func (f *fakePooler) take() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range 2 {
		n := 1 + i
		if f.rounds {
			n = 1 + (f.next+i)%2
		}
		if !f.busy[n] {
			f.busy[n] = true
			f.next = n
			return n
		}
	}
	return 0
}

func (f *fakePooler) give(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy[n] = false
}

func (f *fakePooler) serve(conn net.Conn) error {
	b := pgproto3.NewBackend(conn, conn)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return err
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	b.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if err := b.Flush(); err != nil {
		return err
	}
	server, status := 0, byte('I')
	defer func() { f.give(server) }()
	for {
		message, err := b.Receive()
		if err != nil {
			return err
		}
		query, ok := message.(*pgproto3.Query)
		if !ok {
			return errors.New("not a simple query")
		}
		if server == 0 {
			server = f.take()
		}
		switch text := strings.ToLower(query.String); {
		case strings.Contains(text, "begin"):
			status = 'T'
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")})
		case strings.Contains(text, "rollback"):
			status = 'I'
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("ROLLBACK")})
		default:
			b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("pg_backend_pid"), DataTypeOID: 23, DataTypeSize: 4, TypeModifier: -1}}})
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(strconv.Itoa(server))}})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		}
		b.Send(&pgproto3.ReadyForQuery{TxStatus: status})
		if status == 'I' && !f.session {
			f.give(server)
			server = 0
		}
		if err := b.Flush(); err != nil {
			return err
		}
	}
}

func TestDoctor_Pooler(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fake  *fakePooler
		state string
	}{
		"Session":     {&fakePooler{session: true}, "ok"},
		"Transaction": {&fakePooler{}, "warning"},
		"RoundRobin":  {&fakePooler{rounds: true}, "warning"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			var serving sync.WaitGroup
			defer serving.Wait()
			defer func() { _ = listener.Close() }()
			serving.Go(func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					serving.Go(func() { _ = c.fake.serve(conn); _ = conn.Close() })
				}
			})
			pool, err := pgxpool.New(t.Context(), "postgres://ann@"+listener.Addr().String()+"/shop?sslmode=disable")
			require.NoError(t, err)
			defer pool.Close()
			s := &session{app: &app{}, db: Database{Postgres: pool}}
			found := s.pooler(t.Context())
			require.Equal(t, c.state, found.State, found.Text)
			require.NotContains(t, found.Text, "could not")
		})
	}
}
