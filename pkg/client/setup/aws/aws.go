// Package aws lets a service read AWS Secrets Manager, see package setup.
package aws

import (
	"context"

	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// Provider returns the provider that the setting store calls aws.
func Provider() setup.Provider { return provider{} }

type provider struct{}

func (provider) Name() string { return "aws" }

func (provider) Open(ctx context.Context, s *setup.Session) (store.Driver, error) {
	return awssm.Open(ctx, awssm.Access(s.Config.AWS).Config())
}
