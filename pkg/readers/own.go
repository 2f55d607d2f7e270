package readers

import (
	"context"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/events"
)

// Identified is a store that may know as whom it is read; *store.Store is one.
type Identified interface {
	Name() string
	Identity(ctx context.Context) (string, error)
}

// Own keeps the identities of our own programs; *events.Bus does.
type Own interface {
	RecordOwnReader(ctx context.Context, o events.OwnReader) error
}

const (
	identifyRetry = time.Minute
	identifyAgain = 24 * time.Hour // a record ends after events.ReadsKept
)

// Identify records as whom this program reads its stores until ctx ends. Until that
// is known of a store, its own reads count as those of an unknown reader.
func Identify(ctx context.Context, own Own, stores []Identified, log *slog.Logger) error {
	for pause := identifyAgain; ; pause = identifyAgain {
		for _, st := range stores {
			identity, err := st.Identity(ctx)
			if err == nil && identity != "" {
				err = own.RecordOwnReader(ctx, events.OwnReader{Store: st.Name(), Identity: identity})
			}
			if err != nil && ctx.Err() == nil {
				pause = identifyRetry
				log.LogAttrs(ctx, slog.LevelWarn, "readers.not_identified", slog.String("store", st.Name()), slog.String("error", err.Error()))
			}
		}
		if !backoff.Pause(ctx, pause) {
			return nil
		}
	}
}
