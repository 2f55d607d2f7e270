package events

import (
	"errors"
	"time"
)

// VerifiedState says what a login with the current version at its target showed.
type VerifiedState string

// What a login showed.
const (
	// VerifiedWorks: every endpoint of the target took the value.
	VerifiedWorks VerifiedState = "works"
	// VerifiedRefused: the target answered, and refused the value. Something else than a
	// rotation has changed it there, or has written the version.
	VerifiedRefused VerifiedState = "refused"
	// VerifiedUnknown: it could not be found out, such as while the target was down.
	VerifiedUnknown VerifiedState = "unknown"
)

// Verification is what a worker found when it logged in with the current version at its
// target.
type Verification struct {
	State VerifiedState `json:"state"`
	// Since is when it was found first.
	Since time.Time `json:"since"`
	// Message is the error of the login, without any value.
	Message string `json:"message,omitempty"`
}

func (v *Verification) validate() error {
	switch {
	case v == nil:
		return errors.New("a verification says nothing of the target")
	case v.State == "" || len(v.State) > maxStatus || len(v.Message) > maxText:
		return errors.New("the state of the verification is missing, or it is too long")
	}
	return nil
}
