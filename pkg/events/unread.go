package events

import (
	"context"

	"github.com/tradepulse/rotator/pkg/secret"
)

// UnreadReports takes the place of a secret in the use that the notifier records of an
// instance whose report it does not understand: a client of another version, which may use
// any secret. No secret can have this ID without being held by such instances as well.
const UnreadReports secret.ID = "_reports"

// unreadProblem is the problem of a user whose report was not understood.
const unreadProblem = "the last report of its client was not understood: upgrade the client, or forget the instance once it has ended"

// readUnread adds the instances whose report was not understood as users of the secret.
func (b *Bus) readUnread(ctx context.Context, s *snapshot, f *Fleet) error {
	return s.all(ctx, b.cfg.Names.Use(UnreadReports.Key(), "*", "*"), func(r record) {
		u, ok := b.userOf(ctx, r)
		if !ok || u.Use.Ended && u.Problem == "" || f.SecretID == UnreadReports {
			return
		}
		u.Use.Running, u.Use.Accepts, u.Use.PastFence = Running{SecretID: f.SecretID}, nil, PastFenceServe
		u.Problem = unreadProblem
		f.Users = append(f.Users, u)
	})
}
