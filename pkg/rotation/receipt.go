package rotation

import (
	"context"
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
	p.Retired = unrevoked(meta, p.Logged)
	if len(p.Retired) == 0 {
		return nil
	}
	if err := r.cfg.Bus.RecordRetirement(ctx, p.Receipt(r.cfg.Source, time.Now())); err != nil {
		return stepError{stepRecord, events.RetryAfter(err, retireRetry)}
	}
	return nil
}
