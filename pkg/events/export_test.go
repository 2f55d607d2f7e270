package events

import "context"

// For the tests in package events_test.
var (
	CheckServer = checkServer
	KeyID       = keyID
)

// ListUses returns the subjects of the stream of uses that fit a pattern.
func (b *Bus) ListUses(ctx context.Context, pattern string) ([]string, error) {
	s, err := b.usesBehindBarrier(ctx)
	if err != nil {
		return nil, err
	}
	subjects, _, err := s.list(ctx, pattern)
	return subjects, err
}
