#!/usr/bin/env bash
# mariadb-dump of MariaDB 10.11 (Debian 12). Needs Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: a table that is restored from a dump has the rows of the one that was dumped. Seen, without an error: a float is
# written with 6 digits, where 9 are needed to tell its 4 bytes apart. So 16777215 comes back as 16777200, and 123456.79 as 123457. A
# double comes back as it was. CHECKSUM TABLE of both tables tells that they differ; which rows do is found by comparing the
# columns as doubles, as a comparison of their texts finds none.
set -euo pipefail
cd "$(dirname "$0")"
. lib/mariadb.sh
start_mariadb "$(mktemp -d)"
cd "$mariadb_dir"
(cd debs && apt-get download mariadb-client >>download.log 2>&1) || { cat debs/download.log; exit 1; }
dpkg -x debs/mariadb-client_*.deb root
dump() { env "$(mariadb_libraries)" root/usr/bin/mariadb-dump --no-defaults --socket="$SOCKET" "$@"; }
ask <<'SQL'
create database shop;
create database restored;
create table shop.prices (id int primary key, f float, d double);
insert into shop.prices values (1, 16777215, 16777215), (2, 123456.79, 123456.79), (3, 0.1, 0.1);
SQL
dump shop >shop.sql
ask restored <shop.sql
got=$(ask <<'SQL'
select concat('row ', a.id, ': as texts ', if(concat(a.f) = concat(b.f), 'equal', 'different'), '; float ', cast(a.f as double), ' is ', cast(b.f as double), '; double ', a.d, ' is ', b.d)
  from shop.prices a join restored.prices b using (id) order by a.id;
SQL
)
got+="
checksums: $(ask -e 'checksum table shop.prices, restored.prices' | awk '{print $2}' | uniq | wc -l) different"
echo "$got"
diff <(echo "$got") - <<'SEEN'
row 1: as texts equal; float 16777215 is 16777200; double 16777215 is 16777215
row 2: as texts equal; float 123456.7890625 is 123457; double 123456.79 is 123456.79
row 3: as texts equal; float 0.10000000149011612 is 0.10000000149011612; double 0.1 is 0.1
checksums: 2 different
SEEN
