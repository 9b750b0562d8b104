package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// pages are all pages, and what each must show.
func pages() map[string]string {
	return map[string]string{
		"":                      "Flows",
		"flows/orders":          "orders",
		"flows/bad":             "bad",
		"flows/failing":         "failing",
		"flows/" + longName:     longName,
		"runs":                  "Runs",
		"runs/1":                "Run 1",
		"runs/2":                "Run 2",
		"dead-letters":          "Dead letters",
		"dead-letters?flow=bad": "Dead letters",
		"dead-letters/1":        "Dead letter 1",
		"workers":               "Workers",
		"skipped-ticks":         "Skipped ticks",
		"flows/orders/cursor":   "Cursor of orders",
		"flows/etl":             "etl",
		"audit":                 "Audit log",
		"audit?flow=none":       "Audit log",
	}
}

// look is how somebody looks at pages.
type look struct {
	theme string
	width int64
	axe   bool
}

// Every page is without errors and without sideways scrolling, in both themes, on a wide screen and
// on one of 360 pixels, with each of its forms open. In each theme and on each screen, it violates none of
// axe-core's rules.
func TestPages(t *testing.T) {
	t.Parallel()
	rules := axe(t)
	s := setup(t)
	for _, l := range []look{{"light", 1280, true}, {"dark", 1280, false}, {"light", 360, false}, {"dark", 360, true}} {
		t.Run(fmt.Sprintf("%s %d", l.theme, l.width), func(t *testing.T) {
			t.Parallel()
			own := *s
			own.T = t
			tab := own.tab()
			tab.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.theme}}),
				emulation.SetDeviceMetricsOverride(l.width, 800, 1, false))
			for path, title := range pages() {
				tab.open(path)
				require.Equal(t, title, tab.text("h1"), path)
				tab.shoot(fmt.Sprintf("%s-%s-%d", strings.NewReplacer("/", "-", "?", "-", "=", "-").Replace(path), l.theme, l.width))
				tab.requireNarrow(path)
				if l.axe {
					tab.violates(rules, path)
				}
				tab.requireQuiet(path)
			}
		})
	}
}

// requireNarrow requires that the page does not scroll sideways, with no form open and with each.
func (t *tab) requireNarrow(where string) {
	t.Helper()
	var wide []string
	t.do(chromedp.Evaluate(`(() => {
		const all = [...document.querySelectorAll('main details')]
		for (const opened of [null, ...all]) {
			for (const d of all) d.open = d === opened
			const width = document.documentElement.clientWidth
			if (document.documentElement.scrollWidth <= width) continue
			const edge = (e) => Math.round(e.getBoundingClientRect().right)
			return [(opened ? opened.textContent : 'no form') + ' open: ' + document.documentElement.scrollWidth + ' > ' + width].concat(
				[...document.querySelectorAll('body *')].filter((e) => edge(e) > width && !e.closest('.scroll, pre, details:not([open])')).map((e) => edge(e) + ': ' + e.outerHTML.slice(0, 200)))
		}
		for (const d of all) d.open = false
		return []
	})()`, &wide))
	require.Empty(t, wide, "%s is wider than the screen", where)
}

// violates requires that a page, with all its forms open, violates none of axe-core's rules.
func (t *tab) violates(rules, where string) {
	t.Helper()
	var violations []string
	t.do(chromedp.Evaluate(`document.querySelectorAll('main details').forEach((d) => { d.removeAttribute('name'); d.open = true })`, nil),
		chromedp.Evaluate("window.axe || "+strings.TrimSuffix(strings.TrimSpace(rules), ";")+"; 0", nil),
		chromedp.Evaluate(`axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations.flatMap((v) => v.nodes.map((n) => v.id + ': ' + n.failureSummary + ' ' + n.html)))`,
			&violations, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	require.Empty(t, violations, where)
}

// shoot keeps a picture of the page in DATAFLOW_SCREENSHOTS, if that is set.
func (t *tab) shoot(name string) {
	t.Helper()
	dir := os.Getenv("DATAFLOW_SCREENSHOTS")
	if dir == "" {
		return
	}
	var picture []byte
	t.do(chromedp.FullScreenshot(&picture, 100))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}

// A page of somebody who has typed a wrong address says so.
func TestPages_Unknown(t *testing.T) {
	t.Parallel()
	s := setup(t)
	tab := s.tab()
	tab.open("flows/none")
	require.Equal(t, "Not Found", tab.text("h1"))
	tab.do(chromedp.Click(`main p a`, chromedp.ByQuery), chromedp.WaitVisible(`table.flows`, chromedp.ByQuery))
	require.Equal(t, "Flows", tab.text("h1"))
}
