//go:build !race

package model

import "strings"

// calm are the actions of a time without faults, in the order in which each tick
// takes them. A killed process stays dead, and a publication follows a decision.
var calm = []string{
	"resume",
	"acknowledge the renewal", "refuse the renewal", "store the renewal", "acknowledge the renewal", "refuse the renewal", "purge", "purge", "purge",
	"join", "join again", "join late", "ask the primary", "first read", "answer of the primary, nothing else is accepted", "answer of the primary",
	"ask the primary", "answer of the primary, nothing else is accepted", "answer of the primary", "take the current version", "drop what is accepted", "write use",
	"send a renewal", "store the renewal", "acknowledge the renewal", "publish", "decide", "publish", "decide", "publish",
	"create the version", "promote", "take the stage of", "prove for", "retire",
}

// stuck returns what is wrong when the faults stop in state s: every rollout ends, or
// the rules name what holds it. The schedule is fair and healthy, and longer than
// every wait.
func (w *world) stuck(s state) string {
	for range 16 {
		for _, what := range calm {
			for i := range max(w.n, 2) {
				s = w.once(s, what, i)
			}
		}
		s.tick(w)
	}
	if s.cur == s.dead+1 {
		return ""
	}
	q, f := w.fleet(s)
	if at := q.Ask(f); len(at.Blocking)+len(at.Accepting) > 0 || at.Unknown != "" {
		return ""
	}
	return "once the faults stop, the rollout neither ends nor names what holds it"
}

// once takes an action if it is possible. It takes the participants in turn.
func (w *world) once(s state, what string, who int) state {
	out, done := s, false
	w.each(s, func(name string, i int, n state) {
		match := name == what || strings.HasPrefix(name, what+" ") && (what == "publish" || what == "decide" || what == "purge" || what == "create the version")
		if !done && match && (i == who || i >= w.n) {
			out, done = n, true
		}
	})
	return out
}
