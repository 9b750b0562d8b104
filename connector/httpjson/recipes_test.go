package httpjson_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// The blocks of Go in docs/connectors/http.md stand here. TestAPIs reads each API with them.

func recipeGitHub(address string) (string, *httpjson.Options) {
	return address + "?state=all&sort=created&direction=asc&per_page=100", &httpjson.Options{
		Key:      "id",
		Paging:   httpjson.LinkHeader{},
		Since:    &httpjson.Since{Path: "updated_at", Param: "since"},
		Classify: httpjson.RetryIf(http.StatusForbidden, "rate limit", time.Minute),
	}
}

func recipeGitLab(address string) (string, *httpjson.Options) {
	return address + "?order_by=id&sort=asc", &httpjson.Options{
		Key:    "id",
		Paging: httpjson.PageNumber{Size: 100},
	}
}

func recipeStripe(address string) (string, *httpjson.Options) {
	return address + "?limit=10", &httpjson.Options{
		Records: "data",
		Key:     "id",
		Order:   httpjson.NewestFirst,
		Paging:  httpjson.BodyCursor{Path: "data.-1.id", Param: "starting_after", HasMore: "has_more"},
	}
}

func recipeShopify(address string) (string, *httpjson.Options) {
	return address + "?status=any&limit=10&order=updated_at+asc", &httpjson.Options{
		Records: "orders",
		Key:     "id",
		Paging:  httpjson.LinkHeader{},
		Since:   &httpjson.Since{Path: "updated_at", Param: "updated_at_min"},
	}
}

func recipeElasticsearch(address string) (string, *httpjson.Options) {
	return address + "/_search?allow_partial_search_results=false", &httpjson.Options{
		Records: "hits.hits",
		Key:     "_id",
		Body:    map[string]any{"size": 10, "sort": []any{map[string]any{"seq": "asc"}}, "pit": map[string]any{"keep_alive": "1m"}},
		Open:    &httpjson.Open{URL: address + "/orders/_pit?keep_alive=1m", Path: "id", Param: "pit.id", Renew: "pit_id"},
		Paging:  httpjson.BodyCursor{Path: "hits.hits.-1.sort", Param: "search_after"},
	}
}

func recipeGraph(address string) (string, *httpjson.Options) {
	return address + "?$orderby=lastModifiedDateTime", &httpjson.Options{
		Records: "value",
		Key:     "id",
		Paging:  httpjson.NextURL{Path: "@odata.nextLink"},
		Since: &httpjson.Since{Path: "lastModifiedDateTime", Param: "$filter", Format: func(t time.Time) string {
			return "lastModifiedDateTime ge " + t.Format(time.RFC3339)
		}},
	}
}

func recipeGraphDelta(address string) (string, *httpjson.Options) {
	return address + "/v1.0/users/delta", &httpjson.Options{
		Records:        "value",
		Key:            "id",
		Paging:         httpjson.NextURL{Path: "@odata.nextLink", Later: "@odata.deltaLink"},
		RestartExpired: true,
	}
}

func recipeGoogleCalendar(address string) (string, *httpjson.Options) {
	return address + "/calendars/primary/events?maxResults=10&singleEvents=true", &httpjson.Options{
		Records:    "items",
		OmitsEmpty: true,
		Key:        "id",
		Paging: httpjson.BodyCursor{
			Path: "nextPageToken", Param: "pageToken",
			Later: "nextSyncToken", LaterParam: "syncToken",
		},
		RestartExpired: true,
	}
}

func recipeJSONAPI(address string) (string, *httpjson.Options) {
	return address + "?sort=id&page[size]=10", &httpjson.Options{
		Records: "data",
		Key:     "id",
		Paging:  httpjson.NextURL{Path: "links.next"}, // "links.next.href" if links are objects
	}
}

func recipeFHIR(address string) (string, *httpjson.Options) {
	return address + "/Observation?_sort=_lastUpdated&_count=10", &httpjson.Options{
		Records:    "entry",
		OmitsEmpty: true,
		Key:        "resource.id",
		Paging:     httpjson.NextURL{Path: "link.relation=next.url", Optional: true},
		Header:     http.Header{"Accept": {"application/fhir+json"}},
		Since: &httpjson.Since{Path: "resource.meta.lastUpdated", Param: "_lastUpdated", Format: func(t time.Time) string {
			return "ge" + t.Format(time.RFC3339)
		}},
	}
}

