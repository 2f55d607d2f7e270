package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/backoff"
)

// list returns the subjects that fit the pattern, in order, but the barrier. What
// is read of them afterwards has to reach what the list has reached.
func (s *snapshot) list(ctx context.Context, pattern string) ([]string, *jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		subjects, info, err := s.pages(ctx, pattern)
		if err == nil {
			s.seq, s.since = info.State.LastSeq, info.Created
			return slices.DeleteFunc(subjects, func(subject string) bool { return subject == s.barrier }), info, nil
		}
		if !errors.Is(err, ErrIncomplete) || !backoff.Pause(ctx, snapshotPause) {
			return nil, nil, fmt.Errorf("list %s: %w", pattern, err)
		}
	}
}

// pages lists the subjects once, in order. The server gives 100,000 of them on a page,
// and finds the next page by their number: a subject that ended meanwhile would move
// one past the end of the page before. So each page has to begin with the last subject
// of the page before.
func (s *snapshot) pages(ctx context.Context, pattern string) (subjects []string, info *jetstream.StreamInfo, err error) {
	for {
		offset := max(0, len(subjects)-1)
		p, err := s.page(ctx, pattern, offset)
		if err != nil {
			return nil, nil, err
		}
		next := slices.Sorted(maps.Keys(p.State.Subjects))
		if offset > 0 && (len(next) == 0 || next[0] != subjects[offset]) {
			return nil, nil, fmt.Errorf("%w: subjects have ended while they were listed", ErrIncomplete)
		}
		subjects = append(subjects[:offset], next...)
		if len(subjects) >= p.Total || len(next) < 2 {
			return subjects, &p.StreamInfo, nil
		}
	}
}

// page is one page of a list of subjects, and how many there are in all.
type page struct {
	jetstream.StreamInfo

	Error *jetstream.APIError `json:"error"`
	Total int                 `json:"total"`
}

// page returns the subjects that fit the pattern from a number on. It is an error that
// wraps [ErrIncomplete] if the member of the stream that answers lags behind.
func (s *snapshot) page(ctx context.Context, pattern string, offset int) (p page, err error) {
	ask, err := json.Marshal(map[string]any{"subjects_filter": pattern, "offset": offset})
	if err != nil {
		return p, err
	}
	m, err := s.b.nc.RequestWithContext(ctx, s.b.cfg.APIPrefix+".STREAM.INFO."+s.stream, ask)
	if err != nil {
		return p, fmt.Errorf("stream %s: %w", s.stream, err)
	}
	if err := json.Unmarshal(m.Data, &p); err != nil {
		return p, fmt.Errorf("stream %s: %w", s.stream, err)
	}
	if p.Error != nil {
		return p, fmt.Errorf("stream %s: %w", s.stream, p.Error)
	}
	if p.State.LastSeq < s.seq || p.State.LastTime.Before(s.at) || !s.at.IsZero() && s.at.Before(p.Created) {
		return p, fmt.Errorf("%w: the list ends at sequence %d, and %d was acknowledged", ErrIncomplete, p.State.LastSeq, s.seq)
	}
	return p, nil
}
