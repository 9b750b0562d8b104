#!/usr/bin/env bash
# MariaDB 10.11.19 (Debian 12). Needs Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: JSON_CONTAINS and JSON_OVERLAPS find the documents that have a value, as JSON_EQUALS and a comparison of
# JSON_VALUE do. How a value is written does not matter: "Schr\u00f6der" and "Schröder" are one text, and PHP and Python
# write the first by default. Seen, without an error or a warning:
#   - They compare numbers as floats of 64 bits. So an order with the id 9007199254740993 passes for one with 9007199254740992,
#     and a delete by such a condition deletes both. JSON_EQUALS and JSON_VALUE tell them apart.
#   - They compare texts as they are written. A name with a letter that is escaped, or an address with "\/", is not found by
#     the text itself, and a list of what is done does not have it. JSON_EQUALS does the same; JSON_VALUE finds both.
set -euo pipefail
cd "$(dirname "$0")"
. lib/mariadb.sh
start_mariadb "$(mktemp -d)" --character-set-server=utf8mb4
seen=$(ask --default-character-set=utf8mb4 <<'SQL'
create database d;
use d;
create table orders (id int primary key, doc json);
insert into orders values (1, '{"order": [9007199254740992]}'), (2, '{"order": [9007199254740993]}');
select 'the id by JSON_CONTAINS', group_concat(id) from orders where json_contains(doc, '9007199254740992', '$.order');
select 'the id by JSON_OVERLAPS', group_concat(id) from orders where json_overlaps(doc, '{"order": [9007199254740992]}');
select 'the id by JSON_EQUALS', group_concat(id) from orders where json_equals(doc, '{"order": [9007199254740992]}');
select 'the id by JSON_VALUE', group_concat(id) from orders where json_value(doc, '$.order[0]') = 9007199254740992;
delete from orders where json_contains(doc, '9007199254740992', '$.order');
select 'orders after the delete', count(*) from orders;

create table people (id int primary key, doc json);
insert into people values (1, '{"names": ["Schröder"]}'), (2, '{"names": ["Schr\\u00f6der"]}'), (3, '{"names": ["a/b"]}'), (4, '{"names": ["a\\/b"]}');
select 'the name by JSON_CONTAINS', group_concat(id) from people where json_contains(doc, '"Schröder"', '$.names');
select 'the name by JSON_OVERLAPS', group_concat(id) from people where json_overlaps(doc, '{"names": ["Schröder"]}');
select 'the name by JSON_EQUALS', group_concat(id) from people where json_equals(doc, '{"names": ["Schröder"]}');
select 'the name by JSON_VALUE', group_concat(id) from people where json_value(doc, '$.names[0]') = 'Schröder';
select 'a/b by JSON_CONTAINS', group_concat(id) from people where json_contains(doc, '"a/b"', '$.names');
select 'a/b by JSON_VALUE', group_concat(id) from people where json_value(doc, '$.names[0]') = 'a/b';
SQL
)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
the id by JSON_CONTAINS	1,2
the id by JSON_OVERLAPS	1,2
the id by JSON_EQUALS	1
the id by JSON_VALUE	1
orders after the delete	0
the name by JSON_CONTAINS	1
the name by JSON_OVERLAPS	1
the name by JSON_EQUALS	1
the name by JSON_VALUE	1,2
a/b by JSON_CONTAINS	3
a/b by JSON_VALUE	3,4
SEEN
