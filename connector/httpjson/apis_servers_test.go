package httpjson_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/connector/httpjson"
)

// delta answers with all things at first, and later with those that were changed since. A link or token names the
// moment after which, that of the next changes, and the last thing of the page before.
func (f *fake) delta(token string) (page []thing, next, later string, ok bool) {
	run, since, upTo, last := f.run, int64(0), f.now.Unix(), 0
	if token != "" {
		if n, _ := fmt.Sscanf(token, "d%d-%d-%d-%d", &run, &since, &upTo, &last); n != 4 || f.caps["expires"] && run != f.run {
			return nil, "", "", false
		}
		if last < 0 { // the token of a last page
			since, upTo, last = upTo, f.now.Unix(), 0
		}
	}
	for _, x := range f.things {
		if x.changed.Unix() > since && x.n > last {
			page = append(page, x)
		}
	}
	if len(page) > f.page {
		page = page[:f.page]
		return page, fmt.Sprintf("d%d-%d-%d-%d", f.run, since, upTo, page[f.page-1].n), "", true
	}
	return page, "", fmt.Sprintf("d%d-%d-%d-%d", f.run, since, upTo, -1), true
}

// searched answers as a FHIR server that keeps the result of a search, and finds its pages there.
func searched(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
	query := req.URL.Query()
	search, place, paged := strings.Cut(query.Get("_getpages"), "~")
	from, known := f.placeOf(place)
	switch {
	case !known:
		refuse(w, http.StatusGone, `{"resourceType":"OperationOutcome","issue":[{"diagnostics":"Search ID does not exist and may have expired"}]}`)
		return
	case !paged:
		after, _ := time.Parse(time.RFC3339, strings.TrimPrefix(query.Get("_lastUpdated"), "ge"))
		var found []int
		for _, x := range byChange(f.since(after)) {
			found = append(found, x.n)
		}
		search, f.searches = strconv.Itoa(len(f.searches)), append(f.searches, found)
	}
	i, _ := strconv.Atoi(search)
	found := f.searches[i]
	links := []any{map[string]any{"relation": "self", "url": "http://" + req.Host + req.URL.String()}}
	bundle := map[string]any{"resourceType": "Bundle"}
	to := min(from+f.page, len(found))
	if to < len(found) {
		links = append(links, map[string]any{"relation": "next", "url": "http://" + req.Host + "/?_getpages=" + search + "~" + f.token(to)})
	}
	bundle["link"] = links
	var entries []any
	for _, n := range found[from:to] {
		x := f.things[n-1]
		entries = append(entries, map[string]any{"resource": map[string]any{"id": strconv.Itoa(x.n), "version": x.version, "meta": map[string]any{"lastUpdated": iso(x.changed)}}})
	}
	if len(entries) > 0 {
		bundle["entry"] = entries
	}
	write(w, bundle)
}

