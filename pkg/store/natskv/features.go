package natskv

import "github.com/tradepulse/rotator/pkg/store"

// Features returns what every [Driver] declares.
func Features() store.Features {
	return store.Features{KeepsExpiry: true, KeepsRetired: true, Deletes: true, DeletesAll: true, Fenced: true, Keyset: true, OnBus: true}
}

var _ store.KeysetRotator = (*Driver)(nil)

// Features implements [store.Driver].
func (*Driver) Features() store.Features { return Features() }
