#!/usr/bin/env bash
# MariaDB 10.11.19, its type uuid. Needs Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: a column of type uuid takes every UUID, as Postgres' does, and sorts them as their
# texts or bytes. Seen: it takes all UUIDs of versions 1 to 7, and refuses one in 64 of version 8, which
# RFC 9562 defines: those whose ninth byte is 80. It refuses a quarter of the UUIDs that people make of
# a digest, such as md5(x)::uuid. Without strict mode it stores NULL instead, with a warning. And it sorts
# versions 6 and 7 by their text, but all others by their last part first.
set -euo pipefail
cd "$(dirname "$0")"
. lib/mariadb.sh
start_mariadb "$(mktemp -d)"
cd "$mariadb_dir"

# uuid_of is the UUID of a digest of n.seq, with a version and a variant.
uuid_of() { echo "concat_ws('-', left(md5(n.seq), 8), mid(md5(n.seq), 9, 4), concat($1, mid(md5(n.seq), 14, 3)), concat($2, mid(md5(n.seq), 18, 3)), right(md5(n.seq), 12))"; }
proper=$(uuid_of v.seq "elt(1 + n.seq % 4, '8', '9', 'a', 'b')")
digest=$(uuid_of "mid(md5(n.seq), 13, 1)" "mid(md5(n.seq), 17, 1)")
seen=$(ask <<SQL
create database d;
use d;
create table t (version char(1), s char(36), id uuid);
set sql_mode = '';
insert ignore into t select v.seq, $proper, $proper from seq_1_to_8 v, seq_1_to_16000 n;
select concat('version ', version, ': ', case when count(id) = count(*) then 'all are taken' else
  concat('refused are those whose ninth byte is ', group_concat(distinct case when id is null then mid(s, 20, 2) end)) end) from t group by version;
delete from t;
insert ignore into t select '', $digest, $digest from seq_1_to_16000 n;
select concat('digests: ', round(100 * (1 - count(id) / count(*)) / 5) * 5, ' percent are refused') from t;
set sql_mode = 'STRICT_TRANS_TABLES';
delete from t;
insert into t (version, id) values (4, 'ffffffff-0000-4000-8000-000000000001'), (4, '00000000-0000-4000-8000-000000000002'),
  (7, '0190a001-0000-7000-8000-000000000001'), (7, '0190a000-0000-7000-8000-000000000002');
select concat('in order: ', id) from t order by id;
SQL
)
echo "$seen"
echo "insert into d.t (id) values ('9f61408e-3afb-833e-80cd-f1b20de6f466')" | ask --init-command="set sql_mode = 'STRICT_TRANS_TABLES'" 2>error.log && exit 1
cat error.log
grep -q "^ERROR 1292 (22007).*Incorrect uuid value: '9f61408e-3afb-833e-80cd-f1b20de6f466'" error.log
diff <(echo "$seen") - <<'SEEN'
version 1: all are taken
version 2: all are taken
version 3: all are taken
version 4: all are taken
version 5: all are taken
version 6: all are taken
version 7: all are taken
version 8: refused are those whose ninth byte is 80
digests: 25 percent are refused
in order: ffffffff-0000-4000-8000-000000000001
in order: 00000000-0000-4000-8000-000000000002
in order: 0190a000-0000-7000-8000-000000000002
in order: 0190a001-0000-7000-8000-000000000001
SEEN
