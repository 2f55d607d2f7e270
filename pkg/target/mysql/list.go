package mysql

import (
	"context"
	"fmt"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

// List implements [target.Lister]: the passwords of the accounts of the target that are
// not locked. Nothing on the server says whose they are: each is compared with the known
// versions.
func (t *Target) List(ctx context.Context, known []secret.VersionID) ([]target.Credential, error) {
	named, err := t.accounts.Named(ctx, known)
	if err != nil {
		return nil, err
	}
	var out []target.Credential
	err = t.accounts.AsAdmin(ctx, t.cfg.Endpoints[0], func(s *session) error {
		for _, name := range t.accounts.Names() {
			found, err := s.accounts(ctx, name)
			if err != nil {
				return err
			}
			for _, a := range found {
				out = append(out, credentials(a, named[name])...)
			}
		}
		return nil
	})
	return out, err
}

// credentials returns the passwords of an account that work.
func credentials(a account, known []logins.Known) []target.Credential {
	if a.locked {
		return nil
	}
	var out []target.Credential
	for i, hash := range a.hashes {
		c := target.Credential{Ref: target.Ref{Name: a.grantee()}, Remedy: "ALTER USER " + a.grantee() + " ACCOUNT LOCK"}
		if len(a.hashes) > 1 {
			c.Name = fmt.Sprintf("%s, password %d of %d", a.grantee(), i+1, len(a.hashes))
			c.Remedy = "the next rotation that has its turn on this account replaces it"
		}
		for _, k := range known {
			if matches(hash, k.Login.Password) {
				c.Version = k.Version
			}
		}
		out = append(out, c)
	}
	return out
}
