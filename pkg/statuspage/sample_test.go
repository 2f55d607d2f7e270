package statuspage

import (
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// sample returns secrets in every state that the page knows, seen from now.
func sample(now time.Time) []inspect.Secret {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	silent := events.Blocker{Service: "orders-api", Instance: "orders-api-7f3", VersionID: "0f31c2aa", Reason: events.BlockSilent}
	failed := events.Blocker{Service: "billing", Instance: "billing-2", VersionID: "0f31c2aa", Reason: events.BlockFailed, Detail: "connect: password authentication failed"}
	older := events.Blocker{Service: "audit-api", Instance: "audit-1", VersionID: "77b1", Reason: events.BlockOldVersion}
	fenced := events.Blocker{Service: "audit-api", Instance: "audit-2", VersionID: "77b1", Reason: events.BlockSilent, Until: now.Add(40 * time.Minute)}
	return []inspect.Secret{
		{
			SecretID: "ORDERS_DB", Store: "vault", Path: "orders/db", VersionID: "9d4e11b0", Previous: "0f31c2aa", CreatedAt: ago(3 * time.Hour), NotAfter: now.Add(20 * time.Hour), RotateAt: now.Add(18 * time.Hour),
			Reason: scheduler.ReasonScheduled, Message: "in 18 h", Rollout: events.RolloutStalled, Applied: 4, Blocking: []events.Blocker{silent, failed}, Services: []string{"orders-api", "billing"},
			Timeline:     &inspect.Timeline{AnnouncedAt: ago(3 * time.Hour), Since: ago(50 * time.Minute)},
			SafeToRevoke: &rollout.SafeToRevoke{Answer: rollout.AnswerNo, Because: "orders-api/orders-api-7f3 silent, and 1 more", Instances: map[rollout.InstanceState]int{rollout.InstanceLive: 5, rollout.InstanceSilent: 1}},
		},
		{
			SecretID: "AUDIT_KEY", Store: "vault", Path: "audit/key", VersionID: "b7715c02", Previous: "77b1", CreatedAt: ago(9 * time.Minute), NotAfter: now.Add(24 * 29 * time.Hour), RotateAt: now.Add(24 * 25 * time.Hour),
			Reason: scheduler.ReasonScheduled, Message: "in 25 d", Rollout: events.RolloutRolling, Applied: 2, Blocking: []events.Blocker{older, fenced}, Services: []string{"audit-api"},
			Timeline:     &inspect.Timeline{AnnouncedAt: ago(8 * time.Minute), Since: ago(8 * time.Minute)},
			SafeToRevoke: &rollout.SafeToRevoke{Answer: rollout.AnswerNo, Because: "audit-api/audit-1 runs_other_version"},
		},
		{
			SecretID: "team a/cache", Store: "aws", Path: "team a/cache", Discovered: true, VersionID: "c0ffee01", Previous: "c0ffee00", CreatedAt: ago(26 * time.Hour), NotAfter: now.Add(3 * time.Hour), RotateAt: now.Add(2 * time.Hour),
			Reason: scheduler.ReasonScheduled, Message: "in 2 h", Rollout: events.RolloutConverged, Applied: 12, Services: []string{"cache"},
			Timeline:     &inspect.Timeline{AnnouncedAt: ago(26 * time.Hour), ConvergedAt: ago(25 * time.Hour), RetireAt: now.Add(10 * time.Minute), Since: ago(25 * time.Hour)},
			SafeToRevoke: &rollout.SafeToRevoke{Answer: rollout.AnswerYes, Because: "no instance uses or accepts an older version"},
		},
		{
			SecretID: "PAYMENTS_TOKEN", Store: "aws", Path: "payments/token", VersionID: "51aa77f3", CreatedAt: ago(5 * time.Hour), NotAfter: now.Add(19 * time.Hour), RotateAt: now.Add(15 * time.Hour),
			Reason: scheduler.ReasonScheduled, Message: "in 15 h", Rollout: events.RolloutRetired, Applied: 3, Services: []string{"payments"},
			Timeline:     &inspect.Timeline{AnnouncedAt: ago(5 * time.Hour), ConvergedAt: ago(290 * time.Minute), RetireAt: ago(4 * time.Hour), Since: ago(4 * time.Hour)},
			SafeToRevoke: &rollout.SafeToRevoke{Answer: rollout.AnswerYes, Because: "no instance uses or accepts an older version"},
		},
		{
			SecretID: "MAIL_PASSWORD", Store: "vault", Path: "mail", VersionID: "aa01", Previous: "aa00", CreatedAt: ago(24 * 31 * time.Hour), NotAfter: ago(70 * time.Minute), RotateAt: now,
			Reason: scheduler.ReasonExpired, Message: "the version ended 1h ago", Failure: &events.Failure{Step: "apply", Code: events.CodeRejected, Message: "the target refused the value"},
			Rollout: events.RolloutRetired, Applied: 1, SafeToRevoke: &rollout.SafeToRevoke{Answer: rollout.AnswerUnknown, Because: "role/reporting read version aa00 and reports no use"},
		},
		{SecretID: "LEGACY", Store: "old", Path: "legacy", Error: "describe legacy: unavailable: connection refused"},
	}
}

// many returns n secrets, which n instances use, one in twenty of them silent.
func many(n int, now time.Time) []inspect.Secret {
	all := make([]inspect.Secret, n)
	for i := range all {
		all[i] = sample(now)[3]
		if i%20 == 0 {
			all[i] = sample(now)[1]
		}
		all[i].SecretID = secret.ID(fmt.Sprintf("team-%d/secret-%d", i%50, i))
		all[i].Path = string(all[i].SecretID)
	}
	return all
}

func secretID(s string) secret.ID { return secret.ID(s) }
