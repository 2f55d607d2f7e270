package vault

import "github.com/tradepulse/rotator/pkg/store"

// Features returns what every [Driver] declares. The engine keeps as many versions
// as its max_versions says.
func Features() store.Features {
	return store.Features{KeepsExpiry: true, KeepsRetired: true, Deletes: true, DeletesAll: true, Attributes: true}
}

// Features implements [store.Driver].
func (*Driver) Features() store.Features { return Features() }
