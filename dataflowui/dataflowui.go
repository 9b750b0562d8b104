// Package dataflowui is the dashboard: pages that show flows, runs, dead letters and workers, and
// buttons for what one can do with them.
//
//	ui, err := dataflowui.New(client, &dataflowui.Options{Authorize: authorize})
//	mux.Handle("/dataflow/", http.StripPrefix("/dataflow", ui))
//
// The pages are made by the server, and need no script but for live progress. They show and do what
// [dataflowhttp.API] shows and does: the same names are masked, and the same Authorize is asked.
package dataflowui

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowhttp"
)

// Options are the settings of a dashboard, and those of the JSON API. The zero value shows pages
// to everybody who can reach the handler, and has no buttons. With Authorize, each page asks for
// [dataflowhttp.ActionRead], and each button for its own action.
type Options = dataflowhttp.APIOptions

var (
	//go:embed templates
	templateFiles embed.FS
	//go:embed static
	staticFiles embed.FS
)

const (
	tokenCookie = "dataflow_csrf"
	tokenField  = "csrf_token"
	maxForm     = 1 << 20 // bytes of a form
	policy      = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

type ui struct {
	api    http.Handler
	acts   bool // Authorize was given
	log    *slog.Logger
	pages  map[string]*template.Template
	period time.Duration // between two events of a run's progress
}

// New returns the dashboard of a client. Mount it under any prefix with [http.StripPrefix]; its
// links are relative. opts may be nil. The client need not be started. If client is nil, the error
// is a [dataflow.ConfigError]. The handler is safe for concurrent use.
func New(client *dataflow.Client, opts *Options) (http.Handler, error) {
	if opts == nil {
		opts = &Options{}
	}
	api, err := dataflowhttp.API(client, opts)
	if err != nil {
		return nil, err
	}
	u := &ui{api: api, acts: opts.Authorize != nil, log: opts.Logger, pages: make(map[string]*template.Template), period: time.Second}
	if u.log == nil {
		u.log = slog.Default()
	}
	for _, name := range []string{"flows", "flow", "cursor", "runs", "run", "skipped_ticks", "dead_letters", "dead_letter", "workers", "audit", "problem"} {
		t, err := template.New("").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("dataflow: read page %s: %w", name, err)
		}
		u.pages[name] = t
	}
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.problem(w, r, http.StatusForbidden, "A page of another origin may not change anything.")
	}))
	return headers(origins.Handler(u.mux())), nil
}

func (u *ui) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, page := range map[string]func(*http.Request) (*view, error){
		"GET /{$}":                 u.flows,
		"GET /flows/{name}":        u.flow,
		"GET /flows/{name}/cursor": u.cursor,
		"GET /runs":                u.runs,
		"GET /runs/{id}":           u.run,
		"GET /skipped-ticks":       u.skipped,
		"GET /dead-letters":        u.deadLetters,
		"GET /dead-letters/{id}":   u.deadLetter,
		"GET /workers":             u.workers,
		"GET /audit":               u.audit,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			// URL.Query leaves out what it cannot read: a list would then lack a filter.
			if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
				u.problem(w, r, http.StatusBadRequest, fmt.Sprintf("The address cannot be read: %v. In a value, write %% as %%25, & as %%26 and ; as %%3B.", err))
				return
			}
			v, err := page(r)
			u.answer(w, r, v, err)
		})
	}
	mux.HandleFunc("GET /runs/{id}/events", u.events)
	for _, a := range actions {
		mux.HandleFunc("POST "+a.path, func(w http.ResponseWriter, r *http.Request) { u.act(w, r, a) })
	}
	mux.Handle("GET /static/", http.FileServerFS(staticFiles))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		u.problem(w, r, http.StatusNotFound, "There is no such page.")
	})
	return mux
}

// headers keep pages from loading or running anything of elsewhere.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		if !strings.HasPrefix(r.URL.Path, "/static/") {
			h.Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	})
}

// view is a page: the template's name, and what it shows.
type view struct {
	page, Title string
	Data        any
	status      int // 0: 200
	// The rest is filled in by answer.
	Base, Token, Done string
	Acts              bool
	Refresh           bool
}

// Current is what aria-current says of the link to a part of the pages: "page" for its list, "true"
// for one of its pages.
func (v *view) Current(part string) string {
	switch {
	case v.page == part+"s", v.page == "audit" && part == "audit":
		return "page"
	case v.page == part, v.page == "cursor" && part == "flow":
		return "true"
	default:
		return ""
	}
}

func (u *ui) answer(w http.ResponseWriter, r *http.Request, v *view, err error) {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		u.problem(w, r, refused.Status, refused.Detail)
		return
	case err != nil:
		u.log.ErrorContext(r.Context(), "dataflow: a page failed", slog.String("path", r.URL.Path), slog.String("error", err.Error()))
		u.problem(w, r, http.StatusInternalServerError, "The page failed: see the service's log.")
		return
	}
	v.Base, v.Acts, v.Done = base(r), u.acts, done(r)
	if u.acts {
		v.Token = token(w, r)
	}
	var page bytes.Buffer
	if err := u.pages[v.page].ExecuteTemplate(&page, "layout", v); err != nil {
		u.log.ErrorContext(r.Context(), "dataflow: a page failed", slog.String("path", r.URL.Path), slog.String("error", err.Error()))
		http.Error(w, "The page failed: see the service's log.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if v.status != 0 {
		w.WriteHeader(v.status)
	}
	_, _ = w.Write(page.Bytes()) // fails only if the reader has gone away
}

func (u *ui) problem(w http.ResponseWriter, r *http.Request, status int, detail string) {
	title := http.StatusText(status)
	if r.Method == http.MethodPost && status < http.StatusInternalServerError {
		title = "Refused, nothing was changed"
	}
	u.answer(w, r, &view{page: "problem", Title: title, Data: map[string]any{"Detail": detail, "Form": r.Method == http.MethodPost}, status: status}, nil)
}

// base is the relative address of the first page, so that the prefix need not be known.
func base(r *http.Request) string {
	depth := strings.Count(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if depth == 0 {
		return "./"
	}
	return strings.Repeat("../", depth)
}

// token returns the token of the reader's forms. A cookie keeps it, which no script can read.
func token(w http.ResponseWriter, r *http.Request) string {
	if c, err := r.Cookie(tokenCookie); err == nil && len(c.Value) >= 26 {
		return c.Value
	}
	text := rand.Text()
	http.SetCookie(w, &http.Cookie{Name: tokenCookie, Value: text, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	return text
}

// forged reports whether a form was not made by a page for this reader.
func forged(r *http.Request) bool {
	c, err := r.Cookie(tokenCookie)
	return err != nil || len(c.Value) < 26 || subtle.ConstantTimeCompare([]byte(c.Value), []byte(r.PostFormValue(tokenField))) != 1
}
