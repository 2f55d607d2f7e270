//go:build !linux

package process

import (
	"errors"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// Of fails: processes are told apart on Linux only.
func Of(int) (*events.Process, error) { return nil, errors.ErrUnsupported }

// Started fails likewise.
func Started(int) (time.Time, error) { return time.Time{}, errors.ErrUnsupported }

// Ended reports false: that cannot be known here.
func Ended(*events.Process) bool { return false }
