//go:build unix

package main

import (
	"context"
	"fmt"

	"github.com/tradepulse/rotator/cmd/internal/agent"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
)

// agentRun is what an agent runs, until it is given something else.
type agentRun struct {
	cfg   *config.Config
	files []agent.File
	next  chan agentRun
	tel   *telemetry.Telemetry
	state *agentState
}

// run keeps the files until ctx ends. For another configuration it ends as it does at the
// end of the process, which says nothing about the programs, and begins anew.
func (r *agentRun) run(ctx context.Context) error {
	for {
		life, end := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- keepFiles(life, r.cfg, r.files, r.tel, r.state) }()
		select {
		case err := <-done:
			end()
			return err
		case to := <-r.next:
			end()
			if err := <-done; err != nil {
				return err
			}
			r.cfg, r.files = to.cfg, to.files
		}
	}
}

// apply returns what has the agent go on with another configuration, once the files of
// that one, which was read from path, are known to be right. before are those that it
// begins with.
func (r *agentRun) apply(before []agent.File, path string) func(context.Context, *config.Config) error {
	return func(ctx context.Context, cfg *config.Config) error {
		keep, err := files(cfg, r.tel.Logger)
		if err == nil && len(keep) == 0 {
			err = fmt.Errorf("%s has no agent.files", path)
		}
		if err != nil {
			return err
		}
		sameProcesses(before, keep)
		select {
		case r.next <- agentRun{cfg: cfg, files: keep}:
			before = keep
		case <-ctx.Done():
		}
		return nil
	}
}

// sameProcesses takes over when the number of a process was written down, where it is
// that of before: another process may have the number by now.
func sameProcesses(before, after []agent.File) {
	written := map[string]agent.Signal{}
	for _, f := range before {
		if s, ok := f.Reload.(agent.Signal); ok && s.PIDFile == "" {
			written[f.Path] = s
		}
	}
	for i, f := range after {
		if s, ok := f.Reload.(agent.Signal); ok && s.PIDFile == "" && written[f.Path].PID == s.PID {
			s.Written = written[f.Path].Written
			after[i].Reload = s
		}
	}
}
