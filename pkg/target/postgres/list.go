package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// List implements [target.Lister]: the roles of the target that may log in. A role
// without a note, which was there before, belongs to the version that has its name.
func (t *Target) List(ctx context.Context, known []secret.VersionID) ([]target.Credential, error) {
	named, err := t.accounts.Named(ctx, known)
	if err != nil {
		return nil, err
	}
	var out []target.Credential
	err = t.accounts.AsAdmin(ctx, t.cfg.Endpoints[0], func(conn *pgx.Conn) error {
		notes, err := t.notes(ctx, conn)
		if err != nil {
			return err
		}
		open, err := texts(ctx, conn, "SELECT rolname FROM pg_roles WHERE rolname = ANY($1::text[]) AND rolcanlogin ORDER BY rolname", t.accounts.Names())
		for _, role := range open {
			n := notes[role]
			c := target.Credential{Ref: target.Ref{Secret: n.secret, Version: n.version, Name: role}, Remedy: fmt.Sprintf("ALTER ROLE %s NOLOGIN", quote(role))}
			if logins := named[role]; n.version == "" && len(logins) > 0 {
				c.Version = logins[0].Version
			}
			out = append(out, c)
		}
		return err
	})
	return out, err
}
