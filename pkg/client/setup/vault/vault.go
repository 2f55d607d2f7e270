// Package vault lets a service read Vault or OpenBao, see package setup.
package vault

import (
	"context"

	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// Provider returns the provider that the setting store calls vault.
func Provider() setup.Provider { return provider{} }

type provider struct{}

func (provider) Name() string { return "vault" }

func (provider) Open(_ context.Context, s *setup.Session) (store.Driver, error) {
	access, err := s.Config.Vault.Access(s.Lookup)
	if err != nil {
		return nil, err
	}
	c, err := vault.Access(access).Config(s.Lookup)
	if err != nil {
		return nil, err
	}
	return vault.Open(c)
}