func apis() []one {
	return []one{
		{name: "GraphDelta", recipe: recipeGraphDelta, caps: "expires", again: true, change: true, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			page, next, later, ok := f.delta(req.URL.Query().Get("$token"))
			if !ok {
				refuse(w, http.StatusGone, `{"error":{"code":"syncStateNotFound","message":"The sync state generation is not found."}}`)
				return
			}
			object := map[string]any{"value": rows(page, "", nil)}
			for field, token := range map[string]string{"@odata.nextLink": next, "@odata.deltaLink": later} {
				if token != "" {
					object[field] = "http://" + req.Host + req.URL.Path + "?$token=" + token
				}
			}
			write(w, object)
		}},
		{name: "FHIR", recipe: recipeFHIR, caps: "expires", again: true, change: true, answer: searched},
		{name: "GoogleCalendar", recipe: recipeGoogleCalendar, caps: "expires", again: true, change: true, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			query := req.URL.Query()
			page, next, later, ok := f.delta(query.Get("pageToken"))
			if !query.Has("pageToken") {
				page, next, later, ok = f.delta(query.Get("syncToken"))
			}
			var run, since, after int64 // those of the sync token are those of the page's
			_, _ = fmt.Sscanf(query.Get("pageToken"), "d%d-%d-", &run, &since)
			_, _ = fmt.Sscanf(query.Get("syncToken"), "d%d-%d-%d", &run, new(int64), &after)
			switch {
			case !ok:
				refuse(w, http.StatusGone, `{"error":{"code":410,"errors":[{"reason":"fullSyncRequired"}]}}`)
				return
			case query.Has("pageToken") && since != after:
				refuse(w, http.StatusForbidden, `{"error":{"code":403,"message":"a page token of another query"}}`)
				return
			}
			object := map[string]any{"kind": "calendar#events"}
			if len(page) > 0 {
				object["items"] = rows(page, "", nil)
			}
			write(w, with(with(object, "nextPageToken", next), "nextSyncToken", later))
		}},
		{name: "GitHub", recipe: recipeGitHub, again: true, change: true, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			since, _ := time.Parse(time.RFC3339, req.URL.Query().Get("since"))
			n := max(number(req, "page"), 1)
			list := f.since(since)
			if req.URL.Query().Get("sort") == "updated" {
				list = byChange(list)
			}
			page, next := f.cut(list, (n-1)*f.page)
			link := ""
			if next >= 0 {
				query := req.URL.Query()
				query.Set("page", strconv.Itoa(n+1))
				link = fmt.Sprintf(`<http://%s/?%s>; rel="next", <http://%s/?page=9>; rel="last"`, req.Host, query.Encode(), req.Host)
			}
			w.Header().Set("Link", link)
			write(w, rows(page, "updated_at", iso))
		}},
		{name: "GitLab", recipe: recipeGitLab, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			page, next := f.cut(f.things, (number(req, "page")-1)*f.page) // it caps per_page
			if next >= 0 {
				w.Header().Set("X-Next-Page", strconv.Itoa(number(req, "page")+1))
			}
			write(w, rows(page, "", nil))
		}},
		{name: "Stripe", recipe: recipeStripe, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			list := slices.Clone(f.things)
			slices.Reverse(list)
			from := 0
			if after := number(req, "starting_after"); after > 0 {
				from = slices.IndexFunc(list, func(x thing) bool { return x.n < after })
			}
			page, next := f.cut(list, from)
			write(w, map[string]any{"object": "list", "data": rows(page, "", nil), "has_more": next >= 0})
		}},
		{name: "Shopify", recipe: recipeShopify, caps: "expires", again: true, change: true, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			query := req.URL.Query()
			if info := query.Get("page_info"); info != "" && (query.Has("updated_at_min") || query.Has("status")) {
				refuse(w, 400, `{"errors":"page_info and other parameters"}`)
				return
			}
			info, since, _ := strings.Cut(query.Get("page_info"), "~")
			if !query.Has("page_info") {
				since = query.Get("updated_at_min")
			}
			from, ok := f.placeOf(info)
			if !ok {
				refuse(w, 400, `{"errors":{"page_info":"Invalid value."}}`)
				return
			}
			at, _ := time.Parse(time.RFC3339, since)
			page, next := f.cut(f.since(at), from)
			if next >= 0 {
				w.Header().Set("Link", fmt.Sprintf(`<http://%s/orders.json?limit=10&page_info=%s~%s>; rel="next"`, req.Host, f.token(next), since))
			}
			write(w, map[string]any{"orders": rows(page, "updated_at", iso)})
		}},
		{name: "Elasticsearch", recipe: recipeElasticsearch, caps: "expires", answer: elasticsearch},
		{name: "Graph", recipe: recipeGraph, again: true, change: true, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			if req.URL.Query().Get("$orderby") == "" {
				refuse(w, 400, "no $orderby")
				return
			}
			var since time.Time
			if _, text, ok := strings.Cut(req.URL.Query().Get("$filter"), " ge "); ok {
				since, _ = time.Parse(time.RFC3339, text)
			}
			page, next := f.cut(f.since(since), number(req, "$skiptoken"))
			answer := map[string]any{"@odata.context": "x", "value": rows(page, "lastModifiedDateTime", iso)}
			if next >= 0 {
				query := req.URL.Query()
				query.Set("$skiptoken", strconv.Itoa(next))
				answer["@odata.nextLink"] = "http://" + req.Host + "/?" + query.Encode()
			}
			write(w, answer)
		}},
		{name: "JSONAPI", recipe: recipeJSONAPI, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			page, next := f.cut(f.things, number(req, "page[offset]"))
			var link any
			if next >= 0 {
				link = fmt.Sprintf("/?sort=id&page[offset]=%d", next)
			}
			write(w, map[string]any{"data": rows(page, "", nil), "links": map[string]any{"next": link}})
		}},
		{name: "JSONAPIObjects", recipe: func(address string) (string, *httpjson.Options) {
			address, opts := recipeJSONAPI(address)
			opts.Paging = httpjson.NextURL{Path: "links.next.href"}
			return address, opts
		}, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			page, next := f.cut(f.things, number(req, "page[offset]"))
			var link any
			if next >= 0 {
				link = map[string]any{"href": fmt.Sprintf("/?page[offset]=%d", next)}
			}
			write(w, map[string]any{"data": rows(page, "", nil), "links": map[string]any{"next": link}})
		}},
		{name: "HubSpot", recipe: recipeHubSpot, answer: tokened("after", all, hubspot)},
		{name: "HubSpotSearch", recipe: recipeHubSpotSearch, again: true, change: true, answer: tokened("after", func(f *fake, _ *http.Request, body map[string]any) []thing {
			groups := body["filterGroups"].([]any)
			filter := groups[0].(map[string]any)["filters"].([]any)[0].(map[string]any)
			ms, _ := strconv.ParseInt(filter["value"].(string), 10, 64)
			return f.since(time.UnixMilli(ms))
		}, hubspot)},
		{name: "Zendesk", recipe: recipeZendesk, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			from := number(req, "page[after]")
			page, next := f.cut(f.things, from)
			write(w, map[string]any{
				"tickets": rows(page, "", nil), "meta": map[string]any{"has_more": next >= 0},
				"links": map[string]any{"next": fmt.Sprintf("http://%s/?sort=id&page[after]=%d", req.Host, from+len(page))},
			})
		}},
		{name: "ZendeskExport", recipe: recipeZendeskExport, change: true, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			cursor := number(req, "cursor") // the time of the last ticket, by which they are sorted
			list := byChange(f.since(time.Unix(int64(cursor)+1, 0)))
			page, next := f.cut(list, 0)
			if len(page) > 0 {
				cursor = int(page[len(page)-1].changed.Unix())
			}
			write(w, map[string]any{"tickets": rows(page, "", nil), "after_cursor": strconv.Itoa(cursor), "end_of_stream": next < 0})
		}},
		{name: "CouchDB", recipe: recipeCouchDB, change: true, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			seq, _, _ := strings.Cut(req.URL.Query().Get("since"), "-") // the time of the last change, by which they are sorted
			cursor, _ := strconv.Atoi(seq)
			list := byChange(f.since(time.Unix(int64(cursor)+1, 0)))
			page, _ := f.cut(list, 0)
			if len(page) > 0 {
				cursor = int(page[len(page)-1].changed.Unix())
			}
			write(w, map[string]any{"results": rows(page, "", nil), "last_seq": fmt.Sprintf("%d-g%d", cursor, f.asked), "pending": len(list) - len(page)})
		}},
		{name: "Dropbox", recipe: recipeDropbox, caps: "expires", again: true, change: true, answer: func(f *fake, w http.ResponseWriter, req *http.Request, body map[string]any) {
			token, _ := body["cursor"].(string)
			if _, first := body["path"]; first == strings.HasSuffix(req.URL.Path, "/continue") || len(body) > 1 && !first {
				refuse(w, http.StatusBadRequest, "Error in call to API function")
				return
			}
			page, next, later, ok := f.delta(token)
			if !ok {
				refuse(w, http.StatusConflict, `{"error_summary":"reset/..","error":{".tag":"reset"}}`)
				return
			}
			write(w, map[string]any{"entries": rows(page, "", nil), "cursor": next + later, "has_more": next != ""})
		}},
		{name: "Confluence", recipe: func(address string) (string, *httpjson.Options) {
			return recipeConfluence(address + "/ex/confluence/1")
		}, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			if req.URL.Path != "/ex/confluence/1/wiki/api/v2/pages" {
				refuse(w, http.StatusNotFound, "")
				return
			}
			page, next := f.cut(f.things, number(req, "cursor"))
			links := map[string]any{"base": "http://site.test/wiki"}
			if next >= 0 {
				links["next"] = fmt.Sprintf("/wiki/api/v2/pages?sort=id&limit=10&cursor=%d", next)
			}
			write(w, map[string]any{"results": rows(page, "", nil), "_links": links})
		}},
		{name: "Magento", recipe: recipeMagento, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			last := (len(f.things) + f.page - 1) / f.page // which it sends for each later page
			page, _ := f.cut(f.things, (min(number(req, "searchCriteria[currentPage]"), last)-1)*f.page)
			items := []any{}
			for _, x := range page {
				items = append(items, map[string]any{"entity_id": x.n, "id": x.n})
			}
			write(w, map[string]any{"items": items, "total_count": len(f.things)})
		}},
		{name: "Salesforce", recipe: recipeSalesforce, caps: "expires", again: true, change: true, answer: salesforce},
		{name: "Airtable", recipe: recipeAirtable, caps: "expires", again: true, answer: tokened("offset", all, func(page []thing, next string) any {
			return with(map[string]any{"records": rows(page, "", nil)}, "offset", next)
		})},
		{name: "Notion", recipe: recipeNotion, answer: func(f *fake, w http.ResponseWriter, req *http.Request, body map[string]any) {
			if req.Method != http.MethodPost || req.Header.Get("Notion-Version") == "" {
				refuse(w, http.StatusMethodNotAllowed, "")
				return
			}
			tokened("start_cursor", all, func(page []thing, next string) any {
				return map[string]any{"results": rows(page, "", nil), "has_more": next != "", "next_cursor": orNull(next)}
			})(f, w, req, body)
		}},
		{name: "GraphQL", recipe: recipeGraphQL, answer: func(f *fake, w http.ResponseWriter, _ *http.Request, body map[string]any) {
			variables, _ := body["variables"].(map[string]any)
			after, _ := variables["after"].(string)
			from, _ := f.placeOf(after)
			page, next := f.cut(f.things, from)
			write(w, map[string]any{"data": map[string]any{"orders": map[string]any{
				"nodes": rows(page, "", nil), "pageInfo": map[string]any{"endCursor": f.token(from + len(page)), "hasNextPage": next >= 0},
			}}})
		}},
		{name: "Slack", recipe: recipeSlack, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			list := slices.Clone(f.things)
			slices.Reverse(list)
			from, _ := f.placeOf(req.URL.Query().Get("cursor"))
			page, next := f.cut(list, from)
			messages, name := []any{}, ""
			for _, x := range page {
				messages = append(messages, map[string]any{"ts": fmt.Sprintf("ts%d", x.n)})
			}
			if next >= 0 {
				name = f.token(next)
			}
			write(w, map[string]any{"ok": true, "messages": messages, "has_more": next >= 0, "response_metadata": map[string]any{"next_cursor": name}})
		}},
		{name: "Jira", recipe: recipeJira, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			page, next := f.cut(f.things, number(req, "startAt")) // it caps maxResults
			write(w, map[string]any{"startAt": number(req, "startAt"), "maxResults": f.page, "total": len(f.things), "isLast": next < 0, "issues": rows(page, "", nil)})
		}},
		{name: "JiraSearch", recipe: recipeJiraSearch, caps: "expires", again: true, change: true, answer: tokened("nextPageToken", func(f *fake, req *http.Request, _ map[string]any) []thing {
			since, err := time.Parse(`updated >= "2006/01/02 15:04" order by created`, req.URL.Query().Get("jql"))
			if err != nil {
				return nil
			}
			return f.since(since)
		}, func(page []thing, next string) any {
			issues := []any{}
			for _, x := range page {
				issues = append(issues, map[string]any{"id": strconv.Itoa(x.n), "version": x.version, "fields": map[string]any{"updated": x.changed.Format("2006-01-02T15:04:05.000-0700")}})
			}
			return with(map[string]any{"issues": issues, "isLast": next == ""}, "nextPageToken", next)
		})},
		{name: "WorldBank", recipe: recipeWorldBank, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			page, _ := f.cut(f.things, (number(req, "page")-1)*f.page)
			write(w, []any{map[string]any{"page": number(req, "page"), "pages": (len(f.things) + f.page - 1) / f.page}, rows(page, "", nil)})
		}},
		{name: "HeaderCursor", recipe: recipeHeaderCursor, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			from, _ := f.placeOf(req.Header.Get("X-Cursor"))
			page, next := f.cut(f.things, from)
			if next >= 0 {
				w.Header().Set("X-Next-Cursor", f.token(next))
			}
			write(w, rows(page, "", nil))
		}},
		{name: "Lines", recipe: recipeLines, answer: func(f *fake, w http.ResponseWriter, _ *http.Request, _ map[string]any) {
			for _, row := range rows(f.things, "", nil) {
				write(w, row)
			}
		}},
		{name: "Map", recipe: recipeMap, answer: tokened("cursor", all, func(page []thing, next string) any {
			items := map[string]any{}
			for _, x := range page {
				items[fmt.Sprintf("k%06d", x.n)] = map[string]any{"id": x.n}
			}
			return map[string]any{"items": items, "next": orNull(next)}
		})},
		{name: "Spring", recipe: recipeSpring, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			page, next := f.cut(f.things, number(req, "page")*f.page)
			write(w, map[string]any{"content": rows(page, "", nil), "last": next < 0, "number": number(req, "page")})
		}},
		{name: "HAL", recipe: recipeHAL, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			page, next := f.cut(f.things, number(req, "page")*f.page)
			links, answer := map[string]any{}, map[string]any{}
			if answer["_links"] = links; len(page) > 0 {
				answer["_embedded"] = map[string]any{"orders": rows(page, "", nil)}
			}
			if next >= 0 {
				links["next"] = map[string]any{"templated": true, "href": fmt.Sprintf("http://%s/?page=%d&size=10{&sort}", req.Host, number(req, "page")+1)}
			}
			write(w, answer)
		}},
		{name: "Django", recipe: recipeDjango, answer: func(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
			n := max(number(req, "page"), 1)
			page, next := f.cut(f.things, (n-1)*f.page)
			var link any
			if next >= 0 {
				link = fmt.Sprintf("http://internal:8080/?ordering=id&page=%d", n+1)
			}
			write(w, map[string]any{"count": len(f.things), "next": link, "results": rows(page, "", nil)})
		}},
		{name: "Google", recipe: recipeGoogle, caps: "expires", again: true, change: true, answer: func(f *fake, w http.ResponseWriter, req *http.Request, body map[string]any) {
			if f.asked%3 == 0 && f.asked < 20 {
				w.Header().Set("Retry-After", "0.01")
				refuse(w, http.StatusForbidden, `{"error":{"errors":[{"reason":"userRateLimitExceeded"}]}}`)
				return
			}
			tokened("pageToken", func(f *fake, req *http.Request, _ map[string]any) []thing {
				since, _ := time.Parse("modifiedTime > '2006-01-02T15:04:05Z'", req.URL.Query().Get("q"))
				return f.since(since.Add(1))
			}, func(page []thing, next string) any {
				return with(map[string]any{"files": rows(page, "modifiedTime", iso)}, "nextPageToken", next)
			})(f, w, req, body)
		}},
	}
}

