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

	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

type credential = logins.Credential[user]

// Locate implements [logins.Driver]: it finds the user by the value of its version, or,
// without one, as the user that is not the current one. A tombstone that is not the
// newest hash shows that the user was given to another version since.
func (d driver) Locate(ctx context.Context, n *node, r target.Ref) (credential, error) {
	v, gone, err := target.ReadOld(ctx, d.cfg.Read, r.Version)
	if err != nil {
		return credential{}, fmt.Errorf("read which user version %s uses: %w", r.Version, err)
	}
	l, err := d.users.Current(ctx)
	if err != nil {
		return credential{}, err
	}
	l.Username = d.users.Other(l.Username)
	if !gone {
		if l, err = d.users.Parse(v); err != nil {
			return credential{}, fmt.Errorf("version %s: %w", r.Version, err)
		}
	}
	u, err := n.user(ctx, l.Username)
	if err != nil || !u.exists {
		return credential{}, err
	}
	hash := digest(l.Password)
	last := u.hashes[max(0, len(u.hashes)-1):]
	replaced := len(u.hashes) > 1
	if !gone {
		replaced = !slices.Contains(last, hash) && !slices.Contains(last, tombstone(hash))
	}
	return credential{Name: l.Username, Replaced: replaced, State: u}, nil
}

// Sessions implements [logins.Driver]: the oldest first.
func (driver) Sessions(ctx context.Context, n *node, c credential) ([]logins.Session, error) {
	if c.Replaced {
		return nil, logins.ErrReused
	}
	answer, err := n.do(ctx, "CLIENT", "LIST")
	if err != nil {
		return nil, err
	}
	return sessionsOf(c.Name, fmt.Sprint(answer))
}

// sessionsOf returns the sessions of a user in the answer to CLIENT LIST, the oldest
// first. A session that it cannot read is an error: nothing is open only where every
// line says so.
func sessionsOf(user, answer string) ([]logins.Session, error) {
	var out []logins.Session
	for line := range strings.Lines(answer) {
		fields := map[string]string{}
		for f := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(f, "=")
			fields[key] = value
		}
		if of, known := fields["user"]; len(fields) == 0 || known && of != user {
			continue
		}
		age, err := strconv.Atoi(fields["age"])
		id, err2 := strconv.ParseInt(fields["id"], 10, 64)
		if err := errors.Join(err, err2); err != nil || fields["user"] == "" {
			return nil, fmt.Errorf("the server lists a session, of %s, that this program cannot read: user %q, id %q, age %q", fields["addr"], fields["user"], fields["id"], fields["age"])
		}
		out = append(out, logins.Session{Session: target.Session{Client: fields["addr"], Since: time.Now().Add(-time.Duration(age) * time.Second)}, ID: id, Busy: fields["multi"] != "-1" || strings.ContainsAny(fields["flags"], "bPx")})
	}
	slices.SortFunc(out, func(a, b logins.Session) int { return a.Since.Compare(b.Since) })
	return out, nil
}

// End implements [logins.Driver].
func (driver) End(ctx context.Context, n *node, id int64) error {
	_, err := n.do(ctx, "CLIENT", "KILL", "ID", id)
	return err
}

// Disable implements [logins.Driver].
func (d driver) Disable(ctx context.Context, r target.Ref) error {
	if d.cfg.Strategy == Single {
		return d.removePassword(ctx, r)
	}
	return d.alter(ctx, r, func(u user) []string { return append([]string{"off", "resetpass"}, u.tombstones()...) })
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
	err := t.users.Everywhere(ctx, func(n *node) error {
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
		if t.cfg.Strategy == Single {
			return nil
		}
		return n.noteLog(ctx, &r)
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
		fmt.Sprintf("after every service uses the new user and no session of the old one is open: ACL SETUSER %s off, for the soak, and then off resetpass, and ACL SAVE", user),
	}
}
