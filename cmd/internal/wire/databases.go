package wire

import (
	"context"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/mysql"
	"github.com/tradepulse/rotator/pkg/target/valkey"
)

func (t *Targets) mysql(o *config.MySQL, of config.SecretTarget, s secret.Spec) (target.Target, error) {
	secure, err := transport(o.TLS, o.Plaintext)
	if err != nil {
		return nil, fmt.Errorf("target %s: tls: %w", of.Name, err)
	}
	return mysql.New(mysql.Config{
		Endpoints: o.Endpoints, Database: o.Database, TLS: secure, Pooler: o.Pooler, Lag: time.Duration(o.Lag), User: of.User, Strategy: mysql.Strategy(of.Strategy),
		Admin: t.admin(o.Admin), Read: t.reader(s),
	})
}

func (t *Targets) valkey(o *config.Valkey, of config.SecretTarget, s secret.Spec) (target.Target, error) {
	secure, err := transport(o.TLS, o.Plaintext)
	if err != nil {
		return nil, fmt.Errorf("target %s: tls: %w", of.Name, err)
	}
	return valkey.New(valkey.Config{
		Endpoints: o.Endpoints, TLS: secure, User: of.User, Strategy: valkey.Strategy(of.Strategy), Admin: t.admin(o.Admin), Read: t.reader(s),
	})
}

// admin reads the login of an admin.
func (t *Targets) admin(id string) func(context.Context) (secret.Value, error) {
	return func(ctx context.Context) (secret.Value, error) { return t.current(ctx, secret.ID(id)) }
}

// reader reads the versions of a secret.
func (t *Targets) reader(s secret.Spec) func(context.Context, secret.VersionID) (secret.Value, error) {
	return func(ctx context.Context, v secret.VersionID) (secret.Value, error) { return t.read(ctx, s, v) }
}
