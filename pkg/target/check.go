package target

import "context"

// Checker is implemented by targets that can say in advance what they would do, and
// what keeps them from it.
type Checker interface {
	// Check logs in, changes nothing, and returns what it found. The error says that
	// it could not look.
	Check(ctx context.Context) (Report, error)
}

// Report is what [Checker.Check] found. It holds no value.
type Report struct {
	// Server describes the server, such as its version.
	Server string `json:"server"`
	// Admin is the account that the target acts with.
	Admin string `json:"admin"`
	// Plan is what a rotation does, in order, in the words of the target.
	Plan []string `json:"plan"`
	// Missing are the rights that the account lacks. The first one is what to grant
	// next.
	Missing []string `json:"missing,omitempty"`
	// Traps are what would break services after a rotation. A target refuses to apply
	// a value until they are gone.
	Traps []string `json:"traps,omitempty"`
	// Notes are what a person should know and nothing refuses.
	Notes []string `json:"notes,omitempty"`
	// Setup is what a person has to run once, in the target's own language.
	Setup []string `json:"setup,omitempty"`
}

// Ready reports whether a rotation can be applied.
func (r Report) Ready() bool { return len(r.Missing) == 0 && len(r.Traps) == 0 }
