package statuspage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tradepulse/rotator/pkg/inspect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shows returns a page that has taken one snapshot of secrets.
func shows(t testing.TB, secrets ...inspect.Secret) *Page {
	t.Helper()
	p, err := New(Config{Program: "rotator", Version: "v1", Secrets: func(context.Context) ([]inspect.Secret, error) { return secrets, nil }})
	if err != nil {
		t.Fatal(err)
	}
	p.refresh(t.Context(), 1)
	return p
}

func get(t testing.TB, h http.Handler, url string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody))
	return w
}

func TestTheFormsSayTheSame(t *testing.T) {
	t.Parallel()
	p := shows(t, sample(time.Now())...)
	for _, url := range []string{"/", "/?format=txt", "/?format=json"} {
		w := get(t, p, url)
		for _, want := range []string{"ORDERS_DB", "orders-api-7f3", "rotator forget orders-api/orders-api-7f3 --reason ", "connection refused", "no instance uses or accepts an older version"} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s does not say %q", url, want)
			}
		}
	}
	var s Snapshot
	if err := json.Unmarshal(get(t, p, "/?format=json").Body.Bytes(), &s); err != nil || len(s.Secrets) != 6 || len(s.Problems) != 3 {
		t.Errorf("%v: %d secrets, %d problems", err, len(s.Secrets), len(s.Problems))
	}
	if w := get(t, p, "/?format=xml"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "html, json and txt") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestThePolicyHolds: nothing on the page needs what the policy forbids, and nothing
// is loaded from elsewhere.
func TestThePolicyHolds(t *testing.T) {
	t.Parallel()
	p := shows(t, sample(time.Now())...)
	w := get(t, p, "/")
	if got := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; script-src 'self';") || strings.Contains(got, "unsafe") {
		t.Errorf("policy %q", got)
	}
	for _, forbidden := range []string{"<style", " style=", "<script>", " onclick=", "<form", "http://", "https://", "//"} {
		if strings.Contains(w.Body.String(), forbidden) {
			t.Errorf("the page has %s", forbidden)
		}
	}
	for _, link := range regexp.MustCompile(`(?:src|href)="([^"#?]+)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		if got := get(t, p, "/"+link[1]); got.Code != http.StatusOK {
			t.Errorf("%s: %d", link[1], got.Code)
		}
	}
	w = httptest.NewRecorder()
	if p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	script, err := files.ReadFile("page/page.js")
	if err != nil || strings.Count(string(script), "\n") > 60 {
		t.Errorf("%v; the script has more than 60 lines", err)
	}
}

func TestNamesAreText(t *testing.T) {
	t.Parallel()
	hostile := sample(time.Now())[0]
	hostile.SecretID, hostile.Blocking[0].Detail = `"><script>alert(1)</script>`, "<img src=x>"
	w := get(t, shows(t, hostile), "/")
	if body := w.Body.String(); strings.Contains(body, "<script>alert") || strings.Contains(body, "<img") || !strings.Contains(body, "&lt;script&gt;alert(1)") {
		t.Error(body)
	}
}

func TestBeforeTheFirstSnapshotNothingIsKnown(t *testing.T) {
	t.Parallel()
	p, err := New(Config{Secrets: func(context.Context) ([]inspect.Secret, error) { return nil, errors.New("the bus is away") }, Wait: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	if body := get(t, p, "/").Body.String(); !strings.Contains(body, "Nothing has been read yet") || strings.Contains(body, "Nothing needs a person") || !strings.Contains(body, "Unknown") {
		t.Error(body)
	}
	p.refresh(t.Context(), 1)
	if body := get(t, p, "/").Body.String(); !strings.Contains(body, "the secrets cannot be read: the bus is away") || strings.Contains(body, "Nothing needs a person") {
		t.Error(body)
	}
}

// TestADeadlineLeavesTheRestUnknown: the page says that it is not complete.
func TestADeadlineLeavesTheRestUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{Deadline: time.Second, Secrets: func(ctx context.Context) ([]inspect.Secret, error) {
			<-ctx.Done()
			return []inspect.Secret{{SecretID: "DB", Path: "db", Error: ctx.Err().Error()}}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		p.refresh(t.Context(), 1)
		if body := get(t, p, "/?format=txt").Body.String(); !strings.Contains(body, "Not everything could be read within 1s") || !strings.Contains(body, "unknown") {
			t.Error(body)
		}
	})
}

// TestManyOfOneKindAreOneProblem: a store that is down does not fill the page.
func TestManyOfOneKindAreOneProblem(t *testing.T) {
	t.Parallel()
	var all []inspect.Secret
	for _, id := range []string{"A1", "B2", "C3", "D4", "E5"} {
		all = append(all, inspect.Secret{SecretID: secretID(id), Path: id, Error: "describe " + id + ": unavailable"})
	}
	got := shows(t, all...).current().snapshot.Problems
	if len(got) != 1 || got[0].Subject != "A1 and 4 more" {
		t.Errorf("%+v", got)
	}
	if got := shows(t, all[:3]...).current().snapshot.Problems; len(got) != 3 {
		t.Errorf("%+v", got)
	}
}

// TestAProblemKeepsItsBeginning: what has no time of its own has that of the first
// snapshot with it.
func TestAProblemKeepsItsBeginning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := shows(t, sample(time.Now())[5])
		begin := time.Now()
		time.Sleep(time.Hour)
		p.refresh(t.Context(), 2)
		if got := p.current().snapshot.Problems[0].Since; !got.Equal(begin) {
			t.Errorf("since %s, want %s", got, begin)
		}
	})
}

