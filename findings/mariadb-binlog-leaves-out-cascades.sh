#!/usr/bin/env bash
# MariaDB 10.11.19 (Debian 12), with binlog_format = row, and npm's @vlasky/zongji 0.9.0, which reads its binary log. Needs npm,
# and Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: a binary log of rows has each row that was changed, so that a reader which follows it has what the tables have,
# as with Postgres. It has what a trigger changes. Seen, without an error or a warning:
#   - It does not have what a foreign key changes. A delete of an order deletes its lines ("on delete cascade") and sets a
#     column of its notes to NULL, and a changed number is changed in the lines. The log has the order alone, with the
#     definitions of the other tables before it, as if rows of theirs followed. So the copy keeps the lines.
#   - The lines' trigger does not run for a cascade either, and a column "on update current_timestamp" keeps its time. So an
#     audit by triggers, and a reader who looks for later times of change, miss the same rows.
set -euo pipefail
cd "$(dirname "$0")"
. lib/mariadb.sh
start_mariadb "$(mktemp -d)" --log-bin=binlog --binlog-format=row --server-id=1
cd "$mariadb_dir"
{ npm init -y && npm install --no-audit --no-fund --ignore-scripts @vlasky/zongji@0.9.0; } >npm.log 2>&1 || { cat npm.log; exit 1; }
ask <<'SQL'
create database d;
use d;
create table orders (number int primary key);
create table line (id int primary key, number int, changed timestamp not null default '2026-01-01' on update current_timestamp, foreign key (number) references orders (number) on delete cascade on update cascade);
create table note (id int primary key, number int, foreign key (number) references orders (number) on delete set null);
create table audit (id int auto_increment primary key, what text);
create trigger deleted_order after delete on orders for each row insert into audit (what) values (concat('order ', old.number, ' deleted'));
create trigger deleted_line after delete on line for each row insert into audit (what) values (concat('line ', old.id, ' deleted'));
insert into orders values (1), (2);
insert into line (id, number) values (10, 1), (11, 1), (20, 2), (21, 2);
insert into note values (100, 1);
delete from orders where number = 1;
update orders set number = 3 where number = 2;
update line set number = null where id = 21;
SQL
cat >main.mjs <<'JS'
import ZongJi from "@vlasky/zongji";

const copy = {}; // by table and id
const reader = new ZongJi({ socketPath: process.env.SOCKET, user: "root" });
reader.on("error", (err) => { throw err; });
const ended = new Promise((end) => reader.on("binlog", (event) => {
  if (event.getTypeName() === "TableMap") return;
  const table = (copy[event.tableMap[event.tableId].tableName] ??= new Map());
  const key = (row) => Object.values(row)[0];
  for (const row of event.rows) {
    if (event.getTypeName() === "WriteRows") table.set(key(row), row);
    if (event.getTypeName() === "DeleteRows") table.delete(key(row));
    if (event.getTypeName() === "UpdateRows") { table.delete(key(row.before)); table.set(key(row.after), row.after); }
    if (row.after?.id === 21) end(); // the last change
  }
}));
reader.start({ filename: "binlog.000001", position: 4, includeEvents: ["tablemap", "writerows", "updaterows", "deleterows"], includeSchema: { d: true } });
await ended;
await new Promise((done) => setTimeout(done, 2_000)); // for what may follow
for (const name of ["orders", "line", "note", "audit"]) console.log(`${name}: ${[...copy[name].values()].map((row) => Object.values(row).slice(0, 2).map((v) => v ?? "NULL").join(" ")).join(", ")}`);
process.exit();
JS
seen="by the binary log:
$(node main.mjs)
in the tables:
$(for table in orders line note audit; do echo "$table: $(ask d -e "select * from $table order by 1" | cut -f1,2 | tr '\t' ' ' | paste -sd, | sed 's/,/, /g')"; done)
lines with a new time of change: $(ask d -e "select group_concat(id) from line where changed > '2026-01-01'")"
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
by the binary log:
orders: 3
line: 10 1, 11 1, 20 2, 21 NULL
note: 100 1
audit: 1 order 1 deleted
in the tables:
orders: 3
line: 20 3, 21 NULL
note: 100 NULL
audit: 1 order 1 deleted
lines with a new time of change: 21
SEEN