func hubspot(page []thing, next string) any {
	results := []any{}
	for _, x := range page {
		results = append(results, map[string]any{"id": strconv.Itoa(x.n), "version": x.version, "updatedAt": x.changed.Format("2006-01-02T15:04:05.000Z")})
	}
	answer := map[string]any{"results": results}
	if next != "" {
		answer["paging"] = map[string]any{"next": map[string]any{"after": next}}
	}
	return answer
}

// elasticsearch opens a point in time, whose id changes with each page and dies.
func elasticsearch(f *fake, w http.ResponseWriter, req *http.Request, body map[string]any) {
	if req.URL.Path == "/orders/_pit" {
		write(w, map[string]any{"id": f.token(0)})
		return
	}
	pit, _ := body["pit"].(map[string]any)
	id, _ := pit["id"].(string)
	if _, ok := f.placeOf(id); !ok || id == "" || pit["keep_alive"] != "1m" {
		refuse(w, http.StatusNotFound, `{"error":{"type":"search_context_missing_exception"}}`)
		return
	}
	from := 0
	if after, ok := body["search_after"].([]any); ok {
		from = int(after[0].(float64))
	}
	page, _ := f.cut(f.things, from)
	hits := []any{}
	for _, x := range page {
		hits = append(hits, map[string]any{"_id": strconv.Itoa(x.n), "_source": map[string]any{}, "sort": []any{x.n}})
	}
	write(w, map[string]any{"pit_id": f.token(from), "hits": map[string]any{"hits": hits}})
}

// salesforce has locators that die, and a query with a time.
func salesforce(f *fake, w http.ResponseWriter, req *http.Request, _ map[string]any) {
	locator, text, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/query/"), "~")
	if req.URL.Path == "/" {
		_, rest, ok := strings.Cut(req.URL.Query().Get("q"), "SystemModstamp >= ")
		if !ok {
			refuse(w, 400, "MALFORMED_QUERY")
			return
		}
		locator, text = "", strings.Fields(rest)[0]
	}
	from, ok := f.placeOf(locator)
	since, err := time.Parse(time.RFC3339, text)
	if !ok || err != nil {
		refuse(w, 400, `[{"errorCode":"INVALID_QUERY_LOCATOR"}]`)
		return
	}
	page, next := f.cut(f.since(since), from)
	records := []any{}
	for _, x := range page {
		records = append(records, map[string]any{"Id": strconv.Itoa(x.n), "version": x.version, "SystemModstamp": x.changed.Format("2006-01-02T15:04:05.000-0700")})
	}
	answer := map[string]any{"totalSize": len(f.things), "done": next < 0, "records": records}
	if next >= 0 {
		answer["nextRecordsUrl"] = "/query/" + f.token(next) + "~" + text
	}
	write(w, answer)
}
