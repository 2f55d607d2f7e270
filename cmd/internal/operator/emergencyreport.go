package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Fate says what became of a version that leaked.
type Fate string

// What may become of a version that leaked.
const (
	// FateDead: its value is gone from the store, and a signed receipt says why.
	FateDead Fate = "dead"
	// FateUnproven: its value is gone from the store, and no receipt says why.
	FateUnproven Fate = "gone_without_receipt"
	// FateReplaced: another version is current, and the value is still there.
	FateReplaced Fate = "replaced"
	// FateCurrent: it still is the current version.
	FateCurrent Fate = "current"
	// FateUnknown: the secret, or what is recorded of it, cannot be read.
	FateUnknown Fate = "unknown"
)

// Leaked is one secret of an emergency.
type Leaked struct {
	SecretID secret.ID `json:"secret_id"`
	Store    string    `json:"store"`
	// From is the version that leaked, and To the current one.
	From secret.VersionID `json:"leaked_version_id,omitempty"`
	To   secret.VersionID `json:"version_id,omitempty"`
	Fate Fate             `json:"fate"`
	// Because says why the version is not proven to be dead.
	Because string `json:"because,omitempty"`
	// DeclaredAt is when the version was declared to have leaked, and DecidedAt when a
	// worker decided to destroy it. Basis is that of its receipt.
	DeclaredAt time.Time    `json:"declared_at,omitzero"`
	DecidedAt  time.Time    `json:"decided_at,omitzero"`
	Basis      events.Basis `json:"basis,omitempty"`
	// Broken are the instances that the receipt names as not waited for.
	Broken []events.Blocker `json:"broken,omitempty"`
	// Risk is what the fleet said before.
	Risk Risk `json:"risk"`
	// Problem is why the secret could not be rotated.
	Problem string `json:"problem,omitempty"`

	place                    place
	asked                    time.Time
	rotated, retired, failed bool
}

// Report is what an emergency came to, by what the stores and the record show.
type Report struct {
	Ticket     string       `json:"ticket"`
	Reason     string       `json:"reason,omitempty"`
	By         string       `json:"by"`
	DeclaredAt time.Time    `json:"declared_at,omitzero"`
	ReportedAt time.Time    `json:"reported_at"`
	Fates      map[Fate]int `json:"fates"`
	Secrets    []*Leaked    `json:"secrets"`
	// Limits say what no line of the report shows.
	Limits []string `json:"limits"`
}

// limits are the same for every report: no target is configured for a secret.
var limits = []string{
	"dead means that the store has destroyed the value and that a signed receipt names who used it; it does not mean that the system which the value opens was seen to refuse it",
	"programs that use a value without a client of rotator are not in the receipts",
}

// Dead returns how many versions are proven to be dead.
func (r Report) Dead() int { return r.Fates[FateDead] }

func (e *Emergency) report(ctx context.Context) (Report, error) {
	err := e.each(ctx, len(e.items), func(ctx context.Context, n int) error {
		item := e.items[n]
		if err := e.judge(ctx, item); err != nil {
			item.Fate, item.Because = FateUnknown, err.Error()
		}
		return ctx.Err()
	})
	out := Report{
		Ticket: e.Why.Ticket, Reason: e.Why.Reason, By: e.parts.Source + "/" + User(), ReportedAt: time.Now(),
		Fates: map[Fate]int{}, Secrets: e.items, Limits: limits,
	}
	for _, i := range e.items {
		out.Fates[i.Fate]++
		if at := i.DeclaredAt; !at.IsZero() && (out.DeclaredAt.IsZero() || at.Before(out.DeclaredAt)) {
			out.DeclaredAt = at
		}
	}
	return out, err
}

