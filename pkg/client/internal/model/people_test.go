//go:build !race

package model

import "github.com/tradepulse/rotator/pkg/secret"

// The causes of a rotation that a worker has in hand.
const (
	scheduled = iota
	supplied  // a person wrote a value, such as that of the version before
)

// Whose the pending value is, if not a worker's own.
const (
	theirs  = iota + 1 // a person supplied it
	instead            // a worker made it under the token of what a person supplied
)

// person is the token of a value that a person supplied.
const person = secret.Token("a person")

// people pause and resume scheduled rotations, supply a value, and withdraw it: another
// program takes the pending stage.
func (w *world) people(s state, next emit) {
	n := s
	n.paused = 1 - s.paused
	next([]string{"pause", "resume"}[s.paused], 0, n)
	if s.pending == 0 && s.given < s.cur && s.cur < w.versions {
		n := s
		n.pending, n.mine, n.given = s.cur, theirs, s.cur
		next("supply a value after", int(s.cur), n)
	}
	if s.mine == theirs {
		n := s
		n.pending, n.mine = 0, 0
		next("withdraw the value after", int(s.pending), n)
	}
}

// take lets a worker take up a rotation, scheduled or asked for.
func (w *world) take(k int, s state, next emit) {
	if s.paused == 0 || w.off("a paused secret waits") {
		n := s
		n.from[k], n.kind[k], n.held[k] = s.cur, scheduled, s.paused
		next("read the current version to rotate", k, n)
	}
	if s.given == s.cur {
		n := s
		n.from[k], n.kind[k], n.held[k] = s.cur, supplied, 0
		next("read the current version to take what was supplied", k, n)
	}
}

// token returns that of a worker's rotation.
func (s *state) token(k int) secret.Token {
	if s.kind[k] == supplied {
		return person
	}
	return tokens[s.from[k]]
}

// waiting returns the token of the pending version.
func (s *state) waiting() secret.Token {
	switch {
	case s.mine > 0:
		return person
	case s.pending > 0:
		return tokens[s.pending]
	default:
		return ""
	}
}

// creates reports whether a worker makes a version, besides what [world.sameToken] says:
// it leaves the pending value of another writer alone, and does not make one in the place
// of what a person supplied.
func (w *world) creates(k int, s state) bool {
	if s.kind[k] == supplied {
		return w.off("a withdrawn value is not replaced") && s.pending == 0 && s.cur == s.from[k]
	}
	return s.mine == 0
}

// promotes reports whether the pending version is that of a worker's rotation.
func (w *world) promotes(k int, s state) bool {
	return s.waiting() == s.token(k) || w.off("a worker promotes the version of its own token")
}

// brokenPeople returns what a worker did that people did not ask for.
func brokenPeople(s, n state) string {
	for k := range s.from {
		switch promoted := n.cur != s.cur && n.from[k] == 0; {
		case s.from[k] == 0:
		case n.made != s.made && n.pending == s.from[k] && s.held[k] == 1:
			return "a scheduled rotation that was paused began"
		case promoted && s.kind[k] == supplied && s.mine != theirs:
			return "another value than the one that was supplied became current"
		}
	}
	return ""
}
