// Package hook makes values valid by asking an HTTP endpoint or a program of your own,
// for any service that has no driver.
//
// Each call is one [Request] as JSON, in the body of a POST or on the standard input,
// and one [Answer], in the body or on the standard output. No value is ever in a URL, a
// header or an argument. An endpoint answers 422 for a value that the service refuses
// and 501 for a verb that it does not know, a program exits with 3 and 4. Any other
// failure is tried again.
//
// The package trusts what the hook says: it proves nothing by itself.
package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// maxAnswer bounds what a hook may say, in bytes.
const maxAnswer = 1 << 20

// Request is what a hook is asked to do.
type Request struct {
	// Verb is apply, verify, revoke, propose, in_use, suspend, resume or list.
	Verb string `json:"verb"`
	// Secret and User say what it is about: the ID and the account, as configured.
	Secret secret.ID `json:"secret"`
	User   string    `json:"user,omitempty"`
	// Version is the version that the verb is about, in propose the current one. It is
	// the name under which a later call means the same credential.
	Version secret.VersionID `json:"version,omitempty"`
	// Value is the value of that version, "" if there is none any more.
	Value string `json:"value,omitempty"`
	// Current is the value of the current version in apply and verify, "" for none.
	Current string `json:"current,omitempty"`
}

// Answer is what a hook says.
type Answer struct {
	// Name is the service's own name for the credential (apply).
	Name string `json:"name,omitempty"`
	// Value is the next value (propose).
	Value string `json:"value,omitempty"`
	// Sessions and LastUsed are the use of the credential (in_use).
	Sessions []Session `json:"sessions,omitempty"`
	LastUsed time.Time `json:"last_used,omitzero"`
	// Versions are those that the service knows (list).
	Versions []secret.VersionID `json:"versions,omitempty"`
}

// Session is one open session.
type Session struct {
	Client string    `json:"client"`
	Since  time.Time `json:"since,omitzero"`
}

// Config says what the hook is. Exactly one of URL and Command is set.
type Config struct {
	// URL takes POST requests. Without https it has to be on this machine.
	URL string
	// HTTP is how URL is reached, with the hook's credentials in Token.
	HTTP Transport
	// Command is a program and its arguments.
	Command []string
	// Secret and User are the secret and its account.
	Secret secret.ID
	User   string
	// Capabilities are what the service can do. Nothing that is not in them is asked.
	Capabilities target.Capabilities
	// Proposes says that the service makes its own values.
	Proposes bool
	// Read returns the value of a version, "" for the current one. The error wraps
	// [target.ErrGone] if the store no longer has it.
	Read func(context.Context, secret.VersionID) (secret.Value, error)
}

// Target asks a hook.
type Target struct {
	cfg Config
	ask func(ctx context.Context, body []byte) ([]byte, error)
}

var (
	_ target.Target    = (*Target)(nil)
	_ target.Inspector = (*Target)(nil)
	_ target.Suspender = (*Target)(nil)
	_ target.Lister    = (*Target)(nil)
)

// New returns a Target. It makes no call.
func New(c Config) (*Target, error) {
	t := &Target{cfg: c}
	switch {
	case (c.URL == "") == (len(c.Command) == 0) || c.Read == nil:
		return nil, errors.New("hook: Read and one of URL and Command are required")
	case c.URL != "":
		if err := CheckURL(c.URL); err != nil {
			return nil, fmt.Errorf("hook: %w", err)
		}
		t.ask = t.post
	default:
		t.ask = t.run
	}
	return t, nil
}

// Capabilities implements [target.Target].
func (t *Target) Capabilities() target.Capabilities { return t.cfg.Capabilities }

// do asks the hook. Errors are scrubbed of the values that it was sent.
func (t *Target) do(ctx context.Context, r Request) (Answer, error) {
	r.User = t.cfg.User
	body, err := json.Marshal(r) //nolint:gosec // Secret is an ID
	if err != nil {
		return Answer{}, fmt.Errorf("hook: encode %s: %w", r.Verb, err)
	}
	out, err := t.ask(ctx, body)
	var a Answer
	if err == nil && len(out) > 0 {
		if jerr := json.Unmarshal(out, &a); jerr != nil {
			err = errors.New("the answer is not JSON") // the decoder's own error could quote a value
		}
	}
	if err != nil {
		err = fmt.Errorf("hook: %s: %w", r.Verb, err)
		return Answer{}, secret.Scrub(err, secret.NewValue([]byte(r.Value)), secret.NewValue([]byte(r.Current)))
	}
	return a, nil
}

