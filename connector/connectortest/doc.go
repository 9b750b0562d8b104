// Package connectortest puts a source or a sink through what the engine asks of
// one, as a test of its own package:
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
// [TestSource] asks for sources of no record, of a few and of many, and holds
// that
//
//   - the records are there, in order, and once, and that a second read yields
//     the same, with the same keys, no two of which are alike;
//   - every resume point can be written as JSON and read back, and that a read
//     from it yields just the records behind it;
//   - the last record is a resume point, or a mark follows it;
//   - a read ends soon with the context's error when the context is cancelled,
//     before it, within it, and while it waits;
//   - a consumer can break off after any record, and that whatever the read has
//     opened is closed then;
//   - a bad record is a *[dataflow.RecordError] with a key, behind which the read
//     goes on;
//   - a huge record arrives as a whole.
//
// A source without a cursor ([dataflow.NoCursor]) is not asked to resume. What
// cannot be tried without a part of the config is skipped, and the log says so.
//
// # Sinks
//
// [TestSink], [TestFencedSink] and [TestTxSink] are for the three kinds of
// sinks. They hold that
//
//   - what is written can be read back, in order, also a huge record;
//   - a batch of no rows is no error;
//   - rows may be changed as soon as the sink has returned;
//   - a write with a cancelled context writes nothing, and returns its error;
//   - a batch that is written again under its ID is there once, unless the sink
//     says that it only appends, and at least once then;
//   - a fenced sink gives back the state of its last batch, also after it was
//     opened anew, and refuses an older fence than it has seen;
//   - a row that was written in a transaction is there if it is committed, and is
//     not if it is rolled back;
//   - what a write has opened is closed again.
//
// # Use
//
// The functions run subtests, in parallel. Only tests can import this package,
// because it imports testing.
package connectortest
