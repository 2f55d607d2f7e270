//go:build unix

package agent

import (
	"slices"

	"github.com/tradepulse/rotator/internal/process"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// maxFormer is how many processes before the program are told apart by their versions.
// With more of them any version counts as in use.
const maxFormer = 4

// former is a process that the pid file named before the program, and that lives. It is
// not told of new versions any more.
type former struct {
	process *events.Process
	// has are the versions that it may use, "" for any.
	has [2]secret.VersionID
}

// observe looks for the program, and reports whether the one that was seen before
// has ended and no other one has begun. The caller holds mu.
func (b *bus) observe() (ended bool) {
	now := b.told()
	if pid := b.program(); pid != 0 {
		if p, err := process.Of(pid); err == nil && (b.process == nil || *b.process != *p) {
			b.replaceBy(p, now)
		}
	}
	b.has = now
	kept := slices.DeleteFunc(slices.Clone(b.former), func(f former) bool { return process.Ended(f.process) })
	b.unsaid = b.unsaid || len(kept) != len(b.former)
	b.former = kept
	return b.process != nil && process.Ended(b.process)
}

// replaceBy makes p the program. The one before stays on record while it lives.
func (b *bus) replaceBy(p *events.Process, now secret.VersionID) {
	if b.process != nil && !process.Ended(b.process) {
		b.former = append(b.former, former{process: b.process, has: [2]secret.VersionID{b.has, now}})
		b.unsaid = true
	}
	b.process = p
}

// told returns the version that the program was told of last, "" if that is not known.
func (b *bus) told() secret.VersionID {
	switch {
	case b.wait != nil:
		return b.wait.VersionID
	case b.last != nil:
		return b.last.VersionID
	default:
		return ""
	}
}

// addFormer adds what processes before the program use to a record.
func (b *bus) addFormer(u *events.Use) {
	for _, f := range b.former {
		for _, v := range f.has {
			switch {
			case u.Accepts == nil:
				return
			case v == "", len(b.former) > maxFormer:
				u.Accepts = nil
			case v != u.VersionID && !slices.Contains(u.Accepts, v):
				u.Accepts = append(slices.Clone(u.Accepts), v)
			}
		}
	}
}
