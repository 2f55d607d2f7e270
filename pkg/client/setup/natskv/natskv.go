// Package natskv lets a service read the store on the bus itself, see package
// setup.
package natskv

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// Provider returns the provider that the setting store calls natskv.
func Provider() setup.Provider { return provider{} }

type provider struct{}

func (provider) Name() string { return "natskv" }

func (provider) Open(ctx context.Context, s *setup.Session) (store.Driver, error) {
	if s.Conn == nil {
		return nil, errors.New("it needs nats.url")
	}
	js, err := jetstream.New(s.Conn)
	if err != nil {
		return nil, err
	}
	key, err := masterKey(s)
	if err != nil {
		return nil, err
	}
	return natskv.Open(ctx, natskv.Config{JS: js, Bucket: s.Config.NATSKV.Bucket, MasterKey: key, Reread: func() ([]byte, error) { return masterKey(s) }, Existing: true, Direct: true})
}

func masterKey(s *setup.Session) ([]byte, error) {
	ref := s.Config.NATSKV.MasterKey
	if ref.File != "" {
		return natskv.LoadMasterKey(ref.File)
	}
	v, err := ref.Read(s.Lookup)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return natskv.ParseMasterKey(string(v.Reveal()))
}
