package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

// right is a right of the admin.
type right struct {
	name, reason string
	// where says what shows it: a row of one of these tables.
	schema string
	words  []string
}

// The rights, in the order in which a person should grant them.
var (
	rightSelect  = right{"SELECT ON mysql.*", "to read accounts", "mysql", []string{"SELECT"}}
	rightCreate  = right{"CREATE USER ON *.*", "to change accounts", "", []string{"CREATE USER"}}
	rightProcess = right{"PROCESS ON *.*", "to see sessions", "", []string{"PROCESS"}}
	rightKill    = right{"CONNECTION ADMIN ON *.*", "to end sessions", "", []string{"CONNECTION ADMIN", "CONNECTION_ADMIN", "SUPER"}}
)

func (t *Target) rights() []right {
	if t.accounts.Blind != "" {
		return []right{rightSelect, rightCreate}
	}
	return []right{rightSelect, rightCreate, rightProcess, rightKill}
}

// missing returns the rights that the admin lacks.
func (t *Target) missing(ctx context.Context, s *session, wanted ...right) ([]string, error) {
	me, err := s.texts(ctx, "SELECT CURRENT_USER()")
	if err != nil {
		return nil, err
	}
	at := strings.LastIndex(me[0], "@")
	grantee := fmt.Sprintf("'%s'@'%s'", me[0][:at], me[0][at+1:])
	global, err := s.texts(ctx, "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = ?", grantee)
	if err != nil {
		return nil, err
	}
	schema, err := s.texts(ctx, "SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = ? AND TABLE_SCHEMA = 'mysql'", grantee)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range wanted {
		has := func(word string) bool { return slices.Contains(r.words, word) }
		if slices.ContainsFunc(global, has) || r.schema != "" && slices.ContainsFunc(schema, has) {
			continue
		}
		out = append(out, fmt.Sprintf("%s, %s: 'GRANT %s TO %s'", r.name, r.reason, r.name, account{name: me[0][:at], host: me[0][at+1:]}.grantee()))
	}
	return out, nil
}

// Check implements [target.Checker].
func (t *Target) Check(ctx context.Context) (target.Report, error) {
	var r target.Report
	err := t.accounts.AsAdmin(ctx, t.cfg.Endpoints[0], func(s *session) (err error) {
		if err := s.conn.QueryRowContext(ctx, "SELECT VERSION(), CURRENT_USER()").Scan(&r.Server, &r.Admin); err != nil {
			return err
		}
		if !s.mariadb {
			r.Server = "MySQL " + r.Server
			r.Notes = append(r.Notes, "rotator is not proven on a real MySQL server, only on MariaDB")
		}
		r.Plan = t.plan(s)
		r.Missing, err = t.missing(ctx, s, t.rights()...)
		return err
	})
	if why := t.accounts.Blind; why != "" {
		r.Notes = append(r.Notes, "who uses an old password is unknown ("+why+"): a retirement relies on the reports of the instances alone")
	}
	return r, err
}

// plan is what a rotation does.
func (t *Target) plan(s *session) []string {
	user := identifier(t.cfg.User) + "@`<each host>`"
	if t.cfg.Strategy == Single {
		set := fmt.Sprintf("ALTER USER %s IDENTIFIED VIA mysql_native_password USING '<hash of the new password>' OR mysql_native_password USING '<hash of the current one>'", user)
		drop := fmt.Sprintf("after every service uses the new password: ALTER USER %s IDENTIFIED VIA mysql_native_password USING '<hash of the new password>'", user)
		if !s.mariadb {
			set = fmt.Sprintf("ALTER USER %s IDENTIFIED WITH caching_sha2_password AS '<hash of the new password>' RETAIN CURRENT PASSWORD", user)
			drop = fmt.Sprintf("after every service uses the new password: ALTER USER %s DISCARD OLD PASSWORD", user)
		}
		return []string{set, drop}
	}
	clone := identifier(t.cfg.User+logins.CloneSuffix) + "@`<each host>`"
	return []string{
		fmt.Sprintf("CREATE USER %s, unless it exists", clone),
		fmt.Sprintf("every grant of %s for %s, and the other way round in the next rotation", user, clone),
		fmt.Sprintf("ALTER USER %s and %s in turns: the hash of the new password, ACCOUNT UNLOCK", clone, user),
		fmt.Sprintf("after every service uses the new account and no session of the old one is open: ALTER USER %s ACCOUNT LOCK, with a hash that no password is known for", user),
	}
}
