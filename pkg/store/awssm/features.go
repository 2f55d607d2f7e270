package awssm

import "github.com/tradepulse/rotator/pkg/store"

// Features returns what every [Driver] declares. Secrets Manager keeps no end of a
// version and removes no value on demand: it drops versions without a label by
// itself once there are about a hundred.
func Features() store.Features {
	return store.Features{KeepsRetired: true, DeletesAll: true, Attributes: true, External: true, EventSource: "aws.secretsmanager"}
}

// Features implements [store.Driver].
func (*Driver) Features() store.Features { return Features() }
