//go:build unix && chaos

package chaos_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// Rows of chaos_version change. Each change adds one to version.
const versionSQL = `
create table chaos_version (id bigint generated always as identity primary key, version bigint not null default 1, updated_at timestamptz not null default now());
create index on chaos_version (updated_at, id);`

// chaos_copy is the target. chaos_back has each row that went back to an older version.
const copySQL = `
create table chaos_copy (id bigint primary key, version bigint not null, updated_at timestamptz not null);
create table chaos_back (id bigint, version bigint);
create function chaos_back() returns trigger language plpgsql as $$
begin
	insert into chaos_back values (new.id, new.version);
	return new;
end $$;
create trigger chaos_back before update on chaos_copy for each row when (new.version < old.version) execute function chaos_back();`

// version is a row of chaos_version.
type version struct {
	ID, Version int64
	UpdatedAt   time.Time
}

func versions(pool *pgxpool.Pool, page int) dataflow.Source[version, pgtable.Cursor] {
	return pgtable.Keyset[version](pool, pgtable.Query{SQL: `select id, version, updated_at from chaos_version`, Key: []string{"updated_at", "id"}, PageSize: page})
}

func (s *flowSettings) versions(o *orders) dataflow.Transform[version, version] {
	return dataflow.Batch(func(ctx context.Context, in []version) ([]version, error) { return paced(ctx, s, o, in) })
}

// copy is the target of versions.
func (s *flowSettings) copy(elsewhere *pgxpool.Pool) dataflow.Target[version] {
	if s.Elsewhere {
		return pgtable.UpsertTo[version](elsewhere, "chaos_copy", "id")
	}
	return pgtable.Upsert[version]("chaos_copy", "id")
}

// writeVersions lets writers update the first rows, and insert others.
func writeVersions(ctx context.Context, url string, seed uint64, enough <-chan struct{}, rows int64) *inserted {
	return writeRows(ctx, url, seed, enough, func(rng *rand.Rand) (string, int64) {
		if rng.IntN(4) == 0 {
			return `insert into chaos_version select from generate_series(1, $1::int)`, 1 + rng.Int64N(3)
		}
		return `update chaos_version set version = version + 1, updated_at = now() where id = $1`, 1 + rng.Int64N(rows)
	})
}

// sumOf says in short what a table of versions holds.
func (s *stage) sumOf(db *sql.DB, table string) (sum string) {
	s.Helper()
	err := db.QueryRowContext(s.Context(), fmt.Sprintf(`select count(*) || ' rows, ' || sum(version) || ' versions, ' || md5(string_agg(id || ':' || version || ':' || updated_at, ',' order by id)) from %s`, table)).Scan(&sum)
	require.NoError(s, err)
	return sum
}
