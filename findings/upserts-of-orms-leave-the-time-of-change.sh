#!/usr/bin/env bash
# npm's @mikro-orm/postgresql 7.2.5, sequelize 6.37.8 and typeorm 1.1.1 with pg 8.23.1, and PostgreSQL 18.4. Needs npm.
#
# A good guess: a column that an ORM keeps as the time of the last change (onUpdate, timestamps, updateDate), or as a version, moves
# whenever the ORM changes the row. Readers of changes go by it.
# Seen, without an error, for a row that is there already:
#   - MikroORM's flush moves the time. Its upsert and upsertMany change the row and leave the time.
#   - Sequelize's update and upsert move it. bulkCreate with updateOnDuplicate, its upsert of many, leaves it, unless
#     updatedAt is among the named columns.
#   - TypeORM's update, upsert and orUpdate move the date. Of the version beside it, upsert and orUpdate take no notice.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
cd "$dir"
npm install --no-audit --no-fund @mikro-orm/core@7.2.5 @mikro-orm/postgresql@7.2.5 sequelize@6.37.8 typeorm@1.1.1 pg@8.23.1 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import { EntitySchema as MikroSchema, MikroORM } from "@mikro-orm/postgresql";
import pg from "pg";
import sequelize from "sequelize";
import { DataSource, EntitySchema } from "typeorm";

const url = `postgres://postgres@127.0.0.1:${process.env.PGPORT}/postgres`;
const client = new pg.Client(url);
await client.connect();

// changes makes a row of a table, changes it in each way, and shows what that moves.
async function changes(name, table, columns, create, ways) {
  const look = async () => (await client.query(`select * from ${table}`)).rows[0];
  await create();
  for (const [way, change] of Object.entries(ways)) {
    const before = await look();
    await new Promise((resolve) => setTimeout(resolve, 50));
    await change();
    const after = await look();
    const moved = columns.map((column) => `${column} ${after[column] > before[column] ? "moves" : "stays"}`);
    console.log(`${name}, ${way}: ${before.state} to ${after.state}, ${moved.join(", ")}`);
  }
}

{
  const now = () => new Date();
  const Order = new MikroSchema({ name: "MikroOrder", tableName: "mikro_orders", properties: {
    id: { type: "integer", primary: true }, state: { type: "text" }, updatedAt: { type: "datetime", fieldName: "updated_at", onCreate: now, onUpdate: now },
  } });
  const orm = await MikroORM.init({ clientUrl: url, entities: [Order] });
  await orm.schema.create();
  await changes("MikroORM", "mikro_orders", ["updated_at"],
    async () => { const em = orm.em.fork(); em.create(Order, { id: 1, state: "new" }); await em.flush(); },
    {
      flush: async () => { const em = orm.em.fork(); (await em.findOneOrFail(Order, 1)).state = "paid"; await em.flush(); },
      upsert: () => orm.em.fork().upsert(Order, { id: 1, state: "packed" }),
      upsertMany: () => orm.em.fork().upsertMany(Order, [{ id: 1, state: "sent" }]),
    });
  await orm.close();
}
{
  const db = new sequelize.Sequelize(url, { logging: false });
  const Order = db.define("sequelize_orders", { id: { type: sequelize.DataTypes.INTEGER, primaryKey: true }, state: sequelize.DataTypes.TEXT }, { underscored: true });
  await db.sync();
  await changes("Sequelize", "sequelize_orders", ["updated_at"], () => Order.create({ id: 1, state: "new" }), {
    update: () => Order.update({ state: "paid" }, { where: { id: 1 } }),
    upsert: () => Order.upsert({ id: 1, state: "packed" }),
    bulkCreate: () => Order.bulkCreate([{ id: 1, state: "sent" }], { updateOnDuplicate: ["state"] }),
    "bulkCreate with updatedAt": () => Order.bulkCreate([{ id: 1, state: "gone" }], { updateOnDuplicate: ["state", "updatedAt"] }),
  });
  await db.close();
}
{
  const Order = new EntitySchema({ name: "typeorm_orders", columns: {
    id: { type: "int", primary: true }, state: { type: "text" }, updated_at: { type: "timestamptz", updateDate: true }, version: { type: "int", version: true },
  } });
  const db = await new DataSource({ type: "postgres", url, entities: [Order], synchronize: true }).initialize();
  const orders = db.getRepository(Order);
  await changes("TypeORM", "typeorm_orders", ["updated_at", "version"], () => orders.save({ id: 1, state: "new" }), {
    update: () => orders.update(1, { state: "paid" }),
    upsert: () => orders.upsert({ id: 1, state: "packed" }, ["id"]),
    orUpdate: () => orders.createQueryBuilder().insert().values({ id: 1, state: "sent" }).orUpdate(["state"], ["id"]).execute(),
  });
  await db.destroy();
}
await client.end();
JS
got=$(PGPORT=$PGPORT_FOUND node main.mjs)
echo "$got"
diff <(echo "$got") - <<'SEEN'
MikroORM, flush: new to paid, updated_at moves
MikroORM, upsert: paid to packed, updated_at stays
MikroORM, upsertMany: packed to sent, updated_at stays
Sequelize, update: new to paid, updated_at moves
Sequelize, upsert: paid to packed, updated_at moves
Sequelize, bulkCreate: packed to sent, updated_at stays
Sequelize, bulkCreate with updatedAt: sent to gone, updated_at moves
TypeORM, update: new to paid, updated_at moves, version moves
TypeORM, upsert: paid to packed, updated_at moves, version stays
TypeORM, orUpdate: packed to sent, updated_at moves, version stays
SEEN
