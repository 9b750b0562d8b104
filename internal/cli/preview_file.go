package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
	"github.com/activedataflow/dataflow/internal/csvguess"
)

// tried is the number of records that are read with guessed options.
const tried = 10_000

// guessView is a guess of a CSV file's dialect as JSON.
type guessView struct {
	File     string   `json:"file"`
	Sure     bool     `json:"sure"`
	Encoding string   `json:"encoding"`
	Comma    string   `json:"comma,omitempty"`
	Quote    string   `json:"quote,omitempty"`
	Header   bool     `json:"header"`
	Columns  []string `json:"columns"`
	Options  string   `json:"options,omitempty"`
	Good     int      `json:"good"`
	Bad      int      `json:"bad"`
	Problem  string   `json:"problem,omitempty"`
	Doubts   []string `json:"doubts"`
}

// guess guesses how a CSV file is written, and reads it so.
func guess(ctx context.Context, path string) (*guessView, error) {
	g, err := csvguess.File(path)
	if err != nil {
		return nil, err
	}
	v := &guessView{File: path, Encoding: g.Encoding, Problem: g.Refused, Header: g.Header, Columns: g.First, Doubts: g.Doubts}
	if g.Comma == 0 {
		return v, nil
	}
	v.Comma, v.Options = string(g.Comma), g.Options()
	if g.Quote != 0 {
		v.Quote = string(g.Quote)
	}
	if v.Problem == "" {
		v.try(ctx, path, g)
	}
	v.Sure = v.Problem == "" && v.Bad == 0 && len(v.Doubts) == 0
	return v, nil
}

// try reads the file with the guessed options.
func (v *guessView) try(ctx context.Context, path string, g *csvguess.Guess) {
	opts := &csvfile.Options{
		Comma: g.Comma, Comment: g.Comment, Quote: g.Quote, Escape: g.Escape, LazyQuotes: g.Lazy, SurplusEmpty: g.Surplus,
		SkipLines: g.Skip, Footer: g.Footer, Partial: csvfile.Take,
	}
	if g.Quote == 0 {
		opts.Quote = csvfile.None
	}
	for _, err := range csvfile.Open[csvguess.Row](path, opts).Read(ctx, dataflow.Request[csvfile.Cursor]{}) {
		var bad *dataflow.RecordError
		switch {
		case errors.As(err, &bad):
			if v.Bad++; v.Bad == 1 {
				v.Doubts = append(v.Doubts, fmt.Sprintf("the first bad record is %s: %s", bad.Key, message(bad.Err)))
			}
		case err != nil:
			v.Problem = message(err)
			return
		default:
			v.Good++
		}
		if v.Good+v.Bad == tried {
			return
		}
	}
}

// previewFile shows what a CSV file looks like.
func (a *app) previewFile(ctx context.Context, path string) error {
	v, err := guess(ctx, path)
	if err != nil {
		return err
	}
	return a.show(v, func(p *page) {
		if v.Comma == "" {
			p.line("%s cannot be read: %s", v.File, v.Problem)
			return
		}
		header := "yes"
		if !v.Header {
			header = "perhaps not"
		}
		quote := orDash(v.Quote)
		columns := slices.Clone(v.Columns)
		for i, name := range columns {
			columns[i] = strconv.Quote(name)
		}
		p.table(nil, [][]string{
			{"file", v.File},
			{"encoding", v.Encoding},
			{"separator", strconv.Quote(v.Comma)},
			{"quote", quote},
			{"header", header},
			{"first record", clip(strings.Join(columns, ", "), 200)},
			{"options", v.Options},
			{"read with these", v.outcome()},
		})
		switch {
		case v.Sure:
			p.line("Nothing speaks against this guess.")
		case len(v.Doubts) > 0:
			p.line("This is a guess. Look at:")
		}
		for _, doubt := range v.Doubts {
			p.line("- %s", doubt)
		}
	})
}

func (v *guessView) outcome() string {
	text := plural(v.Good, "good record", "good records") + ", " + strconv.Itoa(v.Bad) + " bad"
	if v.Good+v.Bad == tried {
		text = "of the first " + strconv.Itoa(tried) + ": " + text
	}
	if v.Problem != "" {
		text += "; " + v.Problem
	}
	return text
}

// guessOf guesses how the CSV file of a flow is written, for a line that helps with its
// options. It returns "" for a flow that reads no such file, or one that is not here.
func guessOf(ctx context.Context, f *dataflow.Flow, program string) string {
	var source dataflow.Description
	if json.Unmarshal(f.Source, &source) != nil || source.Type != "csvfile" {
		return ""
	}
	path, _ := source.Detail["path"].(string)
	if pattern, ok := source.Detail["pattern"].(string); ok {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			return ""
		}
		path = names[0]
	}
	if stat, err := os.Stat(path); err != nil || !stat.Mode().IsRegular() {
		return ""
	}
	v, err := guess(ctx, path)
	switch {
	case err != nil:
		return ""
	case v.Comma == "":
		return fmt.Sprintf("%s: %s", path, v.Problem)
	case v.Sure:
		if v.Options == "nil" {
			return "The form of " + path + ", such as its separator and quotes, needs no options."
		}
		return fmt.Sprintf("%s seems to be written for the options %s.", path, v.Options)
	default:
		return fmt.Sprintf("%s may be written for the options %s, with doubts: %s preview --file %s", path, v.Options, program, path)
	}
}
