package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/store"
)

// refusedLogin is what came of the last logins: the zero value after one that succeeded.
type refusedLogin struct {
	wrong, denied int // refusals in a row, of the credential and of anything else
	until         time.Time
	err           error
}

var (
	// wrongPauses are the pauses before a credential that the server called wrong is
	// tried again. The server locks a role after five such refusals of which no two
	// are 15 minutes apart, and then refuses a new credential as well.
	wrongPauses = []time.Duration{time.Minute, 2 * time.Minute, 16 * time.Minute}
	// deniedPauses are the pauses after any other refusal, which locks nothing: of a
	// role that is locked, by a proxy, of a method that is disabled.
	deniedPauses = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}
)

// anotherPause is the least time between the logins of credentials that differ, after triesAtOnce.
const anotherPause = time.Minute

// triesAtOnce is how often in a row a credential that differs from the refused one is
// tried without a pause: its file may be read while it is written.
const triesAtOnce = 3

// next returns when a login may be tried again.
func (r *refusedLogin) next(changed bool) time.Time {
	switch {
	case !changed:
		return r.until
	case r.wrong < triesAtOnce:
		return time.Time{}
	default:
		return r.until.Add(anotherPause - pause(wrongPauses, r.wrong))
	}
}

// pause returns the pause after so many refusals, of which there is one at least.
func pause(pauses []time.Duration, refusals int) time.Duration {
	return pauses[min(refusals, len(pauses))-1]
}

// note records a refusal.
func (r *refusedLogin) note(now time.Time, err error) {
	r.err = err
	if isWrong(err) {
		r.wrong++
		r.until = now.Add(pause(wrongPauses, r.wrong))
		return
	}
	r.denied++
	r.until = now.Add(pause(deniedPauses, r.denied))
}

// isWrong reports whether a server may count a refusal against the role.
func isWrong(err error) bool {
	var resp *api.ResponseError
	return errors.As(err, &resp) && resp.StatusCode == http.StatusBadRequest
}

// replaced reports whether the credential differs from the one of the last login.
func (s *session) replaced() bool {
	now, err := s.auth.credential()
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && now != s.sent
}

// login logs in with the credential as it is now. The caller holds the turn.
func (s *session) login(ctx context.Context) error {
	credential, err := s.auth.credential()
	if err != nil {
		return fmt.Errorf("log in: %w: %w", store.ErrAccessDenied, err)
	}
	if err := s.present(credential, time.Now()); err != nil {
		return err
	}
	fresh, err := s.c.CloneWithHeaders()
	if err != nil {
		return err
	}
	fresh.ClearToken()
	got, err := s.auth.login(ctx, fresh, credential)
	if err != nil {
		err = loginRefused(err)
		if errors.Is(err, store.ErrAccessDenied) {
			s.mu.Lock()
			s.refusal.note(time.Now(), err)
			s.mu.Unlock()
		}
		return fmt.Errorf("log in: %w", err)
	}
	s.c.SetToken(got.Auth.ClientToken)
	s.got(got.Auth, lease(got.Auth))
	return nil
}

// present notes the credential that is about to be sent, or returns the error of the
// last login as long as that one counts.
func (s *session) present(credential string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := credential != s.sent
	if r := s.refusal; r.err != nil && now.Before(r.next(changed)) {
		return fmt.Errorf("log in: the last one was refused; the next is in %s, or once the credential is replaced: %w",
			r.next(changed).Sub(now).Round(time.Second), r.err)
	}
	s.sent = credential
	return nil
}

// loginRefused marks what a server says of a login that it does not accept. Vault
// answers a wrong secret id or an expired JWT as a bad request, and a method that
// is not there as not found; neither means the secret that is asked for.
func loginRefused(err error) error {
	var resp *api.ResponseError
	if errors.As(err, &resp) && resp.StatusCode < http.StatusInternalServerError && resp.StatusCode != http.StatusTooManyRequests {
		return fmt.Errorf("%w: %w", store.ErrAccessDenied, err)
	}
	return err
}
