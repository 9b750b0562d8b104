package dataflowhttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/mask"
)

// Action is what a request wants to do. See [APIOptions].Authorize.
type Action string

// The actions.
const (
	ActionRead      Action = "read"       // look at anything
	ActionPause     Action = "pause"      // pause a flow
	ActionResume    Action = "resume"     // resume a flow
	ActionTrigger   Action = "trigger"    // start a run of a flow
	ActionBackfill  Action = "backfill"   // read a part of a flow's source again
	ActionCancel    Action = "cancel"     // end a run
	ActionRetry     Action = "retry"      // start a new run in place of one that failed
	ActionSetCursor Action = "set_cursor" // set where a flow goes on
	ActionReplay    Action = "replay"     // replay dead letters

	ActionEditDeadLetter   Action = "edit_dead_letter"   // mend the record of a dead letter
	ActionCloseDeadLetters Action = "close_dead_letters" // resolve or discard dead letters
)

// APIOptions are the settings of an [API]. The zero value allows reading alone, for everybody who
// can reach the handler.
type APIOptions struct {
	// Authorize decides about each request. flow is the flow's name, also for a request about a run
	// or a dead letter, or for a list of one flow. It is empty for a request about several flows, or about a run that
	// does not exist. It returns the name of who asks,
	// which is stored with what an action changes, and in the audit log. An error is answered by 403, with the error's
	// text. Without a name, "unknown" is stored. Nil: reading is allowed, and nothing else is.
	Authorize func(r *http.Request, action Action, flow string) (actor string, err error)

	// HidePayloads leaves out the records of dead letters and the parameters of runs.
	HidePayloads bool
	// Mask matches the names of keys whose values are answered as ***: in the records of dead
	// letters, in parameters, cursors, errors and reasons, and in what is stored of Runtimes, sources and
	// sinks. A text such as "token=x" or an address with a password is masked too. A hidden value
	// is not taken back in an edit or a cursor. Nil: password, token, secret and the like.
	Mask *regexp.Regexp

	// RiverUI is where River UI is mounted, such as "/riverui" or "https://ops.example.com/riverui".
	// Runs that are River jobs are then answered with the address of their job there. Empty: they
	// are not.
	RiverUI string

	// Logger gets a line for each action, and for each error that the answer does not show.
	// Nil: [slog.Default].
	Logger *slog.Logger
}

// unknown is the actor of a request for which Authorize names none, so that no action is without one.
const unknown = "unknown"

// maxBody is the most bytes of a request's body.
const maxBody = 1 << 20

// API returns the JSON API of a client: flows, runs, cursors, dead letters and ticks, and what one
// can do with them. It is described in OpenAPI 3.1 at the path openapi.json. docs/http-api.md lists
// the paths. opts may be nil. Mount it under any prefix:
//
//	api, err := dataflowhttp.API(client, &dataflowhttp.APIOptions{Authorize: authorize})
//	mux.Handle("/api/", http.StripPrefix("/api", api))
//
// An error is answered by problem details (RFC 9457). A request of another origin that changes
// something is refused, as [http.CrossOriginProtection] does. The client need not be started. The
// handler is safe for concurrent use.
func API(client *dataflow.Client, opts *APIOptions) (http.Handler, error) {
	if client == nil {
		return nil, fmt.Errorf("dataflow: %w", &dataflow.ConfigError{Field: "client", Reason: "it is nil: create it with dataflow.NewClient"})
	}
	a := &api{client: client}
	if opts != nil {
		a.opts = *opts
	}
	if err := checkRiverUI(a.opts.RiverUI); err != nil {
		return nil, fmt.Errorf("dataflow: %w", err)
	}
	a.mask = mask.New(a.opts.Mask)
	if a.opts.Logger == nil {
		a.opts.Logger = slog.Default()
	}
	mux := http.NewServeMux()
	methods := make(map[string][]string) // of each path
	for _, route := range routes {
		mux.HandleFunc(route.method+" "+route.path, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, route) })
		methods[route.path] = append(methods[route.path], route.method)
	}
	for path, allowed := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			for _, method := range allowed {
				w.Header().Add("Allow", method)
			}
			a.problem(w, http.StatusMethodNotAllowed, "method_not_allowed", "use one of the methods of the header Allow")
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.problem(w, http.StatusNotFound, "no_such_path", fmt.Sprintf("there is no %s: GET openapi.json lists the paths", r.URL.Path))
	})
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a.problem(w, http.StatusForbidden, "other_origin", "a page of another origin may not change anything")
	}))
	return origins.Handler(mux), nil
}

