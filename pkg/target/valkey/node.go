package valkey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

// timeout bounds one connection and one answer, so that one node that drops packets
// does not use up the deadline of a call.
const timeout = 15 * time.Second

// The words with which errors of the server begin.
const (
	codeBadPassword = "WRONGPASS"
	codeDenied      = "NOPERM"
)

// node is a session of the admin at one server.
type node struct {
	conn *redis.Conn
	name string // of the admin
}

// silence ends the client's own log, which is one for the whole process: what goes wrong
// is in the error.
var silence = sync.OnceFunc(func() { redis.SetLogger(noLog{}) })

type noLog struct{}

// Printf implements the logger of the client.
func (noLog) Printf(context.Context, string, ...any) {}

// connect opens a session of its own, tries nothing twice, and never falls back from
// TLS.
func (t *Target) connect(ctx context.Context, endpoint string, l target.Login, f func(*redis.Conn) error) error {
	silence()
	o := &redis.Options{
		Addr: endpoint, Username: l.Username, Password: l.Password, TLSConfig: t.cfg.TLS.Clone(), Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, PoolSize: 1,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	client := redis.NewClient(o)
	defer client.Close() //nolint:errcheck // the server ends the session with the connection
	conn := client.Conn()
	defer conn.Close() //nolint:errcheck // likewise
	err := conn.Ping(ctx).Err()
	if isError(err, codeDenied) {
		err = nil // it is logged in, and may not ping
	}
	if isError(err, codeBadPassword) {
		err = fmt.Errorf("%w: %w", logins.ErrRefused, err)
	}
	if err != nil {
		return secret.Scrub(err, secret.NewValue([]byte(l.Password)))
	}
	return f(conn)
}

// isError reports whether the server has answered with an error.
func isError(err error, word string) bool {
	e, ok := errors.AsType[redis.Error](err)
	return ok && strings.HasPrefix(e.Error(), word+" ")
}

// driver is what the accounts need of a target.
type driver struct{ *Target }

// Session implements [logins.Driver]. The errors of the server name what is lacking.
func (d driver) Session(ctx context.Context, endpoint string, l target.Login, f func(*node) error) error {
	return d.connect(ctx, endpoint, l, func(conn *redis.Conn) error { return f(&node{conn, l.Username}) })
}

// Login implements [logins.Driver].
func (d driver) Login(ctx context.Context, endpoint string, l target.Login) error {
	return d.connect(ctx, endpoint, l, func(*redis.Conn) error { return nil })
}

// Change implements [logins.Driver]: f runs on each node.
func (d driver) Change(ctx context.Context, f func(*node) error) error {
	return d.users.Everywhere(ctx, f)
}

func (n *node) do(ctx context.Context, args ...any) (any, error) {
	return n.conn.Do(ctx, args...).Result()
}

// save writes the access control list to its file.
func (n *node) save(ctx context.Context) error {
	_, err := n.do(ctx, "ACL", "SAVE")
	if err != nil && !isError(err, codeDenied) {
		err = fmt.Errorf("save the access control list, which a restart would forget (set aclfile in the configuration of the server): %w", err)
	}
	return err
}

func (n *node) setAndSave(ctx context.Context, name string, rules []string) error {
	args := []any{"ACL", "SETUSER", name}
	for _, r := range rules {
		args = append(args, r)
	}
	if _, err := n.do(ctx, args...); err != nil {
		return err
	}
	return n.save(ctx)
}

// user returns a user with its permissions.
func (n *node) user(ctx context.Context, name string) (user, error) {
	answer, err := n.do(ctx, "ACL", "GETUSER", name)
	if errors.Is(err, redis.Nil) {
		return user{}, nil
	}
	if err != nil {
		return user{}, err
	}
	u := user{exists: true}
	fields := pairs(answer)
	for _, flag := range list(fields["flags"]) {
		switch text := fmt.Sprint(flag); text {
		case "on":
			u.on = true
		case "sanitize-payload", "skip-sanitize-payload":
			u.rules = append(u.rules, text)
		}
	}
	for _, h := range list(fields["passwords"]) {
		u.hashes = append(u.hashes, fmt.Sprint(h))
	}
	u.rules = append(u.rules, "resetkeys", "resetchannels", "nocommands", "clearselectors")
	u.rules = append(u.rules, permissions(fields)...)
	for _, s := range list(fields["selectors"]) {
		u.rules = append(u.rules, "("+strings.Join(permissions(pairs(s)), " ")+")")
	}
	return u, nil
}

// permissions returns the rules of a user or of a selector.
func permissions(fields map[string]any) []string {
	var out []string
	for _, key := range []string{"keys", "channels", "databases", "commands"} {
		if text, ok := fields[key].(string); ok {
			out = append(out, strings.Fields(text)...)
		}
	}
	return out
}

func list(v any) []any {
	out, _ := v.([]any)
	return out
}

// pairs reads a list of names and values.
func pairs(v any) map[string]any {
	out, all := map[string]any{}, list(v)
	for i := 0; i+1 < len(all); i += 2 {
		out[fmt.Sprint(all[i])] = all[i+1]
	}
	return out
}