// judge reads what became of a version: first the record, then the store.
func (e *Emergency) judge(ctx context.Context, i *Leaked) error {
	if i.From == "" {
		i.Fate, i.Because = FateUnknown, i.Problem
		return nil
	}
	receipts, err := e.parts.Bus.Retirements(ctx, i.SecretID)
	if err != nil {
		return err
	}
	last, err := e.parts.Bus.Last(ctx, events.TypeRollout, i.SecretID)
	if err != nil {
		return err
	}
	at, err := locate(ctx, e.parts, i.SecretID)
	if err != nil {
		return err
	}
	i.To = at.meta.Current().ID
	for _, r := range receipts {
		if slices.Contains(r.Retired, i.From) {
			i.DecidedAt, i.Basis, i.Broken = r.DecidedAt, r.Basis, r.Breaks
		}
	}
	v, listed := at.meta.Version(i.From)
	gone := !listed || v.Empty
	switch {
	case i.To == i.From:
		return e.current(ctx, i)
	case gone && i.Basis != "":
		i.Fate = FateDead
	case gone:
		i.Fate, i.Because = FateUnproven, "no receipt that a trusted key has signed says why it was removed"
	case i.Basis != "":
		i.Fate, i.Because = FateReplaced, "a worker has decided to destroy it, and the store has its value still"
	default:
		i.Fate, i.Because = FateReplaced, waitsFor(last.Event.Data, i.To)
	}
	return nil
}

// current says why a version that leaked is current still.
func (e *Emergency) current(ctx context.Context, i *Leaked) error {
	i.Fate, i.Because = FateCurrent, cmp.Or(i.Problem, "no worker has rotated it yet")
	failed, err := e.parts.Bus.Last(ctx, events.TypeRotationFailed, i.SecretID)
	if err != nil {
		return err
	}
	if d := failed.Event.Data; i.Problem == "" && d.VersionID == i.From && failed.Event.Time.After(i.asked) && d.Failure != nil {
		i.Because = "the rotation was given up: " + d.Failure.Message
	}
	return nil
}

// waitsFor says what a rollout waits for.
func waitsFor(d events.Data, v secret.VersionID) string {
	if d.VersionID != v || d.Rollout == nil {
		return "its rollout has not begun"
	}
	out := fmt.Sprintf("the rollout of version %s is %s", v, d.Rollout.State)
	if n := d.Rollout.BlockingTotal; n > 0 && len(d.Rollout.Blocking) > 0 {
		out += fmt.Sprintf(", waits for %d, first %s", n, inspect.Blocked(d.Rollout.Blocking[0]))
	}
	return out
}

// Text is the report for people.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d of %d leaked versions are proven to be dead.\n", r.Ticket, r.Dead(), len(r.Secrets))
	if r.Reason != "" {
		fmt.Fprintf(&b, "Reason: %s\n", r.Reason)
	}
	fmt.Fprintf(&b, "Declared %s, reported %s by %s.\n", clock(r.DeclaredAt), clock(r.ReportedAt), r.By)
	for _, part := range []struct {
		title string
		dead  bool
	}{{"Not proven", false}, {"Dead", true}} {
		fmt.Fprintf(&b, "\n%s:\n", part.title)
		n := 0
		for _, i := range r.Secrets {
			if (i.Fate == FateDead) == part.dead {
				n++
				fmt.Fprintf(&b, "  %s\n", i.line())
			}
		}
		if n == 0 {
			b.WriteString("  none\n")
		}
	}
	b.WriteString("\nWhat this report does not show:\n")
	for _, l := range r.Limits {
		fmt.Fprintf(&b, "  - %s\n", l)
	}
	return b.String()
}

func (i *Leaked) line() string {
	if i.Fate != FateDead {
		return fmt.Sprintf("%s version %s is %s: %s", i.SecretID, orNone(i.From), strings.ReplaceAll(string(i.Fate), "_", " "), i.Because)
	}
	out := fmt.Sprintf("%s version %s, replaced by %s, destroyed after %s (receipt: %s)", i.SecretID, i.From, i.To, clock(i.DecidedAt), i.Basis)
	if len(i.Broken) > 0 {
		broken := make([]string, len(i.Broken))
		for n, b := range i.Broken {
			broken[n] = inspect.Blocked(b)
		}
		out += "; not waited for: " + strings.Join(broken, ", ")
	}
	return out
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}
