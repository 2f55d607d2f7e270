package mysql

import (
	"context"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

// credential has the account once for each host.
type credential = logins.Credential[[]account]

// Locate implements [logins.Driver]: it finds the account by the value of its version,
// or, without one, as the account that is not the current one.
func (d driver) Locate(ctx context.Context, s *session, r target.Ref) (credential, error) {
	old, gone, err := target.ReadOld(ctx, d.cfg.Read, r.Version)
	if err != nil {
		return credential{}, fmt.Errorf("read which account version %s uses: %w", r.Version, err)
	}
	if gone {
		return d.locateOther(ctx, s)
	}
	l, err := d.accounts.Parse(old)
	if err != nil {
		return credential{}, fmt.Errorf("version %s: %w", r.Version, err)
	}
	found, err := s.accounts(ctx, l.Username)
	if err != nil || len(found) == 0 {
		return credential{}, err
	}
	out := credential{Name: l.Username, State: found, Replaced: true}
	for i, a := range found {
		found[i].dead = a.revoked(l.Password)
		out.Replaced = out.Replaced && !found[i].dead && a.index(l.Password) < 0
	}
	return out, nil
}

// locateOther returns the account that is not the current one, unless it was changed
// later: it has the pending version then.
func (d driver) locateOther(ctx context.Context, s *session) (credential, error) {
	current, err := d.accounts.Current(ctx)
	if err != nil {
		return credential{}, err
	}
	now, err := s.accounts(ctx, current.Username)
	if err != nil {
		return credential{}, err
	}
	name := d.accounts.Other(current.Username)
	other, err := s.accounts(ctx, name)
	if err != nil || len(other) == 0 {
		return credential{}, err
	}
	return credential{Name: name, Replaced: lastChange(other) > lastChange(now), State: other}, nil
}

// Sessions implements [logins.Driver]. The server does not say when a session was opened:
// the age is that of its last statement, and the session at least as old.
func (d driver) Sessions(ctx context.Context, s *session, c credential) ([]logins.Session, error) {
	if c.Replaced {
		return nil, logins.ErrReused
	}
	if err := logins.Lacks(d.missing(ctx, s, rightProcess)); err != nil {
		return nil, err
	}
	rows, err := s.conn.QueryContext(ctx, `SELECT ID, HOST, TIME, COMMAND <> 'Sleep' FROM information_schema.PROCESSLIST
		WHERE BINARY USER = ? AND ID <> CONNECTION_ID() ORDER BY ID`, c.Name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []logins.Session
	for rows.Next() {
		var o logins.Session
		var idle int64
		if err := rows.Scan(&o.ID, &o.Client, &idle, &o.Busy); err != nil {
			return nil, err
		}
		o.Since = time.Now().Add(-time.Duration(max(0, idle)) * time.Second)
		out = append(out, o)
	}
	if rows.Err() != nil || len(out) == 0 {
		return out, rows.Err()
	}
	return out, markBusy(ctx, s, out)
}

// End implements [logins.Driver].
func (driver) End(ctx context.Context, s *session, id int64) error {
	err := s.exec(ctx, fmt.Sprintf("KILL CONNECTION %d", id))
	if number(err) == noSuchThread {
		err = nil
	}
	return err
}

// noSuchThread is the error of a session that has ended already.
const noSuchThread = 1094

// Disable implements [logins.Driver].
func (d driver) Disable(ctx context.Context, r target.Ref) error {
	if d.cfg.Strategy == Single {
		return d.removePassword(ctx, r)
	}
	return d.alter(ctx, r, (*session).buried)
}
