package rotation

import (
	"context"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// stepRecord is the step of a retirement that stores its receipt.
const stepRecord = "record"

// record stores the receipt of a retirement that is about to be carried out. While it
// fails nothing is revoked or destroyed. One retirement has one receipt, however often
// it is tried.
func (r *Rotator) record(ctx context.Context, p rollout.Proof, meta secret.Metadata) error {
	p.Retired = retired(meta, p.Order.PreviousVersionID, retireMode(p.Question.Spec, p.Order, p.Logged))
	if len(p.Retired) == 0 {
		return nil
	}
	if err := r.cfg.Bus.RecordRetirement(ctx, p.Receipt(r.cfg.Source, time.Now())); err != nil {
		return stepError{stepRecord, events.RetryAfter(err, retireRetry)}
	}
	return nil
}

// retired returns the versions that a receipt names: those that are retired now, and
// the one before, whose stage an earlier run may have taken away.
func retired(meta secret.Metadata, previous secret.VersionID, mode secret.RetireMode) []secret.VersionID {
	var out []secret.VersionID
	for _, v := range retirable(meta, previous, mode) {
		out = append(out, v.ID)
	}
	if previous != "" && !slices.Contains(out, previous) {
		out = append(out, previous)
	}
	return out
}