func recipeHubSpot(address string) (string, *httpjson.Options) {
	return address + "?limit=10", &httpjson.Options{
		Records: "results",
		Key:     "id",
		Paging:  httpjson.BodyCursor{Path: "paging.next.after", Param: "after", Optional: true},
	}
}

func recipeHubSpotSearch(address string) (string, *httpjson.Options) {
	return address + "/search", &httpjson.Options{
		Records: "results",
		Key:     "id",
		Body: map[string]any{"limit": 10, "sorts": []any{"hs_object_id"}, "filterGroups": []any{
			map[string]any{"filters": []any{map[string]any{"propertyName": "hs_lastmodifieddate", "operator": "GTE", "value": "0"}}},
		}},
		Paging: httpjson.BodyCursor{Path: "paging.next.after", Param: "after", Optional: true},
		Since: &httpjson.Since{Path: "updatedAt", Param: "filterGroups.0.filters.0.value", Format: func(t time.Time) string {
			return strconv.FormatInt(t.UnixMilli(), 10)
		}},
	}
}

func recipeZendesk(address string) (string, *httpjson.Options) {
	return address + "?sort=id&page[size]=10", &httpjson.Options{
		Records: "tickets",
		Key:     "id",
		Paging:  httpjson.NextURL{Path: "links.next", HasMore: "meta.has_more"},
	}
}

func recipeZendeskExport(address string) (string, *httpjson.Options) {
	return address + "?start_time=1577836800", &httpjson.Options{
		Records: "tickets",
		Key:     "id",
		Paging:  httpjson.BodyCursor{Path: "after_cursor", Param: "cursor", HasMore: "!end_of_stream", Continues: true},
	}
}

func recipeSalesforce(address string) (string, *httpjson.Options) {
	query := "select Id, Name, SystemModstamp from Account where SystemModstamp >= %s order by SystemModstamp"
	format := func(t time.Time) string { return fmt.Sprintf(query, t.Format(time.RFC3339)) }
	return address, &httpjson.Options{
		Records:  "records",
		Key:      "Id",
		Paging:   httpjson.NextURL{Path: "nextRecordsUrl", HasMore: "!done"},
		Since:    &httpjson.Since{Path: "SystemModstamp", Param: "q", Format: format, First: time.Unix(0, 0)},
		Classify: httpjson.RetryIf(http.StatusForbidden, "REQUEST_LIMIT_EXCEEDED", 15*time.Minute),
	}
}

func recipeAirtable(address string) (string, *httpjson.Options) {
	return address + "?pageSize=10", &httpjson.Options{
		Records:  "records",
		Key:      "id",
		Snapshot: true, // records change in place; upsert them
		Paging:   httpjson.BodyCursor{Path: "offset", Param: "offset", Optional: true},
		Classify: httpjson.RetryIf(http.StatusTooManyRequests, "", 30*time.Second),
	}
}

func recipeNotion(address string) (string, *httpjson.Options) {
	return address + "/query", &httpjson.Options{
		Records: "results",
		Key:     "id",
		Header:  http.Header{"Notion-Version": {"2022-06-28"}},
		Body:    map[string]any{"page_size": 10, "sorts": []any{map[string]any{"timestamp": "created_time", "direction": "ascending"}}},
		Paging:  httpjson.BodyCursor{Path: "next_cursor", Param: "start_cursor", HasMore: "has_more"},
	}
}

func recipeGraphQL(address string) (string, *httpjson.Options) {
	query := `query ($after: String) { orders(first: 10, after: $after) { nodes { id } pageInfo { endCursor hasNextPage } } }`
	return address, &httpjson.Options{
		Records: "data.orders.nodes",
		Key:     "id",
		Body:    map[string]any{"query": query},
		Paging:  httpjson.BodyCursor{Path: "data.orders.pageInfo.endCursor", Param: "variables.after", HasMore: "data.orders.pageInfo.hasNextPage"},
	}
}

