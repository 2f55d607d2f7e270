//go:build browser

package statuspage

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/inspect"
)

var (
	chromium    = flag.String("page.chromium", "chromium", "the browser")
	axe         = flag.String("page.axe", "", "axe.min.js of axe-core")
	screenshots = flag.String("page.screenshots", "", "the folder for pictures of the page; \"\" for none")
)

// TestBrowser: the page is accessible and complete in a real browser, with its policy
// in force, and follows what happens.
func TestBrowser(t *testing.T) {
	b := launch(t, *chromium)
	rules, err := os.ReadFile(*axe)
	if err != nil {
		t.Fatalf("%v; run this test with 'go tool task page'", err)
	}
	now := time.Now()
	var shown atomic.Pointer[[]inspect.Secret]
	all := sample(now)
	shown.Store(&all)
	p, server := browsed(t, func(context.Context) ([]inspect.Secret, error) { return *shown.Load(), nil })

	for name, look := range map[string]struct {
		scheme        string
		width, height int
		scale         float64
	}{
		"light":  {"light", 1280, 1500, 1},
		"dark":   {"dark", 1280, 1500, 1},
		"narrow": {"light", 640, 1500, 1}, // 1280 at 200 %
		"phone":  {"dark", 390, 1500, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tab := b.tab(t, look.width, look.height, look.scheme)
			tab.open(server.URL + "/#secret-ORDERS_DB")
			tab.eval(string(rules)) // outside of the page's policy, as an extension would be
			var found []struct {
				ID    string
				Nodes []struct{ HTML, FailureSummary string }
			}
			tab.value(`axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations))`, &found)
			for _, v := range found {
				t.Errorf("axe: %s: %+v", v.ID, v.Nodes)
			}
			var wide bool
			if tab.value(`JSON.stringify(document.documentElement.scrollWidth > innerWidth)`, &wide); wide {
				t.Errorf("the page is wider than %d pixels", look.width)
			}
			tab.open(server.URL + "/")
			tab.picture(name)
			for _, problem := range tab.problems() {
				t.Errorf("the browser says: %s", problem)
			}
		})
	}

	t.Run("a person acts", func(t *testing.T) { acted(t, b, string(rules)) })

	t.Run("rows follow, and the focus stays", func(t *testing.T) {
		tab := b.tab(t, 1280, 900, "light")
		tab.open(server.URL + "/#secret-AUDIT_KEY")
		tab.until(`document.getElementById("link").textContent === "Live"`)
		tab.eval(`document.querySelector("#secret-AUDIT_KEY a").focus(); window.kept = document.getElementById("secret-AUDIT_KEY")`)
		next := sample(now)
		next[1].Applied, next[1].Blocking = 3, nil
		next = next[:5]
		shown.Store(&next)
		p.refresh(t.Context(), 2)
		tab.until(`document.querySelector("#secret-AUDIT_KEY td:last-child").textContent === "3 of 3"`)
		tab.until(`document.getElementById("secret-LEGACY") === null`)
		tab.until(`document.activeElement.getAttribute("href") === "#secret-AUDIT_KEY"`)
		tab.eval(`document.getElementById("pause").click()`)
		tab.until(`document.getElementById("link").textContent === "Paused"`)
		for _, problem := range tab.problems() {
			t.Errorf("the browser says: %s", problem)
		}
	})

	t.Run("without a script", func(t *testing.T) {
		tab := b.tab(t, 1280, 900, "light")
		tab.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
		tab.open(server.URL + "/")
		var doc struct {
			Root struct{ NodeID int }
		}
		tab.call("DOM.getDocument", nil, &doc)
		var html struct{ OuterHTML string }
		tab.call("DOM.getOuterHTML", map[string]any{"nodeId": doc.Root.NodeID}, &html)
		for _, want := range []string{"secret-ORDERS_DB", "rotator forget orders-api/orders-api-7f3", `http-equiv="refresh"`, "hidden"} {
			if !strings.Contains(html.OuterHTML, want) {
				t.Errorf("no %q in the page", want)
			}
		}
	})
}

// browsed serves a page of which a snapshot has been taken.
func browsed(t *testing.T, secrets func(context.Context) ([]inspect.Secret, error)) (*Page, *httptest.Server) {
	t.Helper()
	p, err := New(Config{Program: "rotator", Version: "v0.3.0", Secrets: secrets, Health: func(context.Context) []Check {
		return []Check{{Name: "nats", OK: true}, {Name: "scheduler", OK: true}, {Name: "store old", Reason: "connection refused"}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.refresh(t.Context(), 1)
	server := httptest.NewServer(p)
	t.Cleanup(func() { close(p.done); server.Close() })
	return p, server
}

// tab is one page of the browser.
type tab struct {
	*browser
	t       *testing.T
	session string
}

func (b *browser) tab(t *testing.T, width, height int, scheme string) *tab {
	t.Helper()
	b.t = t
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	tb := &tab{b, t, attached.SessionID}
	t.Cleanup(func() { b.call("", "Target.closeTarget", map[string]any{"targetId": target.TargetID}, nil) })
	for _, domain := range []string{"Page", "Runtime", "Log", "DOM"} {
		tb.call(domain+".enable", nil, nil)
	}
	tb.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	tb.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.said = nil
	return tb
}

func (tb *tab) call(method string, params, out any) {
	tb.t.Helper()
	tb.browser.call(tb.session, method, params, out)
}

// open loads a page, and returns when it has loaded.
func (tb *tab) open(url string) {
	tb.t.Helper()
	tb.call("Page.navigate", map[string]any{"url": url}, nil)
	tb.await(tb.session, "Page.loadEventFired")
}

// eval runs a script in the page.
func (tb *tab) eval(script string) json.RawMessage {
	tb.t.Helper()
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	tb.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &out)
	if out.ExceptionDetails != nil {
		tb.t.Fatalf("%.80s: %s", script, out.ExceptionDetails)
	}
	return out.Result.Value
}

// value runs a script that returns JSON.
func (tb *tab) value(script string, out any) {
	tb.t.Helper()
	var text string
	if err := json.Unmarshal(tb.eval(script), &text); err != nil {
		tb.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		tb.t.Fatalf("%v: %s", err, text)
	}
}

// until waits for a condition in the page; the browser looks at each frame.
func (tb *tab) until(condition string) {
	tb.t.Helper()
	var held bool
	tb.value(fmt.Sprintf(`new Promise(done => { const end = performance.now() + 60000; const look = () => {
		if (%s) done("true"); else if (performance.now() > end) done("false"); else setTimeout(look, 20); }; look(); })`, condition), &held)
	if !held {
		tb.t.Fatalf("not so within a minute: %s", condition)
	}
}

// picture saves what the tab shows.
func (tb *tab) picture(name string) {
	tb.t.Helper()
	if *screenshots == "" {
		return
	}
	var shot struct{ Data string }
	tb.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "clip": tb.whole()}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(*screenshots, "status-"+name+".png"), png, 0o644)
	}
	if err != nil {
		tb.t.Fatal(err)
	}
}

// whole is the area of the page.
func (tb *tab) whole() map[string]any {
	tb.t.Helper()
	var m struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	tb.call("Page.getLayoutMetrics", nil, &m)
	return map[string]any{"x": 0, "y": 0, "width": m.CSSContentSize.Width, "height": m.CSSContentSize.Height, "scale": 1}
}

// problems returns what the browser logged, such as what the policy has blocked.
func (tb *tab) problems() []string { return tb.said }
