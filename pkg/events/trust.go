package events

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Role is what the program with a key does. A key is believed only about what its
// roles do, so that the key of one program gives no order of another.
type Role string

// The roles.
const (
	RoleScheduler Role = "scheduler"
	RoleWorker    Role = "worker"
	RoleNotifier  Role = "notifier"
	RoleOperator  Role = "operator"
	RoleLambda    Role = "lambda"
)

// Roles returns all roles.
func Roles() []Role {
	return []Role{RoleScheduler, RoleWorker, RoleNotifier, RoleOperator, RoleLambda}
}

// Types returns the types of event that a key with the role may sign.
func (r Role) Types() []Type {
	switch r {
	case RoleScheduler:
		return []Type{TypeNearExpiry, TypeRotated, TypeDiscovered, TypeSweep}
	case RoleWorker:
		return []Type{TypeNearExpiry, TypeRetire, TypeStaged, TypeRotated, TypeRotationFailed, TypeRollout, TypeVerified}
	case RoleNotifier:
		return []Type{TypeRollout, TypeRetire, TypeProofContradicted}
	case RoleOperator:
		return []Type{TypeNearExpiry, TypeSweep}
	case RoleLambda:
		return []Type{TypeStaged, TypeRotated, TypeRotationFailed}
	}
	return nil
}

// may reports whether a key with the role may sign an event of type t. Only the
// notifier notifies services.
func (r Role) may(t Type, notification bool) bool {
	if notification {
		return r == RoleNotifier
	}
	return slices.Contains(r.Types(), t)
}

// TrustedKey is a public key and what it is trusted with.
type TrustedKey struct {
	Key ed25519.PublicKey
	// Roles are those of the program that has the private key; nil means all of
	// them.
	Roles []Role
}

// may reports whether the key may sign an event of type t.
func (k TrustedKey) may(t Type, notification bool) bool {
	return k.Roles == nil || slices.ContainsFunc(k.Roles, func(r Role) bool { return r.may(t, notification) })
}

// LoadTrustedKey reads what a configuration says about a key, see [ParseTrustedKey].
func LoadTrustedKey(text string) (TrustedKey, error) {
	roles, file, err := ParseTrustedKey(text)
	if err != nil {
		return TrustedKey{}, err
	}
	key, err := LoadPublicKey(file)
	return TrustedKey{Key: key, Roles: roles}, err
}

// ParseTrustedKey returns what a configuration says about keys: the name of a PEM file
// or of a directory of them (*.pub), and before it the roles, as in
// worker,scheduler=/etc/rotator/workers.
func ParseTrustedKey(text string) (roles []Role, file string, err error) {
	names, file, limited := strings.Cut(text, "=")
	if !limited || strings.ContainsAny(names, `./\`) {
		return nil, text, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		r := Role(name)
		if !slices.Contains(Roles(), r) {
			return nil, "", fmt.Errorf("trusted key %s: there is no role %q; the roles are %s", text, name, roleNames())
		}
		roles = append(roles, r)
	}
	return roles, file, nil
}

func roleNames() string {
	var names []string
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// Body is the JSON body of an event: its data, and for whom they are. The
// signature covers all of it, also for a program of an earlier version, which does
// not look at the audience.
type Body struct {
	Data
	Audience *Audience `json:"audience,omitempty"`
}

// Audience says for whom an event is, so that one that was published elsewhere
// cannot be repeated here.
type Audience struct {
	// Bus is the prefix of the subjects of the bus, empty without one.
	Bus string `json:"bus"`
	// Service is the one that a notification is for, absent in every other event.
	Service string `json:"service,omitempty"`
}

// acceptUnaddressed: events of the previous version name no audience, and those in
// the streams are read for as long as they are kept. They were hints already, and
// an order without an end is one for OrderLife. The next version sets it to false.
const acceptUnaddressed = true

// audience returns whom an event that is published on the subject is for.
func (n Names) audience(subject string) Audience {
	a := Audience{Bus: strings.TrimSuffix(n.prefix, ".")}
	a.Service, _ = n.notified(subject)
	return a
}

// notified returns the service that is notified on a subject.
func (n Names) notified(subject string) (service string, ok bool) {
	rest, ok := strings.CutPrefix(subject, n.prefix+"notify.")
	if !ok {
		rest, ok = strings.CutPrefix(subject, n.prefix+"live.")
	}
	if !ok {
		return "", false
	}
	service, _, _ = strings.Cut(rest, ".")
	return service, true
}

// addressed returns an error unless an event that was received on a subject is for
// who receives it.
func (n Names) addressed(subject string, a *Audience) error {
	switch {
	case a == nil && acceptUnaddressed:
		return nil
	case a == nil:
		return errors.New("it names no audience")
	case *a != n.audience(subject):
		return errors.New("it is for another bus or service")
	}
	return nil
}

// OrderLife is how long an order is one. Afterwards it is a hint to look at the
// secret.
const OrderLife = 24 * time.Hour

// Expired reports whether e is an order whose time has passed. What is done about
// it is decided by what the store and the log say now, as if nobody had asked.
func (e Event) Expired(now time.Time) bool {
	if !e.order() {
		return false
	}
	until := e.Data.ValidUntil
	if until.IsZero() { // of the previous version
		until = e.Time.Add(OrderLife)
	}
	return now.After(until)
}

func (e Event) order() bool { return e.Type == TypeNearExpiry || e.Type == TypeRetire }

// validUntil returns e as an order that is given at a time.
func (e Event) validUntil(at time.Time) Event {
	if now := time.Now(); at.Before(now) {
		at = now
	}
	e.Data.ValidUntil = at.Add(OrderLife)
	return e
}
