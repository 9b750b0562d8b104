#!/usr/bin/env bash
# npm's apache-arrow 21.2.0, bson 7.3.4 (of the MongoDB driver), protobufjs 8.8.1. Beside them avsc 5.7.9, hyparquet-writer 0.17.0
# with hyparquet 1.33.0, and msgpackr 2.1.4. Needs npm.
#
# A good guess: a writer of a format whose integers have 32 or 64 bits refuses one that does not fit, as the three others do
# here; and protobufjs' verify finds it, which "checks whether a plain object can be encoded as-is", as its README says.
# A number that a record does not have is null in the file. Seen, without an error:
#   - 5,000,000,000 in a column of 32 bits is 705032704 in Arrow and protobufjs. verify finds nothing wrong.
#   - The greatest unsigned number of 64 bits, as a hash or a sequence may have it, is -1 in Arrow and in BSON, without
#     a type that somebody has chosen: a BigInt is an Int64 for them. protobufjs makes -1 in a uint64 the number 0.
#   - A field that one record lacks is NaN in Arrow's tableFromJSON, as undefined is in vectorFromArray. A sum of
#     that column is NaN too. null is null.
#   - A moment of 2300 in Arrow's nanoseconds is one of 1715. A date that could not be read (Invalid Date) is 1970-01-01 in BSON.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
{ npm init -y && npm install --no-audit --no-fund apache-arrow@21.2.0 bson@7.3.4 protobufjs@8.8.1 avsc@5.7.9 hyparquet-writer@0.17.0 hyparquet@1.33.0 msgpackr@2.1.4; } \
  >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import * as arrow from "apache-arrow";
import avsc from "avsc";
import * as bson from "bson";
import { parquetReadObjects } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
import { pack, unpack } from "msgpackr";
import protobuf from "protobufjs";

const message = protobuf.parse(`syntax = "proto3";
  message Row { int32 int32 = 1; int64 int64 = 2; uint64 uint64 = 3; }`).root.lookupType("Row");

const inArrow = (value, type) => {
  const table = new arrow.Table({ value: arrow.vectorFromArray([value], type) });
  return arrow.tableFromIPC(arrow.tableToIPC(table)).getChild("value").get(0);
};
const inBson = (value) => bson.deserialize(bson.serialize({ value }), { useBigInt64: true }).value;
const inAvro = (value, type) => avsc.Type.forSchema(type).fromBuffer(avsc.Type.forSchema(type).toBuffer(value));
const inParquet = async (value, type) =>
  (await parquetReadObjects({ file: parquetWriteBuffer({ columnData: [{ name: "value", data: [value], type }] }) }))[0].value;
const inMessage = (value, field) => {
  const row = { [field]: value };
  const wrong = message.verify(row);
  return `${message.toObject(message.decode(message.encode(message.fromObject(row)).finish()), { longs: String, defaults: true })[field]} (verify: ${wrong})`;
};

await show("5000000000 in 32 bits", {
  arrow: () => inArrow(5e9, new arrow.Int32()), protobufjs: () => inMessage(5e9, "int32"),
  avsc: () => inAvro(5e9, "int"), hyparquet: () => inParquet(5e9, "INT32"),
});
const most = 2n ** 64n - 1n;
await show(`${most}`, {
  arrow: () => inArrow(most), bson: () => inBson(most), hyparquet: () => inParquet(most), msgpackr: () => unpack(pack(most)),
});
await show("-1 in a uint64", { arrow: () => inArrow(-1n, new arrow.Uint64()), protobufjs: () => inMessage(-1, "uint64") });
const table = arrow.tableFromJSON([{ id: 1, price: 5 }, { id: 2 }, { id: 3, price: null }]);
await show("no price, and null", {
  arrow: () => JSON.stringify([...table.getChild("price")].map(String)),
  hyparquet: async () => `${await inParquet(undefined, "DOUBLE")}, ${await inParquet(null, "DOUBLE")}`,
});
await show("2300", { arrow: () => new Date(inArrow(new Date("2300-01-01"), new arrow.TimestampNanosecond())).getUTCFullYear() });
await show("an invalid date", { bson: () => inBson(new Date("31.12.2026")).toISOString(), msgpackr: () => unpack(pack(new Date("31.12.2026"))) });

async function show(what, libraries) {
  const answers = [];
  for (const [name, ask] of Object.entries(libraries)) {
    let answer = "refused";
    try {
      answer = await ask();
    } catch {}
    answers.push(`${name} ${answer}`);
  }
  console.log(`${what}: ${answers.join("; ")}`);
}
JS
seen=$(node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
5000000000 in 32 bits: arrow 705032704; protobufjs 705032704 (verify: null); avsc refused; hyparquet refused
18446744073709551615: arrow -1; bson -1; hyparquet refused; msgpackr 18446744073709551615
-1 in a uint64: arrow 18446744073709551615; protobufjs 0 (verify: null)
no price, and null: arrow ["5","NaN","null"]; hyparquet null, null
2300: arrow 1715
an invalid date: bson 1970-01-01T00:00:00.000Z; msgpackr Invalid Date
SEEN
