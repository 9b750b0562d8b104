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
// A response is JSON that contains an array of records. [Options].Paging says how to
// request the next page: by [PageNumber], [Offset], [BodyCursor], [LinkHeader] or
// [NextURL]. A page at another host is not requested, because that host would receive
// what Auth adds.
//
// [PageNumber] and [Offset] end at the first page without records. A shorter page than
// requested is not the end: APIs cap sizes, and hide records after they have cut the
// page.
//
// A page that names itself as the next is the last. A page that names an earlier page
// of the read as the next, or has the same records as an earlier one, is a permanent
// error: its records are not read. See [Options].AllowEqualPages. After three empty
// pages in a row the source waits before each request, up to 200 ms.
//
// # Resuming
//
// Every record is a resume point: a page, and how many of its records were read. A
// later run requests the last page again, skips the records already read, and
// continues. This suits a list that only grows at its end, sorted by the time or number
// of its records' creation.
//
// If the API sends an ETag or Last-Modified, it need not send an unchanged page again.
// This does not apply to [LinkHeader] and to a [Paging] of your own: their link may
// appear while the body stays the same.
//
// For any other list set [Options].Snapshot: each run reads all of it, for a sink that
// upserts. A list of one page is skipped if it is unchanged by ETag, Last-Modified or
// its bytes. If a page changed between two attempts of a run, the retry starts again at
// the first page: no record is lost, but some arrive twice.
//
// # Errors
//
// A record that does not fit T is a [dataflow.RecordError], and the read continues
// after it. So is a null, unless T is a pointer, an interface or a
// [encoding/json.RawMessage]. A page that does not match the options ends the run.
//
// A page without records is an error if it has a field "errors" that is not empty. A
// field "error" counts only if the records are null or missing. Such an error fails the
// attempt. A response that ends within a JSON value is tried again, as one that broke off.
//
// A request without a response, or with the status 408, 425, 429 or 5xx, is tried up to
// Tries times. The wait between tries doubles, unless the server sends Retry-After. The
// connector does this itself: for a [dataflow.Transient] error the engine first retries
// after a tenth of a second, and does not know the server's Retry-After. The result is
// one of these errors:
//
//   - [dataflow.RetryAfter] if the server asks for more than MaxWait. The run waits
//     that long and holds no worker; this uses an attempt. A last try with any
//     Retry-After ends so too.
//   - [dataflow.Transient] if the tries are used up. The engine continues from the last
//     checkpoint.
//   - [dataflow.Permanent] for any other status of 4xx.
//
// A redirect is followed within the host. After 301, 302 and 303 the client repeats the
// request with GET and without the body, so rows would be lost. A sink returns a
// permanent error for such a redirect.
//
// Errors and descriptions leave out an address's query, which may hold a secret. A
// cursor does not: with [NextURL] and [LinkHeader] it is the address from the API.
package httpjson
