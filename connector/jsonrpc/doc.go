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
// [Source] calls a method with {"cursor": …}, and again with the cursor that the
// result names as the next, until it names none. Every record is a resume point: the
// cursor of its call, and how many records of the result were read. A later run
// makes the last call again, leaves out what was read of its result, and goes on: for
// a list that only grows at its end.
//
// # Writing
//
// [Sink] makes one call for a batch, with all of its rows, or, with
// [SinkOptions].Each, one for each row, sent together as a batch of JSON-RPC. The
// names of the methods are those of the Ruby gem active_data_flow, unless others are
// set. A call that is made again, after a crash or an answer that was lost, has the
// same id, and its request the same Idempotency-Key, by which the server can tell
// that it has it already.
//
// # Errors
//
// An answer that is an error is an [*Error]. One that names a record is a
// [dataflow.RecordError] with the record's key and an *Error in it: of a call for one
// row; or whose data is {"index": 3} (from 0), {"key": "…"}, or {"errors": […]} with a
// list of such, each of which may have a message of its own.
//
// Errors of the protocol (codes -32700, -32600, -32601 and -32602) are
// [dataflow.Permanent]: the same call would fail again. Others fail the attempt, and
// are tried again as the flow says. What goes wrong below that, with connections and
// HTTP, is treated as package httpjson does.
package jsonrpc
