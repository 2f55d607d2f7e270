//go:build !race

package integration

import (
	"context"
	"time"
)

// harm carries out a plan.
func (s *soak) harm(ctx context.Context, plan []soakFault) {
	begin := time.Now()
	for _, f := range plan {
		s.harming.Go(func() {
			if waitFor(ctx, time.Until(begin.Add(f.at))) {
				s.harmOne(ctx, s.hosts[f.host], f)
			}
		})
	}
}

// waitFor waits, and returns false when ctx ends before.
func waitFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *soak) harmOne(ctx context.Context, h *soakHost, f soakFault) {
	span := soakSpan{what: f.kind, from: time.Now()}
	err := s.during(ctx, h, f)
	span.to = time.Now()
	h.mu.Lock()
	h.faults = append(h.faults, span)
	h.mu.Unlock()
	s.mu.Lock()
	s.done[f.kind]++
	s.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		s.problem("%s, %s: %v", h, f.kind, err)
	}
}

// during does the fault and makes it good after its time.
func (s *soak) during(ctx context.Context, h *soakHost, f soakFault) error {
	switch f.kind {
	case soakKill:
		h.kill(f.which)
		waitFor(ctx, f.last)
		return h.start(ctx)
	case soakStop:
		resume, err := h.stop(f.which)
		s.askStopped(ctx, h)
		waitFor(ctx, f.last)
		if err != nil {
			return err
		}
		return resume()
	}
	lines := h.lines(f.kind)
	for _, l := range lines {
		l.pause()
	}
	waitFor(ctx, f.last)
	for _, l := range lines {
		l.resume()
	}
	return nil
}

// lines are those that a fault of the kind cuts.
func (h *soakHost) lines(kind string) []*line {
	switch kind {
	case soakCutBus:
		return []*line{h.bus}
	case soakCutStore:
		return []*line{h.store}
	default:
		return []*line{h.bus, h.store}
	}
}

// askStopped sends what is current to a process that is stopped, which answers once it
// goes on: by then it may be retired.
func (s *soak) askStopped(ctx context.Context, h *soakHost) {
	for _, spec := range h.specs {
		v := s.book.newest(spec.ID)
		s.work.Go(func() { s.ask(ctx, h, spec.ID, v) })
	}
}
