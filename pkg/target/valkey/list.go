package valkey

import (
	"context"
	"fmt"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// List implements [target.Lister]: the passwords of the users of the target that are on,
// on every node. Nothing on the server says whose they are: each is compared with the
// known versions.
func (t *Target) List(ctx context.Context, known []secret.VersionID) ([]target.Credential, error) {
	named, err := t.users.Named(ctx, known)
	if err != nil {
		return nil, err
	}
	var out []target.Credential
	for _, endpoint := range t.cfg.Endpoints {
		err := t.users.AsAdmin(ctx, endpoint, func(n *node) error {
			for _, name := range t.users.Names() {
				u, err := n.user(ctx, name)
				if err != nil {
					return err
				}
				for i, hash := range u.working() {
					c := target.Credential{Ref: target.Ref{Name: name + " at " + endpoint}, Remedy: fmt.Sprintf("ACL SETUSER %s !HASH with hash %d of ACL GETUSER %s, and ACL SAVE", name, i+1, name)}
					for _, k := range named[name] {
						if digest(k.Login.Password) == hash {
							c.Version = k.Version
						}
					}
					out = append(out, c)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// working returns the hashes of the passwords with which the user can log in.
func (u user) working() []string {
	var out []string
	for _, hash := range u.hashes {
		if u.on && !strings.HasPrefix(hash, grave) {
			out = append(out, hash)
		}
	}
	return out
}