// Propose implements [target.Target].
func (t *Target) Propose(ctx context.Context, c target.Change) (secret.Value, error) {
	if !t.cfg.Proposes {
		return target.ByPolicy(ctx, nil, c)
	}
	a, err := t.do(ctx, Request{Verb: "propose", Secret: c.Spec.ID, Version: c.From})
	if err == nil && a.Value == "" {
		err = errors.New("hook: propose: the answer has no value")
	}
	return secret.NewValue([]byte(a.Value)), err
}

// changed returns a request about the pending version.
func changed(ctx context.Context, verb string, c target.Change) (Request, error) {
	pending, err := c.Pending(ctx)
	if err != nil {
		return Request{}, fmt.Errorf("read the pending value: %w", err)
	}
	r := Request{Verb: verb, Secret: c.Spec.ID, Version: c.To, Value: string(pending.Reveal())}
	if c.From == "" {
		return r, nil
	}
	current, err := c.Current(ctx)
	if err != nil {
		return Request{}, fmt.Errorf("read the current value: %w", err)
	}
	r.Current = string(current.Reveal())
	return r, nil
}

// Apply implements [target.Target].
func (t *Target) Apply(ctx context.Context, c target.Change) (target.Ref, error) {
	r, err := changed(ctx, "apply", c)
	if err != nil {
		return target.Ref{}, err
	}
	a, err := t.do(ctx, r)
	return target.Ref{Secret: c.Spec.ID, Version: c.To, Name: a.Name}, err
}

// Verify implements [target.Target]. It asks again until the service has had its lag.
func (t *Target) Verify(ctx context.Context, c target.Change) error {
	r, err := changed(ctx, "verify", c)
	if err != nil {
		return err
	}
	for end := time.Now().Add(t.cfg.Capabilities.Lag); ; {
		_, err = t.do(ctx, r)
		if errors.Is(err, target.ErrRejected) {
			err = fmt.Errorf("%w: %w", target.ErrRefused, err)
		}
		if err == nil || !time.Now().Before(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// about returns a request about a version, and whether its value is the current one.
func (t *Target) about(ctx context.Context, verb string, r target.Ref) (req Request, current bool, err error) {
	req = Request{Verb: verb, Secret: r.Secret, Version: r.Version}
	cur, err := t.cfg.Read(ctx, "")
	if err != nil {
		return req, false, fmt.Errorf("read the current value: %w", err)
	}
	v, gone, err := target.ReadOld(ctx, t.cfg.Read, r.Version)
	switch {
	case err != nil:
		return req, false, fmt.Errorf("read version %s: %w", r.Version, err)
	case gone:
		return req, false, nil // the hook knows the version
	}
	req.Value = string(v.Reveal())
	return req, v.Equal(cur), nil
}

// Revoke implements [target.Target]. The current value is never revoked.
func (t *Target) Revoke(ctx context.Context, r target.Ref, _ target.Drain) error {
	req, current, err := t.about(ctx, "revoke", r)
	if err != nil || current {
		return err
	}
	_, err = t.do(ctx, req)
	return err
}

// InUse implements [target.Inspector].
func (t *Target) InUse(ctx context.Context, r target.Ref) (target.Usage, error) {
	if t.cfg.Capabilities.InUse == target.InUseUnknown {
		return target.Usage{}, target.ErrUnsupported
	}
	req, _, err := t.about(ctx, "in_use", r)
	if err != nil {
		return target.Usage{}, err
	}
	a, err := t.do(ctx, req)
	out := target.Usage{LastUsed: a.LastUsed}
	for _, s := range a.Sessions {
		out.Sessions = append(out.Sessions, target.Session{Client: s.Client, Since: s.Since})
	}
	return out, err
}

// Suspend implements [target.Suspender].
func (t *Target) Suspend(ctx context.Context, r target.Ref) error { return t.toggle(ctx, "suspend", r) }

// Resume implements [target.Suspender].
func (t *Target) Resume(ctx context.Context, r target.Ref) error { return t.toggle(ctx, "resume", r) }

func (t *Target) toggle(ctx context.Context, verb string, r target.Ref) error {
	req, current, err := t.about(ctx, verb, r)
	if err == nil && current {
		err = fmt.Errorf("hook: %s: %w: version %s", verb, target.ErrCurrent, r.Version)
	}
	if err == nil {
		_, err = t.do(ctx, req)
	}
	return err
}

// List implements [target.Lister].
func (t *Target) List(ctx context.Context, _ []secret.VersionID) ([]target.Credential, error) {
	a, err := t.do(ctx, Request{Verb: "list", Secret: t.cfg.Secret})
	var out []target.Credential
	for _, v := range a.Versions {
		out = append(out, target.Credential{Ref: target.Ref{Secret: t.cfg.Secret, Version: v}})
	}
	return out, err
}
