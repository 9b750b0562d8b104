package browsertest

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// form opens the form that a heading names, fills it in and presses its button.
func (t *tab) form(path, action string, fields ...string) {
	t.Helper()
	form := `main form[action$="` + action + `"]`
	t.open(path)
	// With the focus in the form, the page is not renewed meanwhile.
	t.do(chromedp.Evaluate(`{ const d = document.querySelector('`+form+`').closest('details'); const s = d && d.querySelector('summary'); if (s) { s.focus(); s.click() } 0 }`, nil))
	for i := 0; i+1 < len(fields); i += 2 {
		input := form + ` [name="` + fields[i] + `"]`
		t.do(chromedp.WaitVisible(input, chromedp.ByQuery), chromedp.Evaluate("document.querySelector('"+input+"').value = ''", nil), chromedp.SendKeys(input, fields[i+1], chromedp.ByQuery))
	}
	t.press(form + ` button`)
}

// press presses a button and waits for the page that follows.
func (t *tab) press(button string) {
	t.Helper()
	t.do(chromedp.Evaluate(`{ window.before = true; 0 }`, nil), chromedp.Click(button, chromedp.ByQuery))
	t.until(`!window.before && document.readyState === 'complete' && document.querySelector('h1') !== null`)
}

// done is what the page says after an action.
func (t *tab) done() string {
	t.Helper()
	return t.text(`p.done`)
}

// Every button does what it says.
func TestActions(t *testing.T) {
	t.Parallel()
	s := setup(t)
	tab := s.tab()
	ctx := t.Context()
	flow := func() *dataflow.Flow {
		f, err := s.client.Flow(ctx, "orders")
		require.NoError(t, err)
		return f
	}
	newest := func(name string) *dataflow.Run {
		runs, err := s.client.Runs(ctx, &dataflow.RunListParams{Flow: name, Limit: 1})
		require.NoError(t, err)
		require.Len(t, runs, 1)
		return runs[0]
	}
	tab.form("flows/orders", "/pause", "reason", "a look")
	require.Equal(t, "The flow is paused.", tab.done())
	require.Equal(t, dataflow.FlowInactive, flow().State)
	tab.form("flows/orders", "/resume")
	require.Equal(t, "The flow is active again.", tab.done())
	require.True(t, flow().IsActive())
	tab.form("flows/orders", "/trigger", "reason", "once more")
	require.Equal(t, "A run was asked for.", tab.done())
	require.Equal(t, "once more", newest("orders").Reason)
	_, err := s.client.Wait(ctx, newest("orders").ID)
	require.NoError(t, err)
	tab.form("flows/orders", "/backfill", "reason", "a rule", "from", "1")
	require.Equal(t, "The backfill was asked for.", tab.done())
	require.True(t, newest("orders").IsBackfill())
	_, err = s.client.Wait(ctx, newest("orders").ID)
	require.NoError(t, err)
	tab.form("flows/orders", "/cursor", "cursor", "2", "reason", "go on there")
	require.Equal(t, "The cursor was set.", tab.done())
	cur, err := s.client.Cursor(ctx, "orders")
	require.NoError(t, err)
	require.Equal(t, "2", string(cur.Cursor))

	run, err := s.client.Enqueue(ctx, "slow", nil)
	require.NoError(t, err)
	tab.form("runs/"+id(run.ID), "/cancel", "reason", "too slow")
	require.Equal(t, "The run is being cancelled.", tab.done())
	run, err = s.client.Wait(ctx, run.ID)
	require.Error(t, err)
	require.Equal(t, "ann", run.CancelledBy)
	tab.form("runs/"+id(newest("failing").ID), "/retry")
	require.Equal(t, "This run was started in place of the other.", tab.done())
	require.Equal(t, "Run "+id(newest("failing").ID), tab.text("h1"))

	tab.open("dead-letters?flow=bad")
	tab.do(chromedp.Click(`tbody tr:last-child input[type=checkbox]`, chromedp.ByQuery), chromedp.SendKeys(`input[name=reason]`, "not wanted"+kb.Enter, chromedp.ByQuery))
	require.Equal(t, "Dead letters", tab.text("h1"), "Enter presses no button")
	letter := func(n int64) *dataflow.DeadLetterRecord {
		l, err := s.client.DeadLetter(ctx, n)
		require.NoError(t, err)
		return l
	}
	require.Equal(t, dataflow.DeadLetterOpen, letter(1).State)
	tab.press(`button[value=discarded]`)
	require.Equal(t, "The dead letters were closed.", tab.done())
	require.Equal(t, dataflow.DeadLetterDiscarded, letter(1).State)
	tab.form("dead-letters/2", "/edit", "payload", `{"id":3,"text":"mended","password":"p"}`)
	require.Equal(t, "The record was changed.", tab.done())
	tab.form("dead-letters/2", "/replay")
	require.Equal(t, "The dead letters were replayed.", tab.done())
	require.Equal(t, []any{dataflow.DeadLetterReplayed, "ann"}, []any{letter(2).State, letter(2).ClosedBy})

	tab.open("audit")
	for _, action := range []string{"pause", "resume", "trigger", "backfill", "set cursor", "cancel", "retry", "close dead letters", "edit dead letter", "replay"} {
		require.Contains(t, tab.text("table"), action)
	}
	tab.requireQuiet("all actions")
}

