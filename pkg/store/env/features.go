package env

import "github.com/tradepulse/rotator/pkg/store"

// Features returns what every [Driver] declares.
func Features() store.Features { return store.Features{ReadOnly: true} }

// Features implements [store.Driver].
func (*Driver) Features() store.Features { return Features() }
