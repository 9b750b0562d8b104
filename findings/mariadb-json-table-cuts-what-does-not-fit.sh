#!/usr/bin/env bash
# MariaDB 10.11.19 (Debian 12), with its default, strict sql_mode. Needs Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: JSON_TABLE, by which a flow loads a page of an API's records with one insert, refuses a value that its column
# does not hold, as each insert does in strict mode, also one of JSON_VALUE. Or the column is NULL, as in Postgres' and
# MySQL's JSON_TABLE, unless ERROR ON ERROR asks for an error. Seen, with NULL ON ERROR and ERROR ON ERROR alike:
#   - An id above 2147483647 becomes 2147483647 in an int, a text is cut to the length of its column, "12 pieces" and "" are the
#     numbers 12 and 0, and the 30th of February is 0000-00-00. The insert stores them, and reports success.
#   - There are warnings, which a driver does not read by itself. The date that was stored is one that strict mode refuses.
# The documentation has a sentence of it: what does not fit gives a warning, as in CAST, and ON ERROR is for objects and arrays
# in the place of a value. But CAST in a strict insert is an error.
set -euo pipefail
cd "$(dirname "$0")"
. lib/mariadb.sh
start_mariadb "$(mktemp -d)"
ask -e 'create database d'
page='[{"id": 5000000000, "code": "AB-1234", "pieces": "12 pieces", "due": "2026-02-30"}, {"id": 7, "code": "AB-1", "pieces": "", "due": "2026-02-01"}]'

insert() { # insert WHAT SELECT: says what an insert of it answers, and what is stored
  ask d -e "create or replace table orders (id int, code varchar(4), pieces int, due date)"
  if ask d -e "insert into orders $2" 2>"$mariadb_dir/error"; then echo "$1: stored"; else echo "$1: $(grep -o 'ERROR.*' "$mariadb_dir/error")"; fi
  ask d -e 'select * from orders'
}

seen=$(
  for on in '' 'null on error' 'error on error'; do
    insert "JSON_TABLE ${on:-as it is}" "select * from json_table('$page', '\$[*]' columns (id int path '\$.id' $on,
      code varchar(4) path '\$.code' $on, pieces int path '\$.pieces' $on, due date path '\$.due' $on)) t"
  done
  insert "the same as texts" "select * from json_table('$page', '\$[*]' columns (id text path '\$.id',
    code text path '\$.code', pieces text path '\$.pieces', due text path '\$.due')) t"
  insert "CAST" "(pieces) select cast('12 pieces' as int)"
  insert "JSON_VALUE" "(code) select json_value('$page', '\$[0].code')"
)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
JSON_TABLE as it is: stored
2147483647	AB-1	12	0000-00-00
7	AB-1	0	2026-02-01
JSON_TABLE null on error: stored
2147483647	AB-1	12	0000-00-00
7	AB-1	0	2026-02-01
JSON_TABLE error on error: stored
2147483647	AB-1	12	0000-00-00
7	AB-1	0	2026-02-01
the same as texts: ERROR 1264 (22003) at line 1: Out of range value for column 'id' at row 1
CAST: ERROR 1292 (22007) at line 1: Truncated incorrect INTEGER value: '12 pieces'
JSON_VALUE: ERROR 1406 (22001) at line 1: Data too long for column 'code' at row 1
SEEN
