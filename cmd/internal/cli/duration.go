package cli

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Duration is a flag for a duration that takes days too.
type Duration time.Duration

func (d *Duration) String() string {
	if *d == 0 {
		return ""
	}
	return secret.FormatDuration(time.Duration(*d))
}

// Set implements pflag.Value.
func (d *Duration) Set(text string) error {
	v, err := secret.ParseDuration(text)
	*d = Duration(v)
	return err
}

// Type implements pflag.Value.
func (*Duration) Type() string { return "duration" }
