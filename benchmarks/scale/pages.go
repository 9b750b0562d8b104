package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowui"
)

// pageFlows is how many flows the dashboard of this measurement shows.
const pageFlows = 10_000

// sqlBesideRuns adds what else gathers beside runs, as much as there is in years, and makes a
// hundred flows fail. All dead letters are of one flow, and all audit entries of another.
const sqlBesideRuns = `
insert into dataflow_tick (flow_id, first_at, last_at, reason)
select ids[1 + i % cardinality(ids)], t, t, 'overlap'
from generate_series(1, 1000000) i, (select array_agg(id) as ids from dataflow_flow) f, lateral (select now() - i * interval '1 minute' as t) x;
insert into dataflow_dead_letter (flow_id, run_id, stage, key, error, created_at, state, closed_at)
select (select min(id) from dataflow_flow), i, 'write', 'k', 'no', now(), 'resolved', now() from generate_series(1, 200000) i;
insert into dataflow_audit (at, actor, action, flow_id, reason) select now(), 'ann', 'pause', (select max(id) from dataflow_flow), '' from generate_series(1, 200000) i;
update dataflow_flow set failures = 1, last_error = 'no' where id % 100 = 0;
`

// pages are the pages of the dashboard, by what they are called in the table.
func pages() [][2]string {
	return [][2]string{
		{"Flows", "/"},
		{"Flows, from the middle", "/?after=" + url.QueryEscape(flowName(pageFlows/2))},
		{"Flows, a name", "/?q=" + url.QueryEscape(flowName(77))},
		{"Flow, with a tenth of all runs", "/flows/" + url.PathEscape(flowName(0))},
		{"Flow", "/flows/" + url.PathEscape(flowName(77))},
		{"Runs", "/runs"},
		{"Runs, failed", "/runs?state=failed"},
		{"Runs, of a flow", "/runs?flow=" + url.QueryEscape(flowName(77))},
		{"Run", "/runs/12345"},
		{"Dead letters", "/dead-letters"},
		{"Dead letters, all", "/dead-letters?state=all"},
		{"Workers", "/workers"},
		{"Audit log", "/audit"},
		{"Audit log, of a flow", "/audit?flow=" + url.QueryEscape(flowName(77))},
	}
}

// dashboard serves the pages of a database with a long history, once filled.
type dashboard struct {
	env     *env
	handler http.Handler
}

func (d *dashboard) open(ctx context.Context) error {
	if d.handler != nil {
		return nil
	}
	db, err := d.env.fresh(ctx)
	if err != nil {
		return err
	}
	client, err := d.env.client(db, nil, noops(pageFlows, &reads{}, dataflow.Heartbeat{Interval: 24 * time.Hour}))
	if err != nil {
		return err
	}
	if err := client.Register(ctx); err != nil {
		return err
	}
	if err := new(history).fill(ctx, db, d.env.size.history); err != nil {
		return err
	}
	if err := db.exec(ctx, "set session_replication_role = replica;"+sqlBesideRuns+"set session_replication_role = origin", "vacuum analyze", "checkpoint"); err != nil {
		return err
	}
	d.handler, err = dataflowui.New(client, &dataflowui.Options{Logger: slog.New(slog.DiscardHandler)})
	return err
}

// look asks for every page as often as there are rounds, and returns the median of each. All of a
// page is in it: its statements, the checks of the API, and the template.
func (d *dashboard) look(ctx context.Context) (metrics, error) {
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	took := make(map[string][]float64)
	for range d.env.size.rounds {
		for _, page := range pages() {
			began := time.Now()
			w := httptest.NewRecorder()
			d.handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, page[1], http.NoBody))
			took[page[0]] = append(took[page[0]], float64(time.Since(began).Microseconds())/1000)
			if w.Code != http.StatusOK {
				return nil, fmt.Errorf("%s: %d: %s", page[1], w.Code, w.Body)
			}
		}
	}
	m := metrics{}
	for name, all := range took {
		m[name] = median(all)
	}
	return m, nil
}

func (e *env) pageBench() bench {
	d := &dashboard{env: e}
	b := bench{key: "pages", pairs: 1, ours: d.look}
	for _, page := range pages() {
		b.rows = append(b.rows, row{work: fmt.Sprintf("%d ended runs, %d flows: %s", e.size.history, pageFlows, page[0]), metric: page[0], unit: "ms", kind: atMost, target: 100})
	}
	return b
}
