package valkey

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tradepulse/rotator/pkg/target"
)

// InUse implements [target.Inspector]: the sessions of the user on every node.
func (t *Target) InUse(ctx context.Context, r target.Ref) (target.Usage, error) {
	if t.cfg.Strategy == Single {
		return target.Usage{}, fmt.Errorf("%w: the server does not say with which of several passwords a session was opened", target.ErrUnsupported)
	}
	var out target.Usage
	err := t.everyNode(ctx, func(n *node) error {
		name, _, err := t.locate(ctx, n, r)
		if err != nil || name == "" {
			return err
		}
		open, err := n.sessions(ctx, name)
		for _, o := range open {
			out.Sessions = append(out.Sessions, o.Session)
		}
		return err
	})
	return out, err
}

// client is a session at a node.
type client struct {
	target.Session
	id string
}

// sessions returns those of a user, the oldest first.
func (n *node) sessions(ctx context.Context, name string) ([]client, error) {
	answer, err := n.do(ctx, "CLIENT", "LIST")
	if err != nil {
		return nil, err
	}
	var out []client
	for line := range strings.Lines(fmt.Sprint(answer)) {
		fields := map[string]string{}
		for f := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(f, "=")
			fields[key] = value
		}
		age, err := strconv.Atoi(fields["age"])
		if fields["user"] != name || err != nil {
			continue
		}
		out = append(out, client{target.Session{Client: fields["addr"], Since: time.Now().Add(-time.Duration(age) * time.Second)}, fields["id"]})
	}
	slices.SortFunc(out, func(a, b client) int { return a.Since.Compare(b.Since) })
	return out, nil
}

// server is what the accounts need of a target.
type server struct{ *Target }

// Login implements [logins.Server].
func (s server) Login(ctx context.Context, endpoint string, l target.Login) error {
	return s.connect(ctx, endpoint, l, func(*redis.Conn) error { return nil })
}

// Disable implements [logins.Server].
func (s server) Disable(ctx context.Context, r target.Ref) error {
	if s.cfg.Strategy == Single {
		return s.removePassword(ctx, r)
	}
	return s.alter(ctx, r, func(u user) []string { return append([]string{"off", "resetpass"}, u.tombstones()...) })
}

// InUse implements [target.Inspector]. Sessions that are not known to be those of the
// credential are not drained.
func (s server) InUse(ctx context.Context, r target.Ref) (target.Usage, error) {
	u, err := s.Target.InUse(ctx, r)
	if errors.Is(err, errReused) {
		err = nil
	}
	return u, err
}

// End implements [logins.Server].
func (s server) End(ctx context.Context, endpoint string, r target.Ref) (open int, err error) {
	err = s.asAdmin(ctx, endpoint, func(n *node) error {
		name, _, err := s.locate(ctx, n, r)
		if errors.Is(err, errReused) || name == "" {
			return nil
		}
		if err != nil {
			return err
		}
		found, err := n.sessions(ctx, name)
		if err != nil {
			return err
		}
		open = len(found)
		for _, c := range found {
			if _, err := n.do(ctx, "CLIENT", "KILL", "ID", c.id); err != nil {
				return err
			}
		}
		return nil
	})
	return open, err
}

// none is the number of no session.
const none = math.MaxInt64

// permission is a permission of the admin, and a command that needs it and changes
// nothing.
type permission struct {
	name string
	try  []any
}

func (t *Target) permissions(admin string) []permission {
	out := []permission{{"acl|save", []any{"ACL", "SAVE"}}, {"acl|getuser", []any{"ACL", "GETUSER", admin}}, {"acl|setuser", []any{"ACL", "SETUSER", admin}}}
	if t.cfg.Strategy == Alternating {
		out = append(out, permission{"client|list", []any{"CLIENT", "LIST", "ID", none}}, permission{"client|kill", []any{"CLIENT", "KILL", "ID", none}})
	}
	return out
}

// Check implements [target.Checker]. It tries what the admin may do with commands that
// change nothing, and saves the access control list as it is.
func (t *Target) Check(ctx context.Context) (target.Report, error) {
	r := target.Report{Server: "access control lists on " + strings.Join(t.cfg.Endpoints, ", "), Plan: t.plan()}
	if t.cfg.Strategy == Single {
		r.Notes = append(r.Notes, "who uses an old password is unknown: a retirement relies on the reports of the instances alone")
	}
	err := t.everyNode(ctx, func(n *node) error {
		r.Admin = n.name
		for _, p := range t.permissions(n.name) {
			_, err := n.do(ctx, p.try...)
			missing := fmt.Sprintf("permission %s: 'ACL SETUSER %s +%s'", p.name, n.name, p.name)
			switch {
			case isError(err, codeDenied):
				if !slices.Contains(r.Missing, missing) {
					r.Missing = append(r.Missing, missing)
				}
			case err != nil && p.name == "acl|save":
				r.Traps = append(r.Traps, fmt.Sprintf("a node has no file for its access control list, so a restart would forget the password: set aclfile in its configuration (%v)", err))
			case err != nil:
				return err
			}
		}
		return nil
	})
	return r, err
}

// plan is what a rotation does.
func (t *Target) plan() []string {
	user := t.cfg.User
	if t.cfg.Strategy == Single {
		return []string{
			fmt.Sprintf("on every node: ACL SETUSER %s on #<hash of the new password>, and ACL SAVE", user),
			fmt.Sprintf("after every service uses the new password: ACL SETUSER %s !<hash of the old password>, and ACL SAVE", user),
		}
	}
	clone := t.users.Other(user)
	return []string{
		fmt.Sprintf("on every node: ACL SETUSER %s or %s in turns with the rules of the other one, on #<hash of the new password>, and ACL SAVE", clone, user),
		fmt.Sprintf("after every service uses the new user and no session of the old one is open: ACL SETUSER %s off resetpass, and ACL SAVE", user),
	}
}
