package setup

import (
	"context"

	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/env"
)

const envStore = "env"

// envProvider reads the environment.
type envProvider struct{}

func (envProvider) Name() string { return envStore }

func (envProvider) Open(_ context.Context, s *Session) (store.Driver, error) {
	return env.Open(env.Config{Lookup: s.Lookup, Elsewhere: "say with store: or ROTATOR_STORE of which store it is"}), nil
}
