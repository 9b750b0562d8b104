#!/usr/bin/env bash
# sqldiff and sqlite3 3.40.1 (Debian 12). Needs Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: sqldiff, which "displays content differences between SQLite databases", prints what turns the first file into
# the second. So that a copy can be brought up to date by it, and an empty answer says that both are alike. Its page
# names what it leaves out, such as triggers and virtual tables. Seen, without an error:
#   - It compares a value by the collation of its column. In one that ignores case, a code that somebody corrected from "ab-1"
#     to "AB-1" has not changed. It takes 1 and 1.0 for the same, too.
#   - It writes a real number with 15 digits, so that 0.1 + 0.2 arrives as 0.3, and a text up to its first NUL. The copy
#     differs from both files then, and sqldiff finds the same two rows again each time.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/debs" "$dir/root"
(cd "$dir/debs" && apt-get download sqlite3 sqlite3-tools libsqlite3-0 libedit2 libtinfo6 libbsd0 libmd0 >download.log 2>&1) || { cat "$dir/debs/download.log"; exit 1; }
for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/root"; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu
export PATH=$dir/root/usr/bin:$PATH
cd "$dir"
sqlite3 --version | cut -d' ' -f1 >&2
table='create table orders (id integer primary key, code text collate nocase, cents real, quantity, note text);'
sqlite3 old.db "$table insert into orders values
  (1, 'ab-1', 5, 1, 'a'), (2, 'ab-2', 5, 1, 'a'), (3, 'ab-3', 5, 1, 'a'), (4, 'ab-4', 5, 1, 'a'), (5, 'ab-5', 5, 1, 'a')"
sqlite3 new.db "$table insert into orders values
  (1, 'AB-1', 5, 1, 'a'), (2, 'ab-2', 5, 1.0, 'a'), (3, 'ab-3', 0.1 + 0.2, 1, 'a'), (4, 'ab-4', 5, 1, 'b' || char(0) || 'c'), (5, 'ab-5', 5, 2, 'a')"
sqldiff old.db new.db >changes.sql
sqlite3 old.db <changes.sql

show() { sqlite3 "$1" "select id, code, cast(cents = 0.1 + 0.2 as text), typeof(quantity) || quantity, hex(note) from orders"; }
seen="sqldiff:
$(cat changes.sql)
the copy afterwards:
$(show old.db)
what it should be:
$(show new.db)
sqldiff again:
$(sqldiff old.db new.db)"
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
sqldiff:
UPDATE orders SET cents=0.3 WHERE id=3;
UPDATE orders SET note='b' WHERE id=4;
UPDATE orders SET quantity=2 WHERE id=5;
the copy afterwards:
1|ab-1|0|integer1|61
2|ab-2|0|integer1|61
3|ab-3|0|integer1|61
4|ab-4|0|integer1|62
5|ab-5|0|integer2|61
what it should be:
1|AB-1|0|integer1|61
2|ab-2|0|real1.0|61
3|ab-3|1|integer1|61
4|ab-4|0|integer1|620063
5|ab-5|0|integer2|61
sqldiff again:
UPDATE orders SET cents=0.3 WHERE id=3;
UPDATE orders SET note='b' WHERE id=4;
SEEN
