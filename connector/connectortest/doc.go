// Package connectortest tests a source or a sink against the contract of the engine. Call
// it from a test of the connector's package:
//
//	func TestContract(t *testing.T) {
//		connectortest.TestSource(t, connectortest.SourceConfig[Order, Cursor]{
//			Make: func(t *testing.T, rows []Order) dataflow.Source[Order, Cursor] {
//				return NewSource(startServer(t, rows))
//			},
//			Rows: func(n int) []Order { return someOrders(n) },
//		})
//	}
//
// # Sources
//
// [TestSource] creates sources of no record, of a few and of many, and requires that
//
//   - a read yields each record once, in order;
//   - all keys differ, and a second read yields the same records and keys;
//   - every resume point survives JSON, and a read from it yields exactly the later
//     records;
//   - so does a read of thousands of records, over the borders of pages and buffers;
//   - the cursors also count for the source of another process (Reopen);
//   - a source that hears of commits ([dataflow.Acker]) then acknowledges no later record;
//   - the last record is a resume point, or a mark follows it;
//   - a read that fails ends with an error (MakeFailing);
//   - a read ends soon with the context's error when the context is cancelled: before
//     the read, during it, and while it waits;
//   - a consumer can stop after any record, and everything that the read has opened is
//     then closed;
//   - no goroutine of a read goes on after it;
//   - a bad record is a *[dataflow.RecordError] with a key, and the read continues after
//     it;
//   - a huge record arrives whole.
//
// A source without a cursor ([dataflow.NoCursor]) is not resumed. A test that needs a
// missing part of the config is skipped, and the log says so.
//
// # Sinks
//
// [TestSink], [TestFencedSink] and [TestTxSink] are for the three kinds of sinks. They
// require that
//
//   - written rows can be read back in order, even a huge record, or 1,000 at once;
//   - a write that fails returns an error (Failing);
//   - a batch of no rows is no error;
//   - rows may be changed as soon as the sink has returned;
//   - a write with a cancelled context writes nothing, and returns the context's error;
//   - a batch that is written again under its ID is stored once, or at least once if the
//     sink declares that it only appends, also by a sink of another process (Reopen);
//   - a fenced sink returns the state of its last batch, even after it was reopened;
//   - a fenced sink refuses a fence older than one it has seen;
//   - a row written in a transaction is stored if the transaction commits, and is not if
//     it rolls back;
//   - everything that a write has opened is closed again, and no goroutine goes on.
//
// # Use
//
// The functions run subtests in parallel. Import this package only from tests, because
// it imports testing.
package connectortest
