package secret

import (
	"errors"
	"strconv"
	"time"
)

// maxTTL is the longest lifetime that a variable can set: ten years.
const maxTTL = 10 * 366 * 24 * time.Hour

// ErrInvalidTTL is returned by [ParseTTLSeconds].
var ErrInvalidTTL = errors.New("is not a whole number of seconds from 1 to " + strconv.Itoa(int(maxTTL/time.Second)))

// TTLVariable returns the name of the environment variable that sets the
// lifetime of what name names.
func TTLVariable(name string) string { return name + "_TTL_SECONDS" }

// ParseTTLSeconds returns the lifetime that the text of such a variable gives.
func ParseTTLSeconds(text string) (time.Duration, error) {
	n, err := strconv.ParseUint(text, 10, 32) // no sign
	if err != nil || n == 0 || n > uint64(maxTTL/time.Second) {
		return 0, ErrInvalidTTL
	}
	return time.Duration(n) * time.Second, nil
}
