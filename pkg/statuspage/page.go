package statuspage

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradepulse/rotator/pkg/inspect"
)

// Config is what a [Page] needs. Secrets is required.
type Config struct {
	// Program and Version are in the title, such as rotator and v0.3.0.
	Program, Version string
	// Note says in a sentence what the program cannot know; "" for nothing.
	Note string
	// Secrets reads all secrets, such as [inspect.Inspector.Secrets]. It must keep to the
	// deadline of its context, and is never called twice at a time.
	Secrets func(context.Context) ([]inspect.Secret, error)
	// Health says how the program itself is. Nil means that nothing is known.
	Health func(context.Context) []Check
	// Acts has persons act on the page, who need a token for each act. Nil leaves the page
	// read only.
	Acts Acts
	// Every is the least time between two snapshots. 0 means 5 s. A snapshot that took
	// long is followed by a pause of four times as long.
	Every time.Duration
	// Deadline is how long a snapshot may take. 0 means 30 s.
	Deadline time.Duration
	// Wait is how long a request waits for a new snapshot when the last one is old. 0
	// means 1 s.
	Wait time.Duration
	// Logger gets what goes wrong with rendering; nil means slog.Default.
	Logger *slog.Logger
}

const (
	// idle is after how long without a request no snapshots are taken.
	idle = time.Minute
	// share is which part of the time snapshots may be taken in: one of so many.
	share = 5
	// maxStreams bounds how many viewers are kept up to date at a time.
	maxStreams = 100
)

// Page shows the state of rotation. It is safe for concurrent use.
type Page struct {
	cfg  Config
	mux  *http.ServeMux
	boot string               // names this process in the IDs of snapshots
	seen map[string]time.Time // when each problem without a beginning was seen first; of Run

	wanted  chan struct{} // has an element when there was a request
	done    chan struct{} // closed when Run returns
	streams atomic.Int64
	acting  sync.Mutex // held while an order is in hand

	mu      sync.Mutex
	now     *rendered
	changed chan struct{} // closed at the next snapshot
	asked   time.Time     // the last request
}

// New returns a page that shows nothing before [Page.Run].
func New(cfg Config) (*Page, error) {
	if cfg.Secrets == nil {
		return nil, errors.New("statuspage: Secrets is required")
	}
	cfg.Program = cmp.Or(cfg.Program, "rotator")
	cfg.Every, cfg.Deadline, cfg.Wait = cmp.Or(cfg.Every, 5*time.Second), cmp.Or(cfg.Deadline, 30*time.Second), cmp.Or(cfg.Wait, time.Second)
	if cfg.Health == nil {
		cfg.Health = func(context.Context) []Check { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &Page{
		cfg: cfg, boot: strconv.FormatInt(time.Now().UnixNano(), 36), wanted: make(chan struct{}, 1), done: make(chan struct{}), changed: make(chan struct{}),
	}
	p.mux = p.routes()
	first, err := render(p.boot+".0", &Snapshot{Program: cfg.Program, Version: cfg.Version, Note: cfg.Note, acting: cfg.Acts != nil, Problems: []inspect.Problem{}, Secrets: []inspect.Secret{}})
	p.now = first
	return p, err
}

// Run takes snapshots while there are viewers, until ctx ends. It is called once.
func (p *Page) Run(ctx context.Context) error {
	defer close(p.done) // ends the streams
	for n := 1; ; n++ {
		if !p.awaitViewer(ctx) {
			return nil
		}
		begin := time.Now()
		p.refresh(ctx, n)
		pause := max(p.cfg.Every, (share-1)*time.Since(begin))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// awaitViewer waits until there is a viewer, or has been a moment ago. It reports
// false when ctx has ended.
func (p *Page) awaitViewer(ctx context.Context) bool {
	p.mu.Lock()
	watched := p.streams.Load() > 0 || !p.asked.IsZero() && time.Since(p.asked) < idle
	p.mu.Unlock()
	if watched && ctx.Err() == nil {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-p.wanted:
		return true
	}
}

// refresh takes a snapshot and shows it.
func (p *Page) refresh(ctx context.Context, n int) {
	s := p.take(ctx, p.current().snapshot)
	if ctx.Err() != nil {
		return
	}
	next, err := render(p.boot+"."+strconv.Itoa(n), s)
	if err != nil {
		p.cfg.Logger.LogAttrs(ctx, slog.LevelError, "statuspage.render_failed", slog.String("error", err.Error()))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = next
	close(p.changed)
	p.changed = make(chan struct{})
}

// current returns what is shown now.
func (p *Page) current() *rendered {
	r, _ := p.watch()
	return r
}

// watch returns what is shown now, and a channel that is closed when that changes.
func (p *Page) watch() (*rendered, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.changed
}

// ask says that there is a viewer.
func (p *Page) ask() {
	p.mu.Lock()
	p.asked = time.Now()
	p.mu.Unlock()
	select {
	case p.wanted <- struct{}{}:
	default:
	}
}

// fresh returns what to answer a request with: the last snapshot, or if that is older
// than viewers see it, the next one if it is there in time.
func (p *Page) fresh(ctx context.Context) *rendered {
	p.ask()
	r, changed := p.watch()
	if s := r.snapshot; time.Since(s.At) < p.stale(s) {
		return r
	}
	timer := time.NewTimer(p.cfg.Wait)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-p.done:
	case <-ctx.Done():
	}
	return p.current()
}

// stale returns how old a snapshot may get while there are viewers.
func (p *Page) stale(s *Snapshot) time.Duration {
	took := time.Duration(s.Seconds * float64(time.Second))
	return 2 * (max(p.cfg.Every, (share-1)*took) + took)
}
