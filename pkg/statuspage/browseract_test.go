//go:build browser

package statuspage

import (
	"net/http/httptest"
	"testing"
)

// acted follows the link to a form, sends it without and with the token, and examines
// each page that comes.
func acted(t *testing.T, b *browser, rules string) {
	p, a := acting(t)
	server := httptest.NewServer(p)
	defer server.Close()
	defer close(p.done)
	tab := b.tab(t, 640, 900, "dark")
	accessible := func(what string) {
		t.Helper()
		tab.eval(rules)
		var found []struct {
			ID    string
			Nodes []struct{ HTML, FailureSummary string }
		}
		tab.value(`axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations))`, &found)
		for _, v := range found {
			t.Errorf("%s: axe: %s: %+v", what, v.ID, v.Nodes)
		}
	}
	send := func(token string) {
		t.Helper()
		tab.eval(`document.getElementById("by").value = "ada"; document.getElementById("reason").value = "a laptop was lost"; document.getElementById("token").value = "` + token + `"`)
		tab.eval(`document.querySelector("form button").click()`)
		tab.await(tab.session, "Page.loadEventFired")
	}
	tab.open(server.URL + "/")
	accessible("the page with links")
	tab.eval(`document.querySelector("#secret-ORDERS_DB .acts a").click()`)
	tab.await(tab.session, "Page.loadEventFired")
	accessible("the form")
	send("the-token-before")
	accessible("the refusal")
	tab.until(`document.querySelector("[role=alert]").textContent.includes("not the current admin token")`)
	if len(a.orders) > 0 {
		t.Errorf("orders %v", a.orders)
	}
	b.said = nil // the browser logs that the answer was 403
	send(adminToken)
	accessible("the answer")
	tab.until(`document.querySelector("[role=status]").textContent.includes("asked for it")`)
	if want := (Order{Act: ActRotate, SecretID: "ORDERS_DB", By: "ada", Reason: "a laptop was lost"}); len(a.orders) != 1 || a.orders[0] != want {
		t.Errorf("orders %v", a.orders)
	}
	for _, problem := range tab.problems() {
		t.Errorf("the browser says: %s", problem)
	}
}