func recipeSlack(address string) (string, *httpjson.Options) {
	return address + "?channel=C1&limit=10", &httpjson.Options{
		Records:  "messages",
		Key:      "ts",
		Order:    httpjson.NewestFirst,
		Paging:   httpjson.BodyCursor{Path: "response_metadata.next_cursor", HasMore: "has_more"},
		Classify: httpjson.RetryIf(http.StatusOK, `"error":"ratelimited"`, time.Minute),
	}
}

func recipeJira(address string) (string, *httpjson.Options) {
	return address + "?jql=order+by+id", &httpjson.Options{
		Records: "issues",
		Key:     "id",
		Paging:  httpjson.Offset{Param: "startAt", LimitParam: "maxResults", Total: "total"},
	}
}

func recipeJiraSearch(address string) (string, *httpjson.Options) {
	format := func(t time.Time) string { return t.Format(`updated >= "2006/01/02 15:04" order by created`) }
	return address + "?maxResults=10&fields=updated", &httpjson.Options{
		Records: "issues",
		Key:     "id",
		Paging:  httpjson.BodyCursor{Path: "nextPageToken", Param: "nextPageToken", HasMore: "!isLast"},
		Since:   &httpjson.Since{Path: "fields.updated", Param: "jql", Format: format, First: time.Unix(0, 0)},
	}
}

func recipeWorldBank(address string) (string, *httpjson.Options) {
	return address + "?format=json", &httpjson.Options{
		Records: "1",
		Key:     "id",
		Paging:  httpjson.PageNumber{Size: 10, Pages: "0.pages"},
	}
}

func recipeHeaderCursor(address string) (string, *httpjson.Options) {
	return address, &httpjson.Options{
		Key:    "id",
		Paging: httpjson.HeaderCursor{Header: "X-Next-Cursor", Param: "header:X-Cursor"},
	}
}

func recipeCouchDB(address string) (string, *httpjson.Options) {
	return address + "/orders/_changes?include_docs=true&limit=10", &httpjson.Options{
		Records: "results",
		Key:     "id",
		Paging:  httpjson.BodyCursor{Path: "last_seq", Param: "since", HasMore: "pending", Continues: true},
	}
}

func recipeDropbox(address string) (string, *httpjson.Options) {
	reset := func(p *httpjson.Page) httpjson.Verdict {
		if p.Status == http.StatusConflict && bytes.Contains(p.Body, []byte("reset")) {
			return httpjson.Verdict{Action: httpjson.Expired}
		}
		return httpjson.Verdict{}
	}
	return address + "/2/files/list_folder", &httpjson.Options{
		Records:        "entries",
		Key:            "id",
		Body:           map[string]any{"path": "", "recursive": true},
		Paging:         httpjson.BodyCursor{Path: "cursor", HasMore: "has_more", Later: "cursor", URL: "list_folder/continue"},
		RestartExpired: true,
		Classify:       reset,
	}
}

func recipeConfluence(address string) (string, *httpjson.Options) {
	return address + "/wiki/api/v2/pages?sort=id&limit=10", &httpjson.Options{
		Records: "results",
		Key:     "id",
		Paging:  httpjson.NextURL{Path: "_links.next", Optional: true},
		Links:   httpjson.KeepAddress, // its links lack what is before /wiki, or /wiki itself
	}
}

func recipeMagento(address string) (string, *httpjson.Options) {
	return address + "/rest/V1/orders?searchCriteria[sortOrders][0][field]=entity_id&searchCriteria[sortOrders][0][direction]=ASC", &httpjson.Options{
		Records: "items",
		Key:     "entity_id",
		Paging: httpjson.PageNumber{
			Param: "searchCriteria[currentPage]",
			Size:  10, SizeParam: "searchCriteria[pageSize]",
			Total: "total_count",
		},
	}
}

func recipeLines(address string) (string, *httpjson.Options) {
	return address, &httpjson.Options{Lines: true, Key: "id"}
}

func recipeMap(address string) (string, *httpjson.Options) {
	return address, &httpjson.Options{Records: "items.*", Key: "id", Paging: httpjson.BodyCursor{Path: "next"}}
}

type rates struct {
	Date  string                 `json:"date"`
	Rates map[string]json.Number `json:"rates"`
}

type rate struct {
	Date, Currency string
	Rate           json.Number
}

func eachRate(_ context.Context, r rates) ([]rate, error) {
	var list []rate
	for _, currency := range slices.Sorted(maps.Keys(r.Rates)) {
		list = append(list, rate{Date: r.Date, Currency: currency, Rate: r.Rates[currency]})
	}
	return list, nil
}

