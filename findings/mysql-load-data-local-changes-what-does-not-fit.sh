#!/usr/bin/env bash
# github.com/go-sql-driver/mysql v1.10.0 with MariaDB 10.11. Needs Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: in strict mode the server refuses what a column cannot hold, so that a bulk load by LOAD DATA LOCAL INFILE, which is
# the fast way and which the driver offers by RegisterReaderHandler, fails at such a row as INSERT does. Seen: with LOCAL each
# such error is a warning, as the manual says and few expect. Exec returns no error. A text is cut, a number that is
# too great becomes the greatest, a word becomes 0, a date that does not exist becomes 0000-00-00, an empty cell of a number 0. A
# row whose key is there already is left out, and so is one whose foreign key is missing. The transaction commits. RowsAffected
# tells how many rows are there, and nothing tells that some of them were changed, unless the same connection is asked for its warnings.
set -euo pipefail
cd "$(dirname "$0")"
. lib/mariadb.sh
start_mariadb "$(mktemp -d)" --local-infile=1
cd "$mariadb_dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

var ctx = context.Background()

func main() {
	db, err := sql.Open("mysql", "root@unix("+os.Getenv("SOCKET")+")/")
	check(err)
	conn, err := db.Conn(ctx) // SHOW WARNINGS is about the last statement of a connection
	check(err)
	for _, statement := range []string{
		"create database d", "use d", "set sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'",
		"create table shops (id int primary key)", "insert into shops values (1)",
		"create table orders (id int primary key, code varchar(4), cents smallint, day date, shop int, foreign key (shop) references shops (id))",
	} {
		_, err := conn.ExecContext(ctx, statement)
		check(err)
	}
	rows := []string{"1,A-100,500,2026-11-27,1", "2,A-2,70000,2026-11-27,1", "3,A-3,ten,2026-11-27,1", "4,A-4,,2026-02-30,1", "5,A-5,5,2026-11-27,7", "6,A-6,6,2026-11-27,1", "6,A-7,7,2026-11-27,1"}
	for _, row := range rows {
		cells := strings.Split(row, ",")
		_, err := conn.ExecContext(ctx, "insert into orders values (?, ?, ?, ?, ?)", cells[0], cells[1], cells[2], cells[3], cells[4])
		if err != nil {
			fmt.Println("INSERT of", row, "is refused")
		}
	}
	_, err = conn.ExecContext(ctx, "delete from orders")
	check(err)

	mysql.RegisterReaderHandler("orders", func() io.Reader { return strings.NewReader(strings.Join(rows, "\n") + "\n") })
	tx, err := conn.BeginTx(ctx, nil)
	check(err)
	result, err := tx.ExecContext(ctx, "load data local infile 'Reader::orders' into table orders fields terminated by ','")
	check(err)
	check(tx.Commit())
	affected, err := result.RowsAffected()
	check(err)
	fmt.Println("LOAD DATA LOCAL of", len(rows), "rows: no error, affected:", affected)
	found, err := conn.QueryContext(ctx, "select concat_ws(',', id, code, cents, day, shop) from orders order by id")
	check(err)
	for found.Next() {
		var row string
		check(found.Scan(&row))
		fmt.Println(row)
	}
	check(found.Err())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/go-sql-driver/mysql@v1.10.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
INSERT of 1,A-100,500,2026-11-27,1 is refused
INSERT of 2,A-2,70000,2026-11-27,1 is refused
INSERT of 3,A-3,ten,2026-11-27,1 is refused
INSERT of 4,A-4,,2026-02-30,1 is refused
INSERT of 5,A-5,5,2026-11-27,7 is refused
INSERT of 6,A-7,7,2026-11-27,1 is refused
LOAD DATA LOCAL of 7 rows: no error, affected: 5
1,A-10,500,2026-11-27,1
2,A-2,32767,2026-11-27,1
3,A-3,0,2026-11-27,1
4,A-4,0,0000-00-00,1
6,A-6,6,2026-11-27,1
SEEN
