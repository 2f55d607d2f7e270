package wire

import (
	"context"
	"iter"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// absent is a store that is not reached. It gives one answer to every read and accepts
// no write.
type absent struct {
	features store.Features
	answer   error
}

var _ store.Driver = absent{}

// Features are those of the store that is not reached, without what needs more methods.
func (a absent) Features() store.Features {
	return store.Features{Attributes: a.features.Attributes, OnBus: a.features.OnBus, ReadOnly: true}
}

func (a absent) Describe(context.Context, string) (secret.Metadata, error) {
	return secret.Metadata{}, a.answer
}

func (a absent) List(context.Context) iter.Seq2[secret.Metadata, error] {
	return func(func(secret.Metadata, error) bool) {}
}

func (a absent) Get(context.Context, string, store.Selector) (secret.Version, secret.Value, error) {
	return secret.Version{}, secret.Value{}, a.answer
}

func (a absent) Put(context.Context, string, store.Write) (secret.Version, error) {
	return secret.Version{}, store.ErrReadOnly
}

func (a absent) Promote(context.Context, string, secret.VersionID, secret.VersionID) error {
	return store.ErrReadOnly
}

func (a absent) Retire(context.Context, string, secret.VersionID, secret.RetireMode) error {
	return store.ErrReadOnly
}

func (a absent) Close() error { return nil }
