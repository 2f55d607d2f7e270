package client

import (
	"crypto/subtle"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// maxOld bounds how many versions a user remembers that it does not accept any more.
const maxOld = 32

// mac stands for a token, under a key of the process.
type mac [32]byte

// is reports whether two MACs are equal, in the same time for all that are not.
func (m mac) is(other mac) bool { return subtle.ConstantTimeCompare(m[:], other[:]) == 1 }

// token is a version of a token; the zero token stands for none.
type token struct {
	version secret.VersionID
	mac     mac
	// retired is set for one that is about to be retired or was given up.
	retired bool
}

// tokens are the tokens that an authenticator knows. They are replaced, never
// changed, once they can be seen by a check.
type tokens struct {
	current, previous token
	until             time.Time // when previous ends
	staged            token
	recalled          token   // on record as accepted, and not accepted yet
	prepared          token   // not accepted before every hook has taken it
	old               []token // were accepted once, the latest first
}

// replace makes next the current token. The one before is accepted for the overlap, unless
// it has the same id: no record would tell it from the current one, and no drop would end it.
func (s *tokens) replace(next token, now time.Time, overlap time.Duration) {
	if s.previous.version != next.version {
		s.remember(s.previous, false)
	}
	s.previous, s.until = s.current, now.Add(overlap)
	switch {
	case s.previous.version == next.version:
		s.previous = token{}
	case overlap <= 0:
		s.remember(s.previous, false)
		s.previous = token{}
	}
	if s.staged.version == next.version {
		s.staged = token{}
	}
	s.current, s.recalled = next, token{}
	s.old = slices.DeleteFunc(slices.Clone(s.old), func(t token) bool { return t.version == next.version })
}

// remember notes a token that is not accepted any more.
func (s *tokens) remember(t token, retired bool) {
	if t.version == "" {
		return
	}
	t.retired = retired
	s.old = append([]token{t}, s.old[:min(len(s.old), maxOld-1)]...)
}

// drop ends the acceptance of all that keep is false for.
func (s *tokens) drop(keep func(secret.VersionID) bool, retired bool) {
	for _, t := range []*token{&s.previous, &s.staged, &s.recalled} {
		if t.version != "" && !keep(t.version) {
			s.remember(*t, retired)
			*t = token{}
		}
	}
	s.old = slices.Clone(s.old)
	for i, t := range s.old {
		s.old[i].retired = t.retired || retired && !keep(t.version)
	}
}

// accepted returns the versions that are accepted besides the current one, and the
// one that is about to be.
func (s *tokens) accepted(now time.Time) (out []secret.VersionID) {
	if s.previous.version != "" && now.Before(s.until) {
		out = append(out, s.previous.version)
	}
	for _, t := range []token{s.staged, s.recalled} {
		if t.version != "" {
			out = append(out, t.version)
		}
	}
	return out
}

// which says which token a MAC stands for, and its version unless that is the
// current one. It compares all of them, whichever fits, so that its time tells
// nothing about the token.
func (s *tokens) which(got mac, now time.Time) (use TokenUse, v secret.VersionID) {
	use = TokenRejected
	for _, t := range s.old {
		if got.is(t.mac) && t.retired {
			use, v = TokenRetired, t.version
		}
	}
	if got.is(s.previous.mac) && s.previous.version != "" && now.Before(s.until) {
		use, v = TokenPrevious, s.previous.version
	}
	if got.is(s.staged.mac) && s.staged.version != "" {
		use, v = TokenCurrent, s.staged.version
	}
	if got.is(s.current.mac) && s.current.version != "" {
		use, v = TokenCurrent, ""
	}
	return use, v
}