// A run that ends before its cancellation is answered does not take the answer away.
func TestActions_AnsweredLate(t *testing.T) {
	t.Parallel()
	s := setup(t)
	tab := s.tab()
	run, err := s.client.Enqueue(t.Context(), "slow", nil)
	require.NoError(t, err)
	ended := func() {
		_, _ = s.client.Wait(t.Context(), run.ID)
		time.Sleep(time.Second) // for the page to hear of it
	}
	s.late.Store(&ended)
	tab.form("runs/"+id(run.ID), "/cancel", "reason", "too slow")
	require.Equal(t, "The run is being cancelled.", tab.done())
}

// A form without what it needs is not sent, and one that is refused says why.
func TestActions_Refused(t *testing.T) {
	t.Parallel()
	s := setup(t)
	tab := s.tab()
	tab.open("flows/orders")
	tab.do(chromedp.Evaluate(`{ document.querySelector('form[action$="/pause"]').closest('details').open = true; 0 }`, nil),
		chromedp.Click(`form[action$="/pause"] button`, chromedp.ByQuery))
	tab.until(`document.activeElement.name === 'reason'`) // the browser asks for the reason
	f, err := s.client.Flow(t.Context(), "orders")
	require.NoError(t, err)
	require.True(t, f.IsActive())
	tab.form("dead-letters/1", "/replay")
	require.Equal(t, "Not everything was replayed", tab.text("h1"))
	require.Contains(t, tab.text("main"), "dead letter 1: transform: refused")
}

// Somebody without a mouse reaches the content, a form and its button.
func TestActions_Keyboard(t *testing.T) {
	t.Parallel()
	s := setup(t)
	tab := s.tab()
	tab.open("flows/orders")
	tab.do(chromedp.KeyEvent(kb.Tab))
	require.Equal(t, "Skip to the content", tab.focused())
	tab.do(chromedp.KeyEvent(kb.Enter))
	for range 40 {
		if tab.focused() == "Pause" {
			break
		}
		tab.do(chromedp.KeyEvent(kb.Tab))
	}
	require.Equal(t, "Pause", tab.focused())
	tab.do(chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("by keys"), chromedp.KeyEvent(kb.Tab))
	require.Equal(t, "Pause orders", tab.focused())
	tab.do(chromedp.KeyEvent(kb.Enter))
	tab.until(`document.querySelector('p.done') !== null`)
	f, err := s.client.Flow(t.Context(), "orders")
	require.NoError(t, err)
	require.Equal(t, "by keys", f.StateReason)
}

func (t *tab) focused() string {
	t.Helper()
	var text string
	t.do(chromedp.Evaluate(`document.activeElement.textContent.trim()`, &text))
	return text
}
