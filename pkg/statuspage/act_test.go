package statuspage

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/inspect"
)

const adminToken = "the-current-token"

// acts takes orders with adminToken and keeps them.
type acts struct{ orders []Order }

func (a *acts) Authorize(_ context.Context, token string) error {
	if token != adminToken {
		return ErrToken
	}
	return nil
}

func (a *acts) Do(_ context.Context, o Order) (string, error) {
	a.orders = append(a.orders, o)
	return "asked for it", nil
}

// acting returns a page that offers acts, of which a snapshot has been taken.
func acting(t testing.TB) (*Page, *acts) {
	t.Helper()
	a := &acts{}
	p, err := New(Config{Program: "rotator", Secrets: func(context.Context) ([]inspect.Secret, error) { return sample(time.Now()), nil }, Acts: a})
	if err != nil {
		t.Fatal(err)
	}
	p.refresh(t.Context(), 1)
	return p, a
}

// order is a form that is complete.
func order() url.Values {
	return url.Values{"act": {"rotate"}, "secret": {"ORDERS_DB"}, "by": {"ada"}, "reason": {"a laptop was lost"}, "token": {adminToken}}
}

func post(t testing.TB, p *Page, form url.Values, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://rotator.test/status/act", strings.NewReader(form.Encode()))
	r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// TestWithoutActsThePageIsReadOnly: it has no link to a form, and takes none.
func TestWithoutActsThePageIsReadOnly(t *testing.T) {
	t.Parallel()
	p := shows(t, sample(time.Now())...)
	if body := get(t, p, "/").Body.String(); strings.Contains(body, "status/act") || !strings.Contains(body, "Read only") {
		t.Error("the page offers acts")
	}
	if w := get(t, p, "/status/act?act=rotate&secret=ORDERS_DB"); w.Code != http.StatusNotFound {
		t.Errorf("the form: %d", w.Code)
	}
	if w := post(t, p, order(), nil); w.Code < 400 {
		t.Errorf("an order: %d", w.Code)
	}
}

func TestEachActHasAFormThatShowsItsCommand(t *testing.T) {
	t.Parallel()
	p, a := acting(t)
	body := get(t, p, "/").Body.String()
	for link, command := range map[string]string{
		"status/act?act=rotate&amp;secret=ORDERS_DB&amp;service=&amp;instance=":                "rotator rotate ORDERS_DB --reason WHY",
		"status/act?act=pause&amp;secret=team%20a%2fcache&amp;service=&amp;instance=":          "rotator pause &#39;team a/cache&#39; --reason WHY",
		"status/act?act=forget&amp;secret=&amp;service=orders-api&amp;instance=orders-api-7f3": "rotator forget orders-api/orders-api-7f3 --reason WHY",
	} {
		if !strings.Contains(body, link) {
			t.Errorf("no link %s", link)
			continue
		}
		w := get(t, p, "/"+strings.ReplaceAll(link, "&amp;", "&"))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), command) {
			t.Errorf("%s: %d, without %s", link, w.Code, command)
		}
		if policy := w.Header().Get("Content-Security-Policy"); strings.Contains(policy, "script-src") || !strings.Contains(policy, "form-action 'self'") {
			t.Errorf("policy %q", policy)
		}
	}
	if len(a.orders) > 0 {
		t.Errorf("a form was carried out: %v", a.orders)
	}
}

func TestAnOrderNeedsTheTokenAndANameAndAReason(t *testing.T) {
	t.Parallel()
	with := func(key, value string) url.Values {
		f := order()
		f.Set(key, value)
		return f
	}
	for name, c := range map[string]struct {
		form   url.Values
		header http.Header
		code   int
	}{
		"complete":                        {order(), nil, http.StatusOK},
		"from a page of the same site":    {order(), http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.StatusOK},
		"from a page of another site":     {order(), http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		"from another origin":             {order(), http.Header{"Origin": {"http://evil.test"}}, http.StatusForbidden},
		"with the token of another day":   {with("token", "the-token-before"), nil, http.StatusForbidden},
		"without a token":                 {with("token", ""), nil, http.StatusForbidden},
		"without a name":                  {with("by", ""), nil, http.StatusBadRequest},
		"with a name that is two records": {with("by", "ada\nbob"), nil, http.StatusBadRequest},
		"without a reason":                {with("reason", "  "), nil, http.StatusBadRequest},
		"for an act that is none":         {with("act", "revoke"), nil, http.StatusBadRequest},
		"without a secret":                {with("secret", ""), nil, http.StatusBadRequest},
		"that is too long":                {with("reason", strings.Repeat("x", maxForm)), nil, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a := acting(t)
			w := post(t, p, c.form, c.header)
			var want []Order
			if c.code == http.StatusOK {
				want = []Order{{Act: ActRotate, SecretID: "ORDERS_DB", By: "ada", Reason: "a laptop was lost"}}
			}
			if w.Code != c.code || !slices.Equal(a.orders, want) {
				t.Errorf("%d, orders %v\n%s", w.Code, a.orders, w.Body)
			}
			if strings.Contains(w.Body.String(), adminToken) {
				t.Error("the answer has the token")
			}
		})
	}
	t.Run("in the address instead of the form", func(t *testing.T) {
		t.Parallel()
		p, a := acting(t)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://rotator.test/status/act?"+order().Encode(), http.NoBody)
		w := httptest.NewRecorder()
		if p.ServeHTTP(w, r); w.Code != http.StatusBadRequest || len(a.orders) > 0 {
			t.Errorf("%d, orders %v", w.Code, a.orders)
		}
	})
}
