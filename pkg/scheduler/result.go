package scheduler

import (
	"errors"
	"fmt"
	"sync"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Result counts what a sweep did.
type Result struct {
	// Secrets is how many secrets there are by what was decided for them.
	Secrets map[Reason]int
	// Findings is how many findings with each code there are about tags.
	Findings map[secret.FindingCode]int
	// Armed is how many timers were set or moved, Announced how many versions were
	// announced late, Discovered how many discoveries were announced, and Gone how
	// many discovered secrets are not managed any more.
	Armed, Announced, Discovered, Gone int

	// passing are the secrets whose reason is over once they are rotated, and ending the
	// others whose version ends.
	passing, ending []watched
}

func newResult() Result {
	return Result{Secrets: map[Reason]int{}, Findings: map[secret.FindingCode]int{}}
}

// add adds the counts of another part of the sweep.
func (r *Result) add(o Result) {
	for reason, n := range o.Secrets {
		r.Secrets[reason] += n
	}
	for code, n := range o.Findings {
		r.Findings[code] += n
	}
	r.Armed += o.Armed
	r.Announced += o.Announced
	r.Discovered += o.Discovered
	r.Gone += o.Gone
}

func (r *Result) total() int {
	n := 0
	for _, c := range r.Secrets {
		n += c
	}
	return n
}

// counter is a [Result] that goroutines count in together.
type counter struct {
	mu     sync.Mutex
	result Result
}

func (c *counter) add(count func(*Result)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count(&c.result)
}

// one is 1 for true.
func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// failures collects errors: the first few as they are, the others by number.
type failures struct {
	mu    sync.Mutex
	first []error
	more  int
}

const maxFailures = 10

func (f *failures) add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.first) < maxFailures {
		f.first = append(f.first, err)
		return
	}
	f.more++
}

func (f *failures) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.more == 0 {
		return errors.Join(f.first...)
	}
	return errors.Join(append(f.first, fmt.Errorf("%d more secrets failed", f.more))...)
}
