package config

import (
	"errors"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Duration is a length of time above zero. 0 means that it is not set. In text
// it is what [time.ParseDuration] reads, with d for days of 24 hours in front:
// 30d, 1d12h, 90s.
type Duration time.Duration

// DurationOrNone is a [Duration] that can also be switched off, with none or 0s
// in text and [None] here. 0 here means that it is not set.
type DurationOrNone time.Duration

// None is the [DurationOrNone] that has been switched off. It is negative,
// which is how the settings of the other packages spell off.
const None DurationOrNone = -1

const day = 24 * time.Hour

// DurationPattern is the regular expression of every [Duration], and of a
// [DurationOrNone] besides its words for none.
const DurationPattern = secret.DurationPattern

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := secret.ParseDuration(string(b))
	if err == nil && v == 0 {
		err = errors.New("it has to be longer than 0")
	}
	*d = Duration(v)
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration as the configuration writes it.
func (d Duration) String() string { return secret.FormatDuration(time.Duration(d)) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *DurationOrNone) UnmarshalText(b []byte) error {
	if string(b) == "none" {
		*d = None
		return nil
	}
	v, err := secret.ParseDuration(string(b))
	if *d = DurationOrNone(v); v == 0 {
		*d = None
	}
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (d DurationOrNone) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration as the configuration writes it.
func (d DurationOrNone) String() string {
	if d < 0 {
		return "none"
	}
	return secret.FormatDuration(time.Duration(d))
}
