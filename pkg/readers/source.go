package readers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/events"
)

// heard notes that the server has logged something.
func (s *Socket) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Heard = time.Now()
}

// missed notes that reads may have been missed, and has that recorded at once.
func (s *Socket) missed(why string) {
	s.mu.Lock()
	s.state.Since = time.Now()
	s.mu.Unlock()
	select {
	case s.gap <- struct{}{}:
		s.cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "readers.missed", slog.String("audit_source", s.cfg.Name), slog.String("reason", why))
	default: // it is about to be recorded
	}
}

// beat says since when nothing was missed until ctx ends.
func (s *Socket) beat(ctx context.Context) {
	for attempt := 1; ; attempt++ {
		err := s.begin(ctx)
		if err == nil {
			break
		}
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "readers.source_unknown", slog.String("audit_source", s.cfg.Name), slog.String("error", err.Error()))
		if !backoff.Pause(ctx, backoff.Delay(attempt, retryBase, retryCap)) {
			return
		}
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.gap:
		}
		s.say(ctx)
	}
}

// begin goes on where the last process with the name left off. If that was longer ago
// than is tolerated, reads were missed until now.
func (s *Socket) begin(ctx context.Context) error {
	before, seq, err := s.cfg.Sources.Source(ctx, s.cfg.Mount.Store, s.cfg.Name)
	if err != nil {
		return err
	}
	now := time.Now()
	s.mu.Lock()
	s.seq = seq
	if s.state.Heard.IsZero() {
		s.state.Heard = before.Heard
	}
	switch {
	case !s.state.Since.IsZero(): // missed something already
	case seq == 0 || now.Sub(before.At) > s.cfg.Tolerate:
		s.state.Since = now
	default:
		s.state.Since = before.Since
	}
	s.mu.Unlock()
	return s.write(ctx)
}

// say records the state. Failures show: what is on record grows old.
func (s *Socket) say(ctx context.Context) {
	err := s.write(ctx)
	if errors.Is(err, events.ErrConflict) {
		err = s.again(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "readers.source_not_recorded", slog.String("audit_source", s.cfg.Name), slog.String("error", err.Error()))
	}
}

// again records the state after the last record was another than expected. If it is
// not one of this process whose acknowledgement was lost, then the record was lost
// and the sightings with it, or another process has the name and neither hears
// everything.
func (s *Socket) again(ctx context.Context) error {
	last, seq, err := s.cfg.Sources.Source(ctx, s.cfg.Mount.Store, s.cfg.Name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.seq = seq
	if seq == 0 || !last.At.Equal(s.state.At) {
		s.state.Since = time.Now()
	}
	s.mu.Unlock()
	return s.write(ctx)
}

func (s *Socket) write(ctx context.Context) error {
	s.mu.Lock()
	previous := s.state.At
	if s.state.Since.IsZero() {
		s.state.Since = time.Now() // it never began
	}
	s.state.At = time.Now().UTC()
	state, after := s.state, s.seq
	s.mu.Unlock()
	seq, err := s.cfg.Sources.RecordSource(ctx, state, after)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, events.ErrConflict):
		s.state.At = previous // the one that may be on record without an acknowledgement
	case err == nil:
		s.seq = seq
	}
	return err
}

// drain records what is queued when the process ends, and says until when it heard.
func (s *Socket) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	keep := func(seen events.Sighting) {
		if err := s.cfg.Recorder.Record(ctx, seen); err != nil {
			s.missed("the process ended before a sighting was recorded: " + err.Error())
		}
	}
	if s.left != nil {
		keep(*s.left)
	}
	for {
		select {
		case seen := <-s.queue:
			keep(seen)
			continue
		default:
		}
		s.say(ctx)
		return
	}
}
