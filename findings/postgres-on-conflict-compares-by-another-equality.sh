#!/usr/bin/env bash
# Postgres 18.4 (the same on 15.18), through pgx v5.12.0.
#
# A good guess: "on conflict (k)", "merge … on t.k = s.k" and "where k = $1" find the same row, because
# a unique index on k lets there be one at most. Seen: "on conflict (k)" takes a unique index of any
# collation, and compares by that of the index. The others compare by the collation of the column.
# Where the column's collation takes 'a' and 'A' for equal, and the index is on (k collate "C"), both
# are in the table. Then the upsert of 'A' changes one row; the merge, and "where k = 'a'", two; and
# "distinct on (k)" before an upsert makes one row of both. Naming the column's collation in "on
# conflict (k collate …)" is an error.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	ctx  = context.Background()
	conn *pgx.Conn
)

func main() {
	var err error
	conn, err = pgx.Connect(ctx, "postgres://postgres@127.0.0.1:"+os.Args[1]+"/postgres?sslmode=disable")
	check(err)
	exec("create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
	exec("create table t (k text collate ci not null, v int)")
	exec(`create unique index on t (k collate "C")`)
	fmt.Println("insert of 'a' and 'A':      ", exec("insert into t values ('a', 1), ('A', 2)"))
	fmt.Println("on conflict (k), 'A':       ", exec("insert into t values ('A', 3) on conflict (k) do update set v = excluded.v"))
	fmt.Println("on conflict (k collate ci): ", exec("insert into t values ('A', 3) on conflict (k collate ci) do update set v = excluded.v"))
	fmt.Println("merge of 'A':               ", exec("merge into t using (values ('A', 4)) s (k, v) on t.k = s.k when matched then update set v = s.v"))
	fmt.Println("update where k = 'a':       ", exec("update t set v = 5 where k = 'a'"))
	fmt.Println("rows of distinct on (k):    ", exec("select distinct on (k) k from t"))
}

func exec(sql string) string {
	tag, err := conn.Exec(ctx, sql)
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	check(err)
	return tag.String()
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
got=$(go run . "$PGPORT_FOUND")
echo "$got"
diff <(echo "$got") - <<'SEEN'
insert of 'a' and 'A':       INSERT 0 2
on conflict (k), 'A':        INSERT 0 1
on conflict (k collate ci):  42P10
merge of 'A':                MERGE 2
update where k = 'a':        UPDATE 2
rows of distinct on (k):     SELECT 1
SEEN
