#!/usr/bin/env bash
# npm's fast-xml-parser 5.12.1, xml2js 0.6.2, xml-js 1.6.11, csv-parse 7.0.3, csvtojson 2.0.14, d3-dsv 3.0.2, beside
# papaparse 5.7.1. Needs npm.
#
# A good guess: a reader of XML or CSV that is asked to make numbers of texts makes them of texts that a number can
# stand for, and leaves the others. One that is not asked leaves all. Seen, without an error:
#   - The article 12E5678 is Infinity in four of them. JSON has no Infinity, so that the record is passed on with null.
#   - xml2js reads the article 1E5 as 1: it asks whether the text is a number, as 100000 is, and then takes the digits that
#     come first. In the same way it reads 0x1F as 0, and so does csv-parse.
#   - Ids above 2^53 become others in five of them. fast-xml-parser and papaparse leave them as texts.
#   - fast-xml-parser does so without being asked, in elements, but not in attributes. So a document that is
#     only read and built again by its own builder has 1234 for the postal code 01234, and 1.1 for 1.10.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
{ npm init -y && npm install --no-audit --no-fund fast-xml-parser@5.12.1 xml2js@0.6.2 xml-js@1.6.11 csv-parse@7.0.3 csvtojson@2.0.14 d3-dsv@3.0.2 papaparse@5.7.1; } \
  >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import { parse } from "csv-parse/sync";
import csvtojson from "csvtojson";
import { autoType, csvParse } from "d3-dsv";
import { XMLBuilder, XMLParser } from "fast-xml-parser";
import Papa from "papaparse";
import xmlJs from "xml-js";
import xml2js from "xml2js";

const readers = {
  "fast-xml-parser": (code) => new XMLParser().parse(`<code>${code}</code>`).code,
  xml2js: async (code) =>
    (await xml2js.parseStringPromise(`<code>${code}</code>`, { valueProcessors: [xml2js.processors.parseNumbers] })).code,
  "xml-js": (code) => xmlJs.xml2js(`<code>${code}</code>`, { compact: true, nativeType: true }).code._text,
  "csv-parse": (code) => parse(`code,a\n${code},x\n`, { columns: true, cast: true })[0].code,
  csvtojson: async (code) => (await csvtojson({ checkType: true }).fromString(`code,a\n${code},x\n`))[0].code,
  "d3-dsv": (code) => csvParse(`code,a\n${code},x\n`, autoType)[0].code,
  papaparse: (code) => Papa.parse(`code,a\n${code},x\n`, { header: true, dynamicTyping: true }).data[0].code,
};
for (const code of ["12E5678", "1E5", "0x1F", "9007199254740993"]) {
  const seen = [];
  for (const [name, read] of Object.entries(readers)) seen.push(`${name} ${JSON.stringify(await read(code))}`);
  console.log(`${code} in JSON: ${seen.join(", ")}`);
}
const document = '<order zip="01234"><zip>01234</zip><version>1.10</version></order>';
const options = { ignoreAttributes: false };
console.log(`${document}\nis built again as\n${new XMLBuilder(options).build(new XMLParser(options).parse(document))}`);
JS
seen=$(node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
12E5678 in JSON: fast-xml-parser "12E5678", xml2js null, xml-js null, csv-parse "12E5678", csvtojson null, d3-dsv null, papaparse "12E5678"
1E5 in JSON: fast-xml-parser 100000, xml2js 1, xml-js 100000, csv-parse 100000, csvtojson 100000, d3-dsv 100000, papaparse 100000
0x1F in JSON: fast-xml-parser 31, xml2js 0, xml-js 31, csv-parse 0, csvtojson "0x1F", d3-dsv 31, papaparse "0x1F"
9007199254740993 in JSON: fast-xml-parser "9007199254740993", xml2js 9007199254740992, xml-js 9007199254740992, csv-parse 9007199254740992, csvtojson 9007199254740992, d3-dsv 9007199254740992, papaparse "9007199254740993"
<order zip="01234"><zip>01234</zip><version>1.10</version></order>
is built again as
<order zip="01234"><zip>1234</zip><version>1.1</version></order>
SEEN