func recipeOne(address string) (string, *httpjson.Options) {
	return address + "/v1/latest", &httpjson.Options{Records: ".", Key: "date", Snapshot: true}
}

func recipeSpring(address string) (string, *httpjson.Options) {
	return address + "?sort=id", &httpjson.Options{
		Records: "content",
		Key:     "id",
		Paging:  httpjson.PageNumber{First: -1, Size: 10, SizeParam: "size", HasMore: "!last"},
	}
}

func recipeHAL(address string) (string, *httpjson.Options) {
	return address + "?sort=id", &httpjson.Options{
		Records:    "_embedded.orders",
		OmitsEmpty: true, // an empty list has no _embedded
		Key:        "id",
		Paging:     httpjson.NextURL{Path: "_links.next.href"},
	}
}

func recipeDjango(address string) (string, *httpjson.Options) {
	return address + "?ordering=id", &httpjson.Options{
		Records: "results",
		Key:     "id",
		Paging:  httpjson.NextURL{Path: "next"},
		Links:   httpjson.KeepOrigin, // Django after a proxy writes the inner address
	}
}

func recipeGoogle(address string) (string, *httpjson.Options) {
	format := func(t time.Time) string { return t.Format(`modifiedTime > '2006-01-02T15:04:05Z'`) }
	return address + "?orderBy=createdTime&pageSize=10&fields=nextPageToken,files(id,modifiedTime)", &httpjson.Options{
		Records:  "files",
		Key:      "id",
		Paging:   httpjson.BodyCursor{Path: "nextPageToken", Param: "pageToken", Optional: true},
		Since:    &httpjson.Since{Path: "modifiedTime", Param: "q", Format: format},
		Classify: httpjson.RetryIf(http.StatusForbidden, "ateLimitExceeded", 0), // rate and userRate
	}
}

func recipeBulk(address string) (string, *httpjson.SinkOptions) {
	body := func(rows []json.RawMessage) ([]byte, error) {
		var lines bytes.Buffer
		for _, row := range rows {
			var doc struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(row, &doc); err != nil {
				return nil, err
			}
			action, err := json.Marshal(map[string]any{"index": map[string]any{"_id": doc.ID}})
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&lines, "%s\n%s\n", action, row)
		}
		return lines.Bytes(), nil
	}
	check := func(resp *httpjson.SinkResponse) error {
		var answer struct {
			Items []struct {
				Index struct {
					Status int             `json:"status"`
					Error  json.RawMessage `json:"error"`
				} `json:"index"`
			} `json:"items"`
		}
		if err := json.Unmarshal(resp.Body, &answer); err != nil {
			return err
		}
		var refused httpjson.RefusedError
		for i, item := range answer.Items {
			switch status := item.Index.Status; {
			case status == http.StatusTooManyRequests || status >= 500: // all are sent again, under the same ids
				return dataflow.Transient(fmt.Errorf("row %d: %s", i, item.Index.Error))
			case status >= 400:
				refused = append(refused, &dataflow.RowError{Row: i, Err: errors.New(string(item.Index.Error))})
			}
		}
		if len(refused) > 0 {
			return refused
		}
		return nil
	}
	return address + "/orders/_bulk", &httpjson.SinkOptions{
		Body:   body,
		Check:  check,
		Header: http.Header{"Content-Type": {"application/x-ndjson"}},
	}
}

func recipeWebhook(address string) (string, *httpjson.SinkOptions) {
	return address, &httpjson.SinkOptions{
		MaxRows: 1,
		Body:    func(rows []json.RawMessage) ([]byte, error) { return rows[0], nil },
	}
}

// TokenSource and Token have the methods of those in golang.org/x/oauth2.
type TokenSource interface{ Token() (*Token, error) }

type Token struct{ AccessToken string }

func (t *Token) SetAuthHeader(req *http.Request) {
	req.Header.Set("Authorization", "Bearer "+t.AccessToken)
}

func recipeToken(tokens TokenSource) func(req *http.Request) error {
	auth := func(req *http.Request) error {
		token, err := tokens.Token()
		if err == nil {
			token.SetAuthHeader(req)
		}
		return err
	}
	return auth
}
