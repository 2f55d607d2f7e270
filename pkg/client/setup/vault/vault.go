// Package vault lets a service read Vault or OpenBao, see package setup.
package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// Provider returns the provider that the setting store calls vault.
func Provider() setup.Provider { return provider{} }

type provider struct{}

func (provider) Name() string { return "vault" }

func (provider) Open(_ context.Context, s *setup.Session) (store.Driver, error) {
	c := s.Config.Vault
	auth, err := login(c.Auth, s.Lookup)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return vault.Open(vault.Config{
		Address: c.Address, Namespace: c.Namespace, CACert: c.CA, Mount: c.Mount, Prefix: c.Prefix, StatePrefix: c.StatePrefix, Auth: auth,
	})
}

func login(a setup.VaultAuth, lookup func(string) (string, bool)) (vault.Auth, error) {
	role, _ := lookup("VAULT_ROLE_ID")
	id, _ := lookup("VAULT_SECRET_ID")
	if a.Method == "" && role != "" && id != "" {
		a.Method = "approle"
	}
	switch a.Method {
	case "", "token":
		return vault.EnvironmentToken(lookup), nil
	case "approle":
		if role == "" || id == "" {
			return nil, errors.New("set VAULT_ROLE_ID and VAULT_SECRET_ID for the method approle")
		}
		return vault.AppRole{Mount: a.Mount, RoleID: role, SecretID: id}, nil
	case "jwt":
		if a.TokenFile == "" || a.Role == "" {
			return nil, errors.New("role and token_file are required for the method jwt")
		}
		return vault.JWT{Mount: a.Mount, Role: a.Role, File: a.TokenFile}, nil
	case "kubernetes":
		if a.Role == "" {
			return nil, errors.New("role is required for the method kubernetes")
		}
		return vault.JWT{Mount: cmp.Or(a.Mount, "kubernetes"), Role: a.Role, File: cmp.Or(a.TokenFile, vault.KubernetesTokenFile)}, nil
	default:
		return nil, fmt.Errorf("method: %q is none of token, approle, kubernetes, jwt", a.Method)
	}
}
