package mysql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/target"
)

// InUse implements [target.Inspector]: the sessions of the account on every endpoint.
// The server does not say when a session was opened. Once the account has the password
// of another version, whose they are is unknown.
func (t *Target) InUse(ctx context.Context, r target.Ref) (target.Usage, error) {
	if err := t.blind(); err != nil {
		return target.Usage{}, err
	}
	var out target.Usage
	for _, endpoint := range t.cfg.Endpoints {
		err := t.asAdmin(ctx, endpoint, func(s *session) error {
			found, err := t.locate(ctx, s, r)
			if err != nil || found.name == "" {
				return err
			}
			if found.replaced {
				return fmt.Errorf("%w: account %q was given to another version", target.ErrUnsupported, found.name)
			}
			open, err := t.sessions(ctx, s, found.name)
			for _, o := range open {
				out.Sessions = append(out.Sessions, o.Session)
			}
			return err
		})
		if err != nil {
			return target.Usage{}, fmt.Errorf("sessions at %s: %w", endpoint, err)
		}
	}
	return out, nil
}

// thread is a session at the server.
type thread struct {
	target.Session
	id int64
}

// sessions returns those of an account. Their age is that of the last statement: they
// are at least as old.
func (t *Target) sessions(ctx context.Context, s *session, name string) ([]thread, error) {
	if err := t.firstMissing(ctx, s, rightProcess); err != nil {
		return nil, err
	}
	rows, err := s.conn.QueryContext(ctx, "SELECT ID, HOST, TIME FROM information_schema.PROCESSLIST WHERE BINARY USER = ? AND ID <> CONNECTION_ID() ORDER BY ID", name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []thread
	for rows.Next() {
		var o thread
		var idle int64
		if err := rows.Scan(&o.id, &o.Client, &idle); err != nil {
			return nil, err
		}
		o.Since = time.Now().Add(-time.Duration(max(0, idle)) * time.Second)
		out = append(out, o)
	}
	return out, rows.Err()
}

// server is what the accounts need of a target.
type server struct{ *Target }

// Login implements [logins.Server].
func (s server) Login(ctx context.Context, endpoint string, l target.Login) error {
	return s.login(ctx, endpoint, l)
}

// Disable implements [logins.Server].
func (s server) Disable(ctx context.Context, r target.Ref) error {
	if s.cfg.Strategy == Single {
		return s.removePassword(ctx, r)
	}
	return s.alter(ctx, r, (*session).buried)
}

// InUse implements [target.Inspector]. Sessions that are not known to be those of the
// credential are not drained.
func (s server) InUse(ctx context.Context, r target.Ref) (target.Usage, error) {
	u, err := s.Target.InUse(ctx, r)
	if errors.Is(err, target.ErrUnsupported) {
		err = nil
	}
	return u, err
}

// End implements [logins.Server].
func (s server) End(ctx context.Context, endpoint string, r target.Ref) (open int, err error) {
	err = s.asAdmin(ctx, endpoint, func(admin *session) error {
		found, err := s.locate(ctx, admin, r)
		if err != nil || found.name == "" || found.replaced {
			return err
		}
		threads, err := s.sessions(ctx, admin, found.name)
		if err != nil {
			return err
		}
		open = len(threads)
		for _, o := range threads {
			if err := admin.exec(ctx, fmt.Sprintf("KILL CONNECTION %d", o.id)); err != nil && number(err) != noSuchThread {
				return err
			}
		}
		return nil
	})
	return open, err
}

// noSuchThread is the error of a session that has ended already.
const noSuchThread = 1094