// TestSnapshotsAreTakenForViewersOnly: at a bounded rate, and with one for all.
func TestSnapshotsAreTakenForViewersOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var taken atomic.Int64
		p, err := New(Config{Secrets: func(context.Context) ([]inspect.Secret, error) {
			taken.Add(1)
			time.Sleep(2 * time.Second)
			return nil, nil
		}, Wait: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(time.Hour)
		if n := taken.Load(); n != 0 {
			t.Errorf("%d snapshots without a viewer", n)
		}
		for range 100 {
			if p.fresh(ctx).snapshot.At.IsZero() {
				t.Error("a viewer got no snapshot")
			}
		}
		if n := taken.Load(); n != 1 {
			t.Errorf("%d snapshots for 100 viewers", n)
		}
		time.Sleep(time.Hour)
		if n := taken.Load(); n < 6 || n > 8 { // one in ten seconds for a minute
			t.Errorf("%d snapshots after the last viewer", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestViewersGetWhatChanged: a row that changed, the section when others are in it,
// and everything after a restart.
func TestViewersGetWhatChanged(t *testing.T) {
	t.Parallel()
	all := sample(time.Now())
	p := shows(t, all...)
	server := httptest.NewServer(p)
	defer server.Close()
	defer close(p.done)
	events := follow(t, server.URL+"/status/events?at="+p.current().id)
	all[1].Applied, all[1].SafeToRevoke.Because = 3, "the floor ends soon"
	p.refresh(t.Context(), 2)
	var got []string
	for e := range events {
		got = append(got, e)
		if strings.HasPrefix(e, "row") && strings.Contains(e, "the floor ends soon") {
			break
		}
	}
	for _, e := range got {
		if strings.Contains(e, "secret-ORDERS_DB\"") && strings.HasPrefix(e, "row") || strings.HasPrefix(e, "part") && strings.Contains(e, "<section") {
			t.Errorf("sent although it did not change: %.200s", e)
		}
	}
	for e := range follow(t, server.URL+"/status/events?at=another") {
		if strings.HasPrefix(e, "part") && strings.Contains(e, `<section id="health"`) {
			break
		}
	}
}

// follow yields the events of a stream: the name, and the data.
func follow(t *testing.T, url string) func(func(string) bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close(); client.CloseIdleConnections() })
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<24)
	return func(yield func(string) bool) {
		event := ""
		for lines.Scan() {
			switch line := lines.Text(); {
			case line == "" && event != "":
				if !yield(event) {
					return
				}
				event = ""
			case strings.HasPrefix(line, "event: "):
				event = strings.TrimPrefix(line, "event: ")
			case strings.HasPrefix(line, "data: "):
				event += "\n" + strings.TrimPrefix(line, "data: ")
			}
		}
	}
}

// TestEmbeddedBelowAPrefix: the page names what belongs to it relative to itself.
func TestEmbeddedBelowAPrefix(t *testing.T) {
	t.Parallel()
	h := http.StripPrefix("/admin/secrets", shows(t))
	for _, url := range []string{"/admin/secrets/", "/admin/secrets/status/page.js"} {
		if w := get(t, h, url); w.Code != http.StatusOK {
			t.Errorf("%s: %d", url, w.Code)
		}
	}
	if body := get(t, h, "/admin/secrets/").Body.String(); !strings.Contains(body, `src="status/page.js"`) {
		t.Error("the script is not named relative to the page")
	}
}

// BenchmarkFirstByte is how long the first byte of the page takes with 10,000 secrets
// and instances, and how long a snapshot takes to render.
func BenchmarkFirstByte(b *testing.B) {
	const n = 10_000
	p := shows(b, many(n, time.Now())...)
	server := httptest.NewServer(p)
	defer server.Close()
	var first time.Duration
	for b.Loop() {
		begin := time.Now()
		resp, err := http.Get(server.URL)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		first += time.Since(begin)
		resp.Body.Close()
	}
	b.ReportMetric(float64(first.Microseconds())/1000/float64(b.N), "ms/first-byte")
	b.ReportMetric(float64(len(p.current().page))/1e6, "MB/page")
}

// BenchmarkRender is one snapshot of 10,000 secrets as HTML.
func BenchmarkRender(b *testing.B) {
	s := &Snapshot{At: time.Now(), Secrets: many(10_000, time.Now())}
	for b.Loop() {
		if _, err := render("x", s); err != nil {
			b.Fatal(err)
		}
	}
}
