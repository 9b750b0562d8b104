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
// docs/connectors/http.md has recipes for many real APIs.
//
// # Paths
//
// A path names a value in a response: fields separated by dots, such as "data.orders". A
// number is an element of an array, and -1 the last: "links.0.next", "data.-1.id". A field of an
// element and its text name the first that has it: "links.rel=next.href". A field
// may have dots in its name, such as "@odata.nextLink", and in its text. Of several fields that fit, the
// longest counts.
//
// # Records
//
// Records are read as encoding/json does. A number in an interface becomes a
// [encoding/json.Number] with all its digits; a float64 changes above 2^53. A record that is not
// UTF-8, or has a text with half of a surrogate pair, is bad, unless T is
// [encoding/json.RawMessage].
//
// # Pages
//
// [Options].Paging says how to request the next page: by [PageNumber], [Offset],
// [BodyCursor], [HeaderCursor], [LinkHeader] or [NextURL]. The address's own query reaches the
// API byte for byte, and only the parameters of the paging are added. The next page is
// requested while a page is used.
//
// A read ends where the API says so, by HasMore, a total, or a name that is absent, null or
// empty. Otherwise [PageNumber] and [Offset] end at the first page without records. A shorter
// page than requested is not the end: APIs cap sizes, and hide records after they have cut
// the page.
//
// A first page that has as many records as the request asks for, and nothing at Path, is an
// error, because Path is probably wrong. A shorter one logs a warning. So does a full one
// without the header that names the next page.
//
// A page that names itself as the next is the last, unless HasMore says that another one
// follows: that is a permanent error. A page that names an earlier page
// of the read as the next, or has the same records as an earlier one, is a permanent
// error: its records are not read. See [Options].AllowEqualPages. After three empty
// pages in a row the source waits before each request, up to 200 ms.
//
// # Later runs
//
// Every record is a resume point: a page, and how many of its records were read. What a later
// run reads depends on the list:
//
//   - A list that grows at its end is continued after the last record.
//   - A list sorted newest first, with [NewestFirst], is read from its first page to the
//     first record that is known. Records that come meanwhile are for the next run. A record
//     that they move to the next page is read once if Key is set, unless more have come than a
//     page has.
//   - With [Options].Since, the API is asked for what has changed since the latest time of
//     the last run.
//   - With [Options].Snapshot, any other list is read as a whole, for a sink that upserts.
//   - With Later of [NextURL] or [BodyCursor], see Changes below.
//
// The cursor has hashes of the last three records: of their keys, or without [Options].Key of
// their text. If the last one is not where it was, because records before it were removed, the
// source looks for it in the list, and continues there. It does the same if the API refuses the
// cursor's page with 400, 404, 410 or 422, because it has expired. If none of the three is found,
// the run fails, unless [Options].RestartExpired is set.
//
// If cursors or links name the pages, a run that finds nothing new also requests the first page.
// It does so because a list sorted newest first, without [NewestFirst], ends with its oldest
// records: nothing new ever comes after them. Such a list is an error.
//
// If the API sends an ETag or Last-Modified, it need not send an unchanged page again.
// A Last-Modified counts if it is at least a second before the response's Date.
// This applies to GET requests for a list that grows at its end, and to a snapshot of one
// page. It does not apply to [HeaderCursor], [LinkHeader] and a [Paging] of your own: their next
// page may appear while the body stays the same.
//
// If a page of a snapshot changed between two attempts of a run, the retry starts again at
// the first page: no record is lost, but some arrive twice.
//
// # Changes
//
// Some APIs send the whole list once, and from then on what was changed, from a place that the last page
// names: delta links, sync tokens. Later names it. A page of changes that is not as it was, when a run comes
// back to it after a crash, is read from its beginning, and so the target must upsert. If the place has
// expired, only the whole list has what was changed meanwhile: the run reads it with [Options].RestartExpired, and fails
// without. A flow whose cursor was made without Later reads the whole list once more.
//
// # Huge pages
//
// With [Options].Stream, records are used while their page arrives. The API may then be
// asked for one page with everything. Check and Paging see the page after its records, and
// a page that comes again is noticed after its records. A response that breaks off continues
// after the last record, in another request.
//
// # Errors
//
// A record that does not fit T is a [dataflow.RecordError], and the read continues
// after it. So is a null, unless T is a pointer, an interface or a
// [encoding/json.RawMessage]. A page that does not match the options ends the run.
//
// A page without records is an error if it has a field "errors" that is not empty. A
// field "error" counts only if the records are null or missing. It is an error too if "ok" or
// "success" is false, or "status" is "error" or "failed". So it is if "status", "statusCode" or "code" is a number
// of 4xx or 5xx but 404, beside a text such as "message". Beside an empty list, "status" needs a
// message, and [Options].Check can let each pass. Such an error fails the attempt. A response
// that is a web page, as of a gateway or during maintenance, fails the attempt too. A response
// that ends within a JSON value is tried again, as one that broke off. So is an empty one, unless its status is 204
// or [Options].Lines is set. [Options].Check looks for
// errors that the API reports otherwise. Without it, a field "errors" beside records is a warning in
// the log.
//
// A request without a response is tried up to Tries times. So is one with the status 408, 425, 429 or
// 5xx, or with 420 (Bitso), 423 (locked), 449 (Azure Cosmos DB) or 499 (Google). So is one with any error status whose headers ask for a wait: Retry-After, or
// a reset of the rate limit (RateLimit, X-RateLimit-Reset and the like) of which nothing is
// left. A wait of 0 is one too. The wait between tries doubles, unless the server asks for a
// longer one than 0. [Options].Classify
// decides about other responses. The connector does this itself: for a [dataflow.Transient]
// error the engine first retries after a tenth of a second. The result is one of these errors:
//
//   - [dataflow.RetryAfter] if the server asks for more than MaxWait. The run waits
//     that long, 31 days at most, and holds no worker. This uses no attempt if the attempt has advanced. A last
//     try after which the server asks for a wait ends so too.
//   - [dataflow.Transient] if the tries are used up. The engine continues from the last
//     checkpoint.
//   - [dataflow.Permanent] for any other status of 4xx.
//
// The status 202 with a Retry-After, or without records, means that the response is not ready, and with
// [Options].Lines any 202 does. The request is made again in the same way.
//
// After a 401, Auth is called once more; see [TokenRejected].
//
// # Hosts
//
// What Auth adds, [Options].Header, and a user and password in the address are sent only to the host of the source's address.
// [Options].Links says which links are followed. A redirect is followed within the host. After
// 301, 302 and 303 the client repeats the request with GET and without the body, so a sink
// returns a permanent error for such a redirect, unless its address answers with a status that may pass,
// such as 503.
//
// Errors and descriptions leave out an address's query, which may hold a secret. A
// cursor does not: with [NextURL] and [LinkHeader] it is the address from the API. If that repeats a secret that
// the source's address or Auth has put in the query, by a usual name such as api_key or access_token, the cursor
// leaves its value out. The next request has the present one.
package httpjson
