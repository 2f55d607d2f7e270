package telemetry

import (
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// errorInterval is how often an error of OpenTelemetry is logged: an endpoint
// that is down reports each batch that it lost.
const errorInterval = 10 * time.Second

// errorHandler logs the first error, then one per errorInterval with the number
// of those left out.
type errorHandler struct {
	log     *slog.Logger
	limit   *rate.Limiter
	leftOut atomic.Int64
}

func newErrorHandler(log *slog.Logger) *errorHandler {
	return &errorHandler{log: log, limit: rate.NewLimiter(rate.Every(errorInterval), 1)}
}

// Handle implements [go.opentelemetry.io/otel.ErrorHandler].
func (h *errorHandler) Handle(err error) {
	if !h.limit.Allow() {
		h.leftOut.Add(1)
		return
	}
	h.log.Warn("telemetry.error", slog.String("error", err.Error()), slog.Int64("left_out", h.leftOut.Swap(0)))
}
