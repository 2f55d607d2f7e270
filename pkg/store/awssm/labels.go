package awssm

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// The staging labels of Secrets Manager.
const (
	labelPending  = "AWSPENDING"
	labelCurrent  = "AWSCURRENT"
	labelPrevious = "AWSPREVIOUS"
	// labelUnpromoted marks a version that AWS made current because it was the
	// first, see the package documentation.
	labelUnpromoted = "ROTATOR_UNPROMOTED"
	// labelRetiring and the version's id are the label of a version that is to be
	// revoked. A label is on one version at a time, so each has its own.
	labelRetiring = "ROTATOR_RETIRING_"
)

// retiring returns the label of a version that is to be revoked.
func retiring(v secret.VersionID) string { return labelRetiring + string(v) }

// labels are the staging labels of a secret at one moment. They are never
// changed in place.
type labels map[secret.VersionID][]string // :: version → its labels

// newLabels reads the labels as Secrets Manager gives them. Versions without a
// label are left out, as AWS documents it.
func newLabels(in map[string][]string) labels {
	l := make(labels, len(in))
	for v, names := range in {
		if len(names) > 0 {
			l[secret.VersionID(v)] = names
		}
	}
	return l
}

func (l labels) has(v secret.VersionID, label string) bool { return slices.Contains(l[v], label) }

// holder returns the version that the label is on, or "".
func (l labels) holder(label string) secret.VersionID {
	for v := range l {
		if l.has(v, label) {
			return v
		}
	}
	return ""
}

// stage returns what the labels of v mean.
func (l labels) stage(v secret.VersionID) secret.Stage {
	first := l.has(v, labelUnpromoted)
	switch {
	case l.has(v, labelPending) && first:
		return secret.StagePending
	case l.has(v, labelCurrent) && !first:
		return secret.StageCurrent
	case l.has(v, labelPending):
		return secret.StagePending
	case l.has(v, labelPrevious):
		return secret.StagePrevious
	default:
		return secret.StageRetired
	}
}

// at returns the version in the stage, or "".
func (l labels) at(stage secret.Stage) secret.VersionID {
	for v := range l {
		if l.stage(v) == stage {
			return v
		}
	}
	return ""
}

// versions returns the versions in the order of their ids. One that only a
// label of another program keeps counts as kept on purpose.
func (l labels) versions() []secret.Version {
	out := make([]secret.Version, 0, len(l))
	for _, id := range slices.Sorted(maps.Keys(l)) {
		stage := l.stage(id)
		out = append(out, secret.Version{ID: id, Token: secret.Token(id), Stage: stage, Kept: stage == secret.StageRetired && !l.has(id, retiring(id))})
	}
	return out
}

// with returns the labels after a version was written with the given ones,
// which then are on no other version.
func (l labels) with(v secret.VersionID, names []string) labels {
	out := make(labels, len(l)+1)
	for id, had := range l {
		if id == v {
			continue
		}
		if rest := slices.DeleteFunc(slices.Clone(had), func(n string) bool { return slices.Contains(names, n) }); len(rest) > 0 {
			out[id] = rest
		}
	}
	out[v] = names
	return out
}

// mayPut returns why w must not be written. Of a version that has w's token
// already, AWS compares the value.
func (l labels) mayPut(w store.Write) error {
	if _, ok := l[secret.VersionID(w.Token)]; ok {
		return nil
	}
	if cur := l.at(secret.StageCurrent); cur != w.From {
		return fmt.Errorf("%w: the current version is %q, not %q", store.ErrConflict, cur, w.From)
	}
	if p := l.at(secret.StagePending); p != "" && p != w.Replace {
		return fmt.Errorf("%w: %s", store.ErrPending, p)
	}
	return nil
}

// mayPromote reports whether to is current already, and if not, why it must
// not become current.
func (l labels) mayPromote(from, to secret.VersionID) (done bool, err error) {
	cur, stage := l.at(secret.StageCurrent), l.stage(to)
	switch {
	case l[to] == nil:
		return false, fmt.Errorf("%w: no version %s with a staging label", store.ErrNotFound, to)
	case cur == to:
		return true, nil
	case cur != from:
		return false, fmt.Errorf("%w: the current version is %q, not %q", store.ErrConflict, cur, from)
	case stage != secret.StagePending:
		return false, fmt.Errorf("%w: %s is %s, not pending", store.ErrConflict, to, stage)
	default:
		return false, nil
	}
}

// surplus returns the labels that have to go from v to retire it. What AWS
// made current as the first version keeps that label, and with it the mark
// that says so.
func (l labels) surplus(v secret.VersionID) ([]string, error) {
	if l.stage(v) == secret.StageCurrent {
		return nil, fmt.Errorf("%w: %s is current", store.ErrConflict, v)
	}
	mark := labelUnpromoted
	if l.has(v, labelCurrent) {
		mark = ""
	}
	var out []string
	for _, name := range l[v] {
		if name == labelPending || name == labelPrevious || name == mark || name == retiring(v) {
			out = append(out, name)
		}
	}
	return out, nil
}
