// Package targettest is the suite that every driver of a target passes, against a real
// server. It tests the contract of [target.Target]: what is repeated after a crash,
// what a server that fails leaves behind, and that no value reaches a log.
package targettest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// Harness is a target under test, which manages an account that the test has for
// itself, and what the suite can do to its server past the target.
type Harness struct {
	// Spec is the secret.
	Spec secret.Spec
	// Versions are the versions that the target reads. [Start] gets them.
	Versions *Versions
	// Target is what is tested.
	Target target.Target
	// Login opens a session with a value, as a service does.
	Login func(ctx context.Context, v secret.Value) (Session, error)
	// Password returns a value like v with another password.
	Password func(t *testing.T, v secret.Value, password string) secret.Value
	// Refused returns a value like v that the server refuses; nil if it refuses none.
	Refused func(t *testing.T, v secret.Value) secret.Value
	// LoseAnswers makes the connections of the target break once, after the server has
	// carried out a change and before the target hears of it.
	LoseAnswers func()
	// Unreachable returns a target of the same account whose server does not listen.
	Unreachable func(t *testing.T) target.Target
	// Rights are the rights that the admin needs, in the order in which they are
	// missed.
	Rights []Right
	// Log returns all that the server has logged, and what else of it keeps
	// statements.
	Log func() string
}

// Session is an open session at the server.
type Session interface {
	// Address is that of the client.
	Address() string
	// Use returns an error once the session has ended.
	Use(ctx context.Context) error
	// Begin begins a transaction.
	Begin(ctx context.Context) error
	Close()
}

// Right is a right of the admin.
type Right struct {
	// Name is in the error of a target that misses it.
	Name string
	// Take takes it from the admin, Give gives it back.
	Take, Give func(t *testing.T)
	// Needs calls the method that needs it.
	Needs func(ctx context.Context, h *Harness, r target.Ref) error
}

// Start returns a harness whose account has a name. Each call is for an account of its
// own.
type Start func(t *testing.T, account string, versions *Versions) *Harness

// Versions stands for the store of a secret.
type Versions struct {
	mu      sync.Mutex
	values  map[secret.VersionID]secret.Value
	unread  map[secret.VersionID]bool
	current secret.VersionID
}

// Read returns the value of a version, "" for the current one.
func (v *Versions) Read(_ context.Context, id secret.VersionID) (secret.Value, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if id == "" {
		id = v.current
	}
	if v.unread[id] {
		return secret.Value{}, ErrUnread
	}
	value, ok := v.values[id]
	if !ok {
		return secret.Value{}, fmt.Errorf("%w: version %q", target.ErrGone, id)
	}
	return value, nil
}

// Put stores the value of a version.
func (v *Versions) Put(id secret.VersionID, value secret.Value) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.values == nil {
		v.values = map[secret.VersionID]secret.Value{}
	}
	v.values[id] = value
}

// Promote makes a version the current one.
func (v *Versions) Promote(id secret.VersionID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.current = id
}

// ErrUnread is the error of a read of a version that [Versions.Hide] hides.
var ErrUnread = errors.New("the store does not answer")

// Hide makes each read of a version fail, as while its store is down, or ends that.
func (v *Versions) Hide(id secret.VersionID, hidden bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.unread = map[secret.VersionID]bool{id: hidden}
}

// Forget removes the value of a version, as a store does.
func (v *Versions) Forget(id secret.VersionID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.values, id)
}

// Current returns the value of the current version.
func (v *Versions) Current(ctx context.Context) (secret.Value, error) { return v.Read(ctx, "") }

// Change is the move from a version to another one.
func (v *Versions) Change(spec secret.Spec, from, to secret.VersionID) target.Change {
	read := func(id secret.VersionID) func(context.Context) (secret.Value, error) {
		return func(ctx context.Context) (secret.Value, error) { return v.Read(ctx, id) }
	}
	return target.Change{Spec: spec, From: from, To: to, Current: read(from), Pending: read(to)}
}

func (h *Harness) change(to secret.VersionID) target.Change {
	return h.Versions.Change(h.Spec, h.Versions.current, to)
}

// propose makes the pending version.
func (h *Harness) propose(t *testing.T, to secret.VersionID) secret.Value {
	t.Helper()
	c := h.change(to)
	c.To = ""
	v, err := h.Target.Propose(t.Context(), c)
	if err != nil {
		t.Fatalf("propose %s: %v", to, err)
	}
	h.Versions.Put(to, v)
	return v
}

// apply makes the pending version valid, and verifies it.
func (h *Harness) apply(t *testing.T, to secret.VersionID) target.Ref {
	t.Helper()
	ref, err := h.Target.Apply(t.Context(), h.change(to))
	if err != nil {
		t.Fatalf("apply %s: %v", to, err)
	}
	if err := h.Target.Verify(t.Context(), h.change(to)); err != nil {
		t.Fatalf("verify %s: %v", to, err)
	}
	return ref
}

// rotate takes the account to a version, and returns its value.
func (h *Harness) rotate(t *testing.T, to secret.VersionID) secret.Value {
	t.Helper()
	v := h.propose(t, to)
	h.apply(t, to)
	h.Versions.Promote(to)
	return v
}

// ref is what a rotation has in its hand when it retires a version: no name.
func (h *Harness) ref(v secret.VersionID) target.Ref {
	return target.Ref{Secret: h.Spec.ID, Version: v}
}

// works fails the test unless a value logs in.
func (h *Harness) works(t *testing.T, what string, v secret.Value) {
	t.Helper()
	s, err := h.Login(t.Context(), v)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	s.Close()
}

// fails fails the test if a value logs in.
func (h *Harness) fails(t *testing.T, what string, v secret.Value) {
	t.Helper()
	if s, err := h.Login(t.Context(), v); err == nil {
		s.Close()
		t.Errorf("%s: it logs in", what)
	}
}

// open opens a session that stays open.
func (h *Harness) open(t *testing.T, v secret.Value) Session {
	t.Helper()
	s, err := h.Login(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
