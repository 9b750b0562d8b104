// Package httpjson reads records from JSON APIs over HTTP, and writes records to
// them.
//
//	src := httpjson.Source[Order]("https://api.example.com/orders", &httpjson.Options{
//		Records: "data",
//		Key:     "id",
//		Paging:  httpjson.BodyCursor{Path: "meta.next_cursor"},
//		Auth: func(req *http.Request) error {
//			req.Header.Set("Authorization", "Bearer "+token())
//			return nil
//		},
//	})
//
// # Pages
//
// An answer is JSON, with an array of records in it. [Options].Paging says how the
// next page is asked for: by [PageNumber], [Offset], [BodyCursor], [LinkHeader] or
// [NextURL]. A page at another host is not asked for, because it would be told what
// Auth adds.
//
// # Resuming
//
// Every record is a resume point: a page, and how many of its records were read. A
// later run asks for the last page again, leaves out what was read of it, and goes
// on: for a list that only grows at its end, sorted by the time or number at which
// its records were made. If the API says so by ETag or Last-Modified, a page that
// has not changed is not sent again; but with [LinkHeader], or a [Paging] of your
// own, it is, because a link may come while the answer stays the same.
//
// For any other list set [Options].Snapshot: each run reads all of it, for a sink
// that upserts. A list of one page that has not changed, by ETag, Last-Modified or
// its bytes, is left out. A page that changed while an attempt broke off in it is
// read again from the first page: no record is lost, and some come twice.
//
// # Errors
//
// A record that does not fit T is a [dataflow.RecordError], behind which the read
// goes on. A page that is not what the options say ends the run.
//
// A request that is not answered, or with 408, 425, 429 or 5xx, is made again, up to
// Tries times, with a wait that doubles or that the server asks for by Retry-After.
// That is done here, and not left to the engine, because the engine, for a
// [dataflow.Transient] error, begins to try after a tenth of a second, and does not
// know what the server has asked for. If the server asks for more than MaxWait, the
// error is a [dataflow.RetryAfter], which puts the run back for so long and holds no
// worker; it spends an attempt. If the tries are used up, it is a
// [dataflow.Transient]: the engine goes on at the last checkpoint. Any other answer
// of 4xx is [dataflow.Permanent].
//
// A redirect is followed within the host. One after which the client asks with GET,
// and without the body, as after 301, 302 and 303, is an error that no retry can mend
// when rows were sent: nobody would have got them.
//
// Errors and descriptions leave out an address's query, which may hold a secret. A
// cursor does not: with [NextURL] and [LinkHeader] it is the address that the API
// has given.
package httpjson
