package natskv

import "time"

// SetSettle shortens the wait of RotateKeyset on a cluster.
func (d *Driver) SetSettle(t time.Duration) { d.settle = t }
