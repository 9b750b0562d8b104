package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
// about 200 bytes. The next page is named in the body. The pages are in a file: in memory, they would make all
// other lines of the process collect garbage less often.
func (w *work) serve() (stop func(), err error) {
	f, err := os.Open(w.file("rows.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // the file was only read
	pages, err := os.Create(w.file("pages.json"))
	if err != nil {
		return nil, err
	}
	var begins []int64 // where each page begins in the file, and where the last one ends
	page, n, size := bytes.Buffer{}, 0, int64(0)
	end := func(next string) error {
		fmt.Fprintf(&page, `],"next":%s}`, next)
		begins, size, n = append(begins, size), size+int64(page.Len()), 0
		_, err := page.WriteTo(pages)
		return err
	}
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		if n == httpPage {
			if err := end(strconv.Itoa(len(begins) + 1)); err != nil {
				return nil, errors.Join(err, pages.Close())
			}
		}
		if page.WriteByte(','); n == 0 {
			page.Reset()
			page.WriteString(`{"data":[`)
		}
		line := lines.Bytes()
		page.Write(line[:len(line)-1])
		fmt.Fprintf(&page, `,"note":"%s"}`, strings.Repeat("x", max(0, 189-len(line))))
	}
	if err := end("null"); err != nil {
		return nil, errors.Join(err, pages.Close())
	}
	begins = append(begins, size)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		i, _ := strconv.Atoi(req.URL.Query().Get("cursor")) // the first page has none
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(rw, io.NewSectionReader(pages, begins[i], begins[i+1]-begins[i]))
	}))
	w.api = server.URL
	return func() {
		server.Close()
		_ = pages.Close() // it was only read
	}, nil
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
