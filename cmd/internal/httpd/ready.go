package httpd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const defaultCheckTimeout = 2 * time.Second

// Check is one thing that has to be so before the process can do its work.
type Check struct {
	// Name is what /readyz calls it, such as "nats" or "store main".
	Name string
	// Probe returns nil when it is so, else the reason why not, which everyone
	// who reaches the server can read. It must be safe for concurrent use.
	Probe func(ctx context.Context) error
}

// Readiness is the answer of /readyz: status 200 when Ready, else 503.
type Readiness struct {
	Ready  bool     `json:"ready"`
	Checks []Result `json:"checks"`
}

// Result is what one [Check] found.
type Result struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

type readiness struct {
	checks  []Check
	timeout time.Duration
}

// Ask asks all checks at once, as /readyz does, and waits for 2 s at most.
func Ask(ctx context.Context, checks []Check) Readiness {
	return readiness{checks: checks}.ask(ctx)
}

func (rd readiness) ask(ctx context.Context) Readiness {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(rd.timeout, defaultCheckTimeout))
	defer cancel()
	return rd.run(ctx)
}

func (rd readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := rd.ask(r.Context())
	status := http.StatusOK
	if !got.Ready {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(got)
}

// run asks all checks at once and does not wait for one beyond ctx.
func (rd readiness) run(ctx context.Context) Readiness {
	answers := make([]chan error, len(rd.checks))
	for i, c := range rd.checks {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- probe(ctx, c) }()
	}
	out := Readiness{Ready: true, Checks: make([]Result, len(rd.checks))}
	for i, c := range rd.checks {
		out.Checks[i] = result(c.Name, await(ctx, answers[i]))
		out.Ready = out.Ready && out.Checks[i].OK
	}
	return out
}

func result(name string, err error) Result {
	if err != nil {
		return Result{Name: name, Reason: err.Error()}
	}
	return Result{Name: name, OK: true}
}

// await prefers an answer that is there to a context that has ended.
func await(ctx context.Context, answer <-chan error) error {
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-answer:
		return err
	default:
		return errors.New("no answer in time")
	}
}

// probe keeps a check that panics from ending the process. What it panicked
// with stays out of the answer: it may hold what is not fit to be read.
func probe(ctx context.Context, c Check) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panicked with a %T", p)
		}
	}()
	return c.Probe(ctx)
}
