//go:build !linux

package process

import (
	"errors"

	"github.com/tradepulse/rotator/pkg/events"
)

// Of fails: processes are told apart on Linux only.
func Of(int) (*events.Process, error) { return nil, errors.ErrUnsupported }

// Ended reports false: that cannot be known here.
func Ended(*events.Process) bool { return false }
