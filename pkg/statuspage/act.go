package statuspage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Act is something that a person may do on the page.
type Act string

// The acts. Each is also the name of the command that does the same.
const (
	ActRotate Act = "rotate"
	ActPause  Act = "pause"
	ActResume Act = "resume"
	ActForget Act = "forget"
)

// Order is an act that a person has asked for.
type Order struct {
	Act Act
	// SecretID is the secret; "" for [ActForget], which is about an instance of a service.
	SecretID          secret.ID
	Service, Instance string
	// By is the name that the person gave, one token. Reason says why.
	By, Reason string
}

// ErrToken is wrapped by [Acts.Authorize] for a token that is not the one.
var ErrToken = errors.New("the token is not the current admin token")

// Acts carries orders out. It records who ordered what, and why, before it acts.
type Acts interface {
	// Authorize returns nil if token is the admin token at this moment.
	Authorize(ctx context.Context, token string) error
	// Do carries an order out and returns a sentence about what was done.
	Do(ctx context.Context, o Order) (string, error)
}

const (
	// formPolicy is the policy of the form, which has no script and may be sent.
	formPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	// maxForm bounds the bytes of a form, actWithin the time of an act.
	maxForm   = 16 << 10
	actWithin = 20 * time.Second
)

// form is what the page with the form shows.
type form struct {
	Order
	Program string
	// Problem is why nothing was done, Done what was.
	Problem, Done string
}

// showForm serves the form that asks for the token. It changes nothing.
func (p *Page) showForm(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o := Order{Act: Act(q.Get("act")), SecretID: secret.ID(q.Get("secret")), Service: q.Get("service"), Instance: q.Get("instance")}
	if err := o.about(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.answer(w, http.StatusOK, form{Order: o})
}

// act carries out what a form orders. The token is in the form, not in a cookie: a
// browser has nothing that a forged request could use.
func (p *Page) act(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	f := form{Order: Order{
		Act: Act(r.PostFormValue("act")), SecretID: secret.ID(r.PostFormValue("secret")), Service: r.PostFormValue("service"), Instance: r.PostFormValue("instance"),
		By: strings.TrimSpace(r.PostFormValue("by")), Reason: strings.TrimSpace(r.PostFormValue("reason")),
	}}
	if err := f.about(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actWithin)
	defer cancel()
	code, err := p.carryOut(ctx, &f, r.PostFormValue("token"))
	if err != nil {
		f.Problem = err.Error()
	}
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
	}
	p.cfg.Logger.LogAttrs(ctx, level, "statuspage.act", slog.String("act", string(f.Act)), slog.String("secret_id", string(f.SecretID)), slog.String("by", f.By),
		slog.String("client", r.RemoteAddr), slog.Int("status", code), slog.String("error", f.Problem))
	p.answer(w, code, f)
}

// carryOut checks an order and the token, and has the order carried out. One order is
// in hand at a time, so that guessing tokens costs the store little.
func (p *Page) carryOut(ctx context.Context, f *form, token string) (code int, err error) {
	if err := f.signed(); err != nil {
		return http.StatusBadRequest, err
	}
	if !p.acting.TryLock() {
		return http.StatusTooManyRequests, errors.New("another order is in hand; send it again in a moment")
	}
	defer p.acting.Unlock()
	switch err := p.cfg.Acts.Authorize(ctx, token); {
	case errors.Is(err, ErrToken):
		return http.StatusForbidden, err
	case err != nil:
		return http.StatusServiceUnavailable, fmt.Errorf("the token cannot be checked: %w", err)
	}
	if f.Done, err = p.cfg.Acts.Do(ctx, f.Order); err != nil {
		return http.StatusConflict, err
	}
	f.Done = cmp.Or(f.Done, "Done.")
	p.ask()
	return http.StatusOK, nil
}

func (p *Page) answer(w http.ResponseWriter, code int, f form) {
	f.Program = p.cfg.Program
	html, err := execute("act", f)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", formPolicy)
	// With no-referrer a browser sends "Origin: null" with the form, which the defence
	// against forged requests refuses where there is no Sec-Fetch-Site.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(html)
}

// about returns an error unless the order says what to do with what.
func (o Order) about() error {
	switch o.Act {
	case ActRotate, ActPause, ActResume:
		if o.SecretID == "" {
			return errors.New("secret is missing")
		}
		return nil
	case ActForget:
		return errors.Join(events.ValidToken(o.Service), events.ValidToken(o.Instance))
	default:
		return errors.New("act is one of rotate, pause, resume and forget")
	}
}

// signed returns an error unless the order says who gives it, and why.
func (o Order) signed() error {
	if err := events.ValidToken(o.By); err != nil {
		return fmt.Errorf("your name: %w", err)
	}
	if o.Reason == "" {
		return errors.New("give a reason; it is recorded")
	}
	return nil
}

// Subject names what the order is about.
func (o Order) Subject() string {
	if o.Act == ActForget {
		return o.Service + "/" + o.Instance
	}
	return string(o.SecretID)
}

// Command is the command that does the same.
func (o Order) Command() string {
	return fmt.Sprintf("rotator %s %s --reason %s", o.Act, inspect.Quote(o.Subject()), inspect.Quote(cmp.Or(o.Reason, "WHY")))
}

// Consequence says what the act does.
func (o Order) Consequence() string {
	switch o.Act {
	case ActRotate:
		return "A worker makes a new version now. The current version dies when it is proven that no instance uses it."
	case ActPause:
		return "Its scheduled rotations wait until they are resumed. A version may expire meanwhile."
	case ActResume:
		return "Its scheduled rotations go on. One that is due happens at once."
	default:
		return "Nothing waits for this instance any more. If its process still runs, it may lose the version that it uses."
	}
}

// Acting reports whether acts are offered.
func (s *Snapshot) Acting() bool { return s.acting }

// offers returns what may be done about a row.
func (s *Snapshot) offers(row any) []Order {
	if !s.acting {
		return nil
	}
	switch row := row.(type) {
	case inspect.Secret:
		if row.SecretID == "" {
			return nil
		}
		hold := ActPause
		if row.Pause != nil {
			hold = ActResume
		}
		return []Order{{Act: ActRotate, SecretID: row.SecretID}, {Act: hold, SecretID: row.SecretID}}
	case waiting:
		if row.Reason == events.BlockSilent && row.Instance != "" {
			return []Order{{Act: ActForget, Service: row.Service, Instance: row.Instance}}
		}
	}
	return nil
}
