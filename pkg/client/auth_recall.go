package client

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// recall accepts the previous token of the store, for a process that has just
// started, if the overlap is not over and the token not about to be retired.
//
// What it accepts is on record before the read that counts: a proof takes the stage of
// the version away first, so either that read does not find it, or the proof finds the
// record. Without a record only the floor keeps the version.
func (a *TokenAuthenticator) recall(ctx context.Context) {
	cur := a.e.current.Load().Version
	until := cur.CreatedAt.Add(a.overlap)
	if a.overlap <= 0 || !time.Now().Before(until) || a.e.drained() {
		return
	}
	a.e.lapse()
	t, ok := a.readPrevious(ctx)
	if !ok {
		return
	}
	a.change(func(s *tokens) {
		if s.current.version == cur.ID && s.previous.version == "" {
			s.recalled = t
		}
	})
	made := madeAt(cur.CreatedAt)
	if stored := a.e.recordNow(ctx); stored {
		again, found := a.readPrevious(ctx)
		ok = found && again.version == t.version && a.e.claim.accepting(made)
	} else {
		ok = a.e.claim.acceptingUnrecorded(made)
	}
	a.change(func(s *tokens) {
		if ok && s.recalled.version == t.version { // no other token came in between
			s.previous, s.until = t, until
		}
		s.recalled = token{}
	})
	if a.e.drained() { // meanwhile
		a.drop(a.e.kept, true)
	}
	a.m.renew()
}

// readPrevious returns the token that the store has as the previous one, and false if
// it has none or cannot be asked.
func (a *TokenAuthenticator) readPrevious(ctx context.Context) (token, bool) {
	v, val, err := (*a.e.source.Load()).Read(ctx, a.e.id, store.Selector{Stage: secret.StagePrevious, Primary: true})
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrNoValue) {
			a.m.log.LogAttrs(ctx, slog.LevelWarn, "admin.token.no_previous", attrLogID(a.e.id), slog.String("error", err.Error()),
				slog.String("message", "clients that still send the previous token are refused by this process"))
		}
		return token{}, false
	}
	return token{version: v.ID, mac: a.mac(string(val.Reveal()))}, true
}