// checkRiverUI returns an error if an address is neither a path nor one of the web.
func checkRiverUI(address string) error {
	u, err := url.Parse(address)
	switch {
	case err == nil && (address == "" || u.Scheme == "" && strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//")):
		return nil
	case err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "":
		return nil
	default:
		return &dataflow.ConfigError{Field: "RiverUI", Reason: fmt.Sprintf("%q is no address: use a path such as /riverui, or an address with https", address)}
	}
}

type api struct {
	client *dataflow.Client
	opts   APIOptions
	mask   *mask.Masker
}

// route is a path of the API.
type route struct {
	method, path string
	action       Action
	summary      string
	query        []parameter
	status       int // of an answer that is no error
	work         work
}

// work is what a route does. Its types are those of openapi.json.
type work struct {
	body   func() any // a new body; nil: none
	answer any        // a nil pointer to the answer's type
	handle func(ctx context.Context, a *api, q *call) (any, error)
}

// reads returns what a handler does, with without a body.
func reads[A any](handle func(ctx context.Context, a *api, q *call) (*A, error)) work {
	return work{answer: (*A)(nil), handle: func(ctx context.Context, a *api, q *call) (any, error) { return handle(ctx, a, q) }}
}

// acts returns what a handler does, with with a body.
func acts[B, A any](handle func(ctx context.Context, a *api, q *call, b *B) (*A, error)) work {
	return work{
		body: func() any { return new(B) }, answer: (*A)(nil),
		handle: func(ctx context.Context, a *api, q *call) (any, error) {
			b, _ := q.body.(*B) // check has made it
			return handle(ctx, a, q, b)
		},
	}
}

// parameter is a parameter of a query.
type parameter struct {
	name, kind, says string // kind is string, integer or boolean
	values           []string
	list             bool // it may be given several times
}

// call is what a handler gets.
type call struct {
	*http.Request
	route *route
	actor string
	body  any // a pointer to the route's body
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, route route) {
	q := &call{Request: r, route: &route}
	if err := a.authorize(r.Context(), q); err != nil {
		a.fail(r.Context(), w, q, err)
		return
	}
	if err := q.check(); err != nil {
		a.fail(r.Context(), w, q, err)
		return
	}
	answer, err := route.work.handle(r.Context(), a, q)
	if err != nil {
		a.fail(r.Context(), w, q, err)
		return
	}
	if route.action != ActionRead {
		a.opts.Logger.InfoContext(r.Context(), "dataflow: action", slog.String("action", string(route.action)), slog.String("actor", q.actor), slog.String("path", r.URL.Path))
	}
	writeJSON(w, route.status, answer)
}

// authorize asks whether the request is allowed, and by whom it is made.
func (a *api) authorize(ctx context.Context, q *call) error {
	if a.opts.Authorize == nil {
		if q.route.action == ActionRead {
			return nil
		}
		return &problemError{http.StatusForbidden, "read_only", "this API is read-only: its service gives no APIOptions.Authorize"}
	}
	flow, err := a.flowOf(ctx, q)
	if err != nil {
		return err
	}
	actor, err := a.opts.Authorize(q.Request, q.route.action, flow)
	if err != nil {
		return &problemError{http.StatusForbidden, "forbidden", err.Error()}
	}
	q.actor = cmp.Or(actor, unknown)
	return nil
}

// flowOf returns the name of the flow that a request is about, or "" if it is about several.
func (a *api) flowOf(ctx context.Context, q *call) (string, error) {
	if q.PathValue("id") == "" {
		return cmp.Or(q.PathValue("name"), q.URL.Query().Get("flow")), nil // another "flow" than that of a list is refused later
	}
	id, err := q.id()
	if err != nil {
		return "", nil //nolint:nilerr // the handler answers it, once it is allowed
	}
	if strings.HasPrefix(q.route.path, "/dead-letters/") {
		l, err := a.client.DeadLetter(ctx, id)
		if errors.Is(err, dataflow.ErrNotFound) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		return l.FlowName, nil
	}
	run, err := a.client.Run(ctx, id)
	if errors.Is(err, dataflow.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return run.FlowName, nil
}

// check reads the query and the body, and refuses what the route does not know.
func (q *call) check() error {
	if !storable(q.PathValue("name")) {
		return &problemError{http.StatusNotFound, "not_found", fmt.Sprintf("%q is not the name of a flow", q.PathValue("name"))}
	}
	if err := q.checkQuery(); err != nil {
		return err
	}
	if q.route.work.body == nil {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &problemError{http.StatusUnsupportedMediaType, "no_json", "send the header Content-Type: application/json"}
	}
	data, err := io.ReadAll(http.MaxBytesReader(nil, q.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &problemError{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body has more than %d bytes", maxBody)}
	case err != nil:
		return &problemError{http.StatusBadRequest, "bad_body", "the body cannot be read to its end: " + err.Error()}
	}
	q.body = q.route.work.body()
	if len(data) == 0 {
		return nil
	}
	if err := decodeStrictly(data, q.body); err != nil {
		return &problemError{http.StatusBadRequest, "bad_body", err.Error()}
	}
	return nil
}

func (q *call) checkQuery() error {
	// URL.Query leaves out what it cannot read: a list would then lack a filter, and show what nobody asked for.
	query, err := url.ParseQuery(q.URL.RawQuery)
	if err != nil {
		return &problemError{http.StatusBadRequest, "bad_parameter", fmt.Sprintf("the query cannot be read: %v: in a value, write %% as %%25, & as %%26 and ; as %%3B", err)}
	}
	for name, given := range query {
		p := q.route.parameter(name)
		if p == nil {
			return &problemError{http.StatusBadRequest, "unknown_parameter", fmt.Sprintf("there is no parameter %q here", name)}
		}
		if len(given) > 1 && !p.list {
			return &problemError{http.StatusBadRequest, "bad_parameter", fmt.Sprintf("parameter %s: it is given %d times: give it once", name, len(given))}
		}
		for _, text := range given {
			if !storable(text) {
				return &problemError{http.StatusBadRequest, "bad_parameter", fmt.Sprintf("parameter %s: it is %q: use UTF-8 without NUL characters", name, text)}
			}
		}
	}
	return nil
}

// storable reports whether a database can hold a text. Postgres answers others by an error.
func storable(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

// parameter returns the parameter of that name, nil if the route has none.
func (r *route) parameter(name string) *parameter {
	for i := range r.query {
		if r.query[i].name == name {
			return &r.query[i]
		}
	}
	return nil
}
