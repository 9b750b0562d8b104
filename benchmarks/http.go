package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// httpPage is the number of records of a page.
const httpPage = 1000

// serve starts an API with the rows of the file of JSON lines, in pages of 1,000 records of
// about 200 bytes. The next page is named in the body.
func (w *work) serve() (stop func(), err error) {
	f, err := os.Open(w.file("rows.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // the file was only read
	var pages [][]byte
	page, n := bytes.Buffer{}, 0
	end := func(next string) {
		fmt.Fprintf(&page, `],"next":%s}`, next)
		pages = append(pages, bytes.Clone(page.Bytes()))
		page.Reset()
		n = 0
	}
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		if n == httpPage {
			end(strconv.Itoa(len(pages) + 1))
		}
		if page.WriteByte(','); n == 0 {
			page.Reset()
			page.WriteString(`{"data":[`)
		}
		line := lines.Bytes()
		page.Write(line[:len(line)-1])
		fmt.Fprintf(&page, `,"note":"%s"}`, strings.Repeat("x", max(0, 189-len(line))))
	}
	end("null")
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		i, _ := strconv.Atoi(req.URL.Query().Get("cursor")) // the first page has none
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(pages[i])
	}))
	w.api = server.URL
	return server.Close, nil
}

func (w *work) http() dataflow.Source[row, httpjson.Cursor] {
	return httpjson.Source[row](w.api, &httpjson.Options{Records: "data", Paging: httpjson.BodyCursor{Path: "next"}})
}

// httpLoop is what most people write: request a page, read it with encoding/json, write its
// rows with CopyFrom, store the cursor, in sequence.
func (w *work) httpLoop(ctx context.Context) error {
	next := "0"
	for next != "" {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.api+"?cursor="+next, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		var page struct {
			Data []row       `json:"data"`
			Next json.Number `json:"next"`
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close() // it was only read
		if err != nil {
			return err
		}
		if err := w.copyRows(ctx, page.Data, page.Data[len(page.Data)-1].ID); err != nil {
			return err
		}
		next = page.Next.String()
	}
	return nil
}
