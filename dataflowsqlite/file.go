package dataflowsqlite

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/activedataflow/dataflow"
)

// databaseFile is the database's file as this client has first seen it. A file that is moved, deleted or
// replaced stays open: SQLite writes on into it without an error, and nobody reads that.
type databaseFile struct {
	mu   sync.Mutex // guards the fields below
	path string
	was  os.FileInfo // nil: it was not looked at, or there is none, as in memory
}

// ProcessAlive implements [dataflow.Queries]. A started client calls it from time to time.
func (s *store) ProcessAlive(ctx context.Context, id string, ttl time.Duration) (bool, error) {
	if err := s.checkFile(ctx); err != nil {
		return false, err
	}
	return s.queries.ProcessAlive(ctx, id, ttl)
}

// ProcessSeen implements [dataflow.Queries].
func (s *store) ProcessSeen(ctx context.Context, p *dataflow.Process, ttl time.Duration) error {
	if err := s.checkFile(ctx); err != nil {
		return err
	}
	return s.queries.ProcessSeen(ctx, p, ttl)
}

// checkFile returns an error if another file, or none, is where the database's file was.
func (s *store) checkFile(ctx context.Context) error {
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	if s.file.was == nil {
		if err := s.db.QueryRowContext(ctx, sqlFile).Scan(&s.file.path); err != nil {
			return fmt.Errorf("look for the database's file: %w", err)
		}
		if info, err := os.Stat(s.file.path); err == nil {
			s.file.was = info
		}
		return nil
	}
	if is, err := os.Stat(s.file.path); os.IsNotExist(err) || err == nil && !os.SameFile(s.file.was, is) {
		return fmt.Errorf("the SQLite file %s was moved, deleted or replaced while this process has it open: what it writes is not in the file of this name: stop it, put the right file in place, and start it again", s.file.path)
	}
	return nil
}

// checkShared returns an error if two connections of the pool have different databases, as in memory, or in a
// temporary file: the tables are in one of them.
func (s *store) checkShared(ctx context.Context) error {
	if s.db.Stats().MaxOpenConnections == 1 {
		return nil
	}
	var tables [2]int
	for i := range tables {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return fmt.Errorf("look for the database's file: %w", err)
		}
		defer conn.Close() //nolint:errcheck // it is given back; the second must be another one
		var path string
		if err := conn.QueryRowContext(ctx, sqlFile).Scan(&path); err != nil {
			return fmt.Errorf("look for the database's file: %w", err)
		}
		if path != "" {
			return nil
		}
		if err := conn.QueryRowContext(ctx, sqlTables).Scan(&tables[i]); err != nil {
			return fmt.Errorf("look for the database's tables: %w", err)
		}
	}
	if tables[0] != tables[1] {
		return &dataflow.ConfigError{Field: "driver", Reason: "the SQLite database is in memory or temporary, and each connection of the pool has one of its own: call SetMaxOpenConns(1), or open file:NAME?mode=memory&cache=shared"}
	}
	return nil
}
