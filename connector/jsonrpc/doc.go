// Package jsonrpc reads records from a JSON-RPC 2.0 server over HTTP, and sends
// records to one.
//
//	src := jsonrpc.Source[Order]("https://api.example.com/rpc", "orders.list", &jsonrpc.Options{
//		Records: "orders", Next: "next_cursor",
//	})
//	out := jsonrpc.Sink[Order]("https://api.example.com/rpc", nil) // receive_records
//
// # Reading
//
// [Source] calls a method with {"cursor": …}. It repeats the call with the next cursor
// from each result, until a result names none. Every record is a resume point: the
// cursor of its call, and how many records of the result were read. A later run makes
// the last call again, skips the records already read, and continues. This suits a list
// that only grows at its end.
//
// A result that names its own call as the next is the last. A result that names an
// earlier call of the read as the next, or has the same records as an earlier one, is a
// permanent error: its records are not read. See [Options].AllowEqualPages. After three
// empty results in a row the source waits before each call, up to 200 ms.
//
// A server that takes no names gets [Options].Positional, or what [Options].MakeParams
// returns. One that speaks version 1.0 or 1.1 needs [Options].Version. A number in an
// interface becomes a [encoding/json.Number] with all its digits. A record that is not UTF-8, or
// has a text with half of a surrogate pair, is bad, unless T is a [encoding/json.RawMessage].
//
// # Writing
//
// [Sink] makes one call with all rows of a batch. With [SinkOptions].Each it makes one
// call for each row, sent together as a JSON-RPC batch. The default method names are
// those of the Ruby gem active_data_flow. A call that is repeated, after a crash or a
// lost response, has the same id, and its request the same Idempotency-Key. The server
// can use either to ignore the repetition.
//
// # Errors
//
// An error response is an [*Error], whatever its HTTP status. If it names a record, the
// flow's policy decides about the record, and the others are sent. Without a policy, it is
// wrapped in a [dataflow.RecordError] with the record's key. With [SinkOptions].Each, it names the
// record of its call. Otherwise it names a record if its data is
//
//   - {"index": 3}, counted from 0;
//   - {"key": "…"};
//   - {"errors": […]}, a list of either, each with an optional "message".
//
// If the flow has a policy and the error names no record, the batch is sent again in halves,
// down to the rows that are refused. That is so for the server's own codes and for -32602; the
// other codes from -32768 to -32000 are about the server. A response without a result is a
// success of a sink.
//
// Protocol errors (codes -32700, -32600, -32601 and -32602) are [dataflow.Permanent]:
// the same call would fail again. Other error responses fail the attempt, and the flow
// retries it. So does a web page in place of a response. Errors of the connection and of HTTP are treated as in package httpjson.
package jsonrpc
