#!/usr/bin/env bash
# Mosquitto 2.0.11 (Debian 12), npm's mqtt 5.16.0. Needs Debian 12, whose packages it runs from a temporary folder, and npm.
#
# A good guess: a message of QoS 1 ("at least once") that the broker has acknowledged reaches a subscriber with a
# persistent session, also one that was away for a while, as a service during a deploy. In MQTT 5 the acknowledgement has
# a reason code, of which 0x97 is "quota exceeded". Seen: the session of a client that is away holds 1,000 messages. All
# 5,000 are acknowledged as taken, and the newest 4,000 are lost: the worker that comes back gets the oldest ones. The
# broker's log has one line for the client, without a count. The manual of mosquitto.conf names the limit,
# max_queued_messages. Nothing that the publisher or the subscriber gets tells.
set -euo pipefail
work=$(mktemp -d)
pid=
stop() {
  [ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
mkdir "$work/debs" "$work/root" "$work/store"
(cd "$work/debs" && apt-get download mosquitto libmosquitto1 libcjson1 libwebsockets17 libdlt2 libev4 libuv1 >download.log 2>&1) || { cat "$work/debs/download.log"; exit 1; }
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
cd "$work"
{ npm init -y && npm install --no-audit --no-fund mqtt@5.16.0; } >npm.log 2>&1 || { cat npm.log; exit 1; }
port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
cat >mosquitto.conf <<CONF
listener $port 127.0.0.1
allow_anonymous true
persistence true
persistence_location $work/store/
user $(id -un)
CONF
cat >main.mjs <<'JS'
import mqtt from "mqtt";

const url = `mqtt://127.0.0.1:${process.env.PORT}`;

for (const version of [4, 5]) {
  const session = { clientId: `worker-${version}`, clean: false, protocolVersion: version };
  if (version === 5) session.properties = { sessionExpiryInterval: 86_400 };
  const topic = `orders/${version}`;

  const before = await mqtt.connectAsync(url, session);
  await before.subscribeAsync(topic, { qos: 1 });
  await before.endAsync();

  const publisher = await mqtt.connectAsync(url, { protocolVersion: version });
  let taken = 0;
  for (let i = 1; i <= 5_000; i++) {
    const ack = await publisher.publishAsync(topic, String(i), { qos: 1 }); // returns after the PUBACK
    if (!ack?.reasonCode) taken++; // 0 or none is success
  }
  await publisher.endAsync();

  const got = [];
  const after = mqtt.connect(url, session);
  after.on("message", (_, text) => got.push(Number(text)));
  for (let seen = -1; seen !== got.length || seen === 0; ) {
    seen = got.length;
    await new Promise((done) => setTimeout(done, 2_000));
  }
  console.log(`MQTT ${version === 4 ? "3.1.1" : "5"}: ${taken} acknowledged, ${got.length} arrive, from ${got[0]} to ${got.at(-1)}`);
  await after.endAsync();
}
JS
LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu "$work/root/usr/sbin/mosquitto" -c mosquitto.conf >mosquitto.log 2>&1 &
pid=$!
for _ in $(seq 100); do grep -q ' running' mosquitto.log || sleep 0.1; done
grep -o 'mosquitto version [0-9.]*' mosquitto.log | head -1 >&2
seen=$(PORT=$port node main.mjs)
seen+=$'\n'"lines in the log: $(grep -c 'being dropped' mosquitto.log)"
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
MQTT 3.1.1: 5000 acknowledged, 1000 arrive, from 1 to 1000
MQTT 5: 5000 acknowledged, 1000 arrive, from 1 to 1000
lines in the log: 2
SEEN
