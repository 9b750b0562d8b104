#!/usr/bin/env bash
# npm's typeorm 1.1.1 with pg 8.23.1, beside sequelize 6.37.8, with PostgreSQL 18.4. Needs npm.
#
# A good guess: a version column grows with each change ("every time your entity will be persisted, this number will be
# increased by one"), and refuses the save of somebody who read an older version, as in Sequelize. An update date
# grows too. Readers of changes go by either.
# Seen, without an error, when two have read a row, and both save a change to it, each to a column of its own:
#   - TypeORM's save compares what it is given with the row as it is now, and takes each difference for a change. So the
#     second save also writes what it had read of the first one's column: the first change is lost.
#   - The version and the update date are such differences too. The second save sets both back to what they were before
#     the first. A reader that has seen the first save looks for a greater version or a later date, and finds nothing.
# In the source, the line that leaves these two columns out of the comparison is commented out.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
cd "$dir"
npm install --no-audit --no-fund typeorm@1.1.1 pg@8.23.1 sequelize@6.37.8 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.cjs <<'JS'
const { Sequelize, DataTypes } = require("sequelize");
const { DataSource, EntitySchema } = require("typeorm");

const url = `postgres://postgres@127.0.0.1:${process.env.PGPORT}/postgres`;

async function typeorm() {
  const Order = new EntitySchema({
    name: "orders",
    columns: {
      id: { type: "int", primary: true }, state: { type: "text" }, price: { type: "int" },
      version: { type: "int", version: true }, updated: { type: "timestamptz", updateDate: true },
    },
  });
  const db = await new DataSource({ type: "postgres", url, entities: [Order], synchronize: true }).initialize();
  const orders = db.getRepository(Order);
  await orders.save({ id: 1, state: "new", price: 5 });
  const [a, b] = [await orders.findOneBy({ id: 1 }), await orders.findOneBy({ id: 1 })];
  let last;
  const show = async (what) => {
    const row = await orders.findOneBy({ id: 1 });
    const date = !last ? "new" : row.updated > last ? "later" : row.updated < last ? "earlier than the last" : "the same";
    last = row.updated;
    console.log(`TypeORM, ${what}: ${row.state}, price ${row.price}, version ${row.version}, date ${date}`);
  };
  await show("at first");
  a.state = "paid";
  await orders.save(a);
  await show("after a's save");
  b.price = 6;
  await orders.save(b);
  await show("after b's save");
  await db.destroy();
}

async function sequelize() {
  const db = new Sequelize(url, { logging: false });
  const Order = db.define("s_order", { state: DataTypes.TEXT, price: DataTypes.INTEGER }, { version: true });
  await db.sync();
  await Order.create({ id: 1, state: "new", price: 5 });
  const [a, b] = [await Order.findByPk(1), await Order.findByPk(1)];
  await a.update({ state: "paid" });
  await b.update({ price: 6 }).then(() => console.log("Sequelize saved b"), (err) => console.log(`Sequelize, b's save: ${err.name}`));
  await db.close();
}

typeorm().then(sequelize);
JS
seen=$(PGPORT=$PGPORT_FOUND node main.cjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
TypeORM, at first: new, price 5, version 1, date new
TypeORM, after a's save: paid, price 5, version 2, date later
TypeORM, after b's save: new, price 6, version 1, date earlier than the last
Sequelize, b's save: SequelizeOptimisticLockError
SEEN
