package browsertest

import (
	"context"
	"strconv"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func id(n int64) string { return strconv.FormatInt(n, 10) }

// A run in progress is shown as it goes on, without a load of its page, and its end loads it.
func TestLive(t *testing.T) {
	t.Parallel()
	s := setup(t)
	tab := s.tab()
	run, err := s.client.Enqueue(t.Context(), "slow", nil)
	require.NoError(t, err)
	tab.open("runs/" + id(run.ID))
	tab.do(chromedp.Evaluate(`{ window.loaded = true; 0 }`, nil))
	for range 2 {
		s.step <- struct{}{}
	}
	tab.until(`window.loaded && Number(document.querySelector('[data-live=written]').textContent) >= 1`)
	tab.until(`window.loaded && document.querySelector('[data-live=state]').textContent === 'in progress'`)
	tab.requireQuiet("live progress")
	for range 4 {
		s.step <- struct{}{}
	}
	tab.until(`!window.loaded && document.querySelector('.head .state').textContent === 'success'`)
	require.Contains(t, tab.text(".numbers"), "6")
	run, err = s.client.Run(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, dataflow.RunSuccess, run.State)
	tab.requireQuiet("the end of a run")
}

// The list of flows is renewed by itself, unless somebody is typing there.
func TestLive_Flows(t *testing.T) {
	t.Parallel()
	s := setup(t)
	tab := s.tab()
	// A hundred times as often as otherwise.
	tab.do(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(`{ const usual = setInterval; window.setInterval = (f, ms) => usual(f, ms / 100) }`).Do(ctx)
		return err
	}))
	tab.open("")
	tab.do(chromedp.Evaluate(`{ window.loaded = true; 0 }`, nil))
	_, err := s.client.Pause(t.Context(), "orders", "ben", "a look")
	require.NoError(t, err)
	tab.until(`window.loaded && [...document.querySelectorAll('tbody tr')].some((r) => r.textContent.includes('orders') && r.textContent.includes('paused'))`)
	tab.requireQuiet("a list that is renewed")
}

// The page of a flow renews what is live, and leaves a form in which somebody types as it is.
func TestLive_Flow(t *testing.T) {
	t.Parallel()
	s := setup(t)
	tab := s.tab()
	// A hundred times as often as otherwise.
	tab.do(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(`{ const usual = setInterval; window.setInterval = (f, ms) => usual(f, ms / 100) }`).Do(ctx)
		return err
	}))
	tab.open("flows/slow")
	tab.do(chromedp.Evaluate(`{ window.loaded = true; const d = document.querySelector('form[action$="/backfill"]').closest('details'); d.open = true; d.querySelector('[name=reason]').focus(); 0 }`, nil),
		chromedp.SendKeys(`form[action$="/backfill"] [name=reason]`, "half a sen", chromedp.ByQuery))
	_, err := s.client.Backfill(t.Context(), "slow", &dataflow.BackfillParams{From: []byte("2"), Append: true})
	require.NoError(t, err)
	tab.until(`window.loaded && document.querySelector('#backfills')?.textContent.includes('in progress')`)
	tab.until(`window.loaded && document.querySelector('#now')?.textContent.includes('It is running')`)
	for range 4 {
		s.step <- struct{}{}
	}
	tab.until(`window.loaded && document.querySelector('#backfills progress')?.value === 100`)
	tab.until(`document.activeElement.name === 'reason' && document.activeElement.value === 'half a sen'`)
	tab.requireQuiet("a flow's page that is renewed")
}
