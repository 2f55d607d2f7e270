package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestTheErrorOfAConnectionHasItsRemedy: a server that refuses a user is not one that does
// not run.
func TestTheErrorOfAConnectionHasItsRemedy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want string
		not  string
	}{
		"refused":   {fmt.Errorf("connect: %w (%w)", nats.ErrAuthorization, context.DeadlineExceeded), "the server runs and refuses this user: see nats.credentials", "is 'rotator run' running?"},
		"not there": {fmt.Errorf("connect: %w", nats.ErrNoServers), "is 'rotator run' running?", "refuses"},
		"a file":    {errors.New("open /nope: no such file"), "no such file", "running"},
		"no answer": {context.DeadlineExceeded, "is 'rotator run' running?", "refuses"},
		"revoked":   {nats.ErrAuthRevoked, "refuses this user", "is 'rotator run' running?"},
		"ran out":   {nats.ErrAuthExpired, "refuses this user", "is 'rotator run' running?"},
	} {
		_, err := within(t.Context(), &Operator{}, false, func(context.Context) (int, error) { return 0, tt.err })
		if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), tt.not) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
