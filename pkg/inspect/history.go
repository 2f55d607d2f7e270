package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// LogEntry is one event of the log. Its JSON form is a line of rotator events --json.
type LogEntry struct {
	Seq    uint64      `json:"seq"`
	At     time.Time   `json:"at"`
	ID     string      `json:"id"`
	Type   events.Type `json:"type"`
	Source string      `json:"source"`
	Data   events.Data `json:"data"`
}

// NewLogEntry returns the entry of an announcement.
func NewLogEntry(a events.Announcement) LogEntry {
	return LogEntry{Seq: a.Seq, At: a.At.UTC(), ID: a.Event.ID, Type: a.Event.Type, Source: a.Event.Source, Data: a.Event.Data}
}

// String returns the entry as one line: time, type, secret, and what happened.
func (e LogEntry) String() string {
	return fmt.Sprintf("%s  %s  %s  %s", stamp(e.At), e.Type, e.Data.SecretID, e.What())
}

// What says what happened, in one line.
func (e LogEntry) What() string {
	d := e.Data
	switch {
	case e.Type == events.TypeRollout:
		return RolloutLine(d)
	case e.Type == events.TypeRotated && d.PreviousVersionID == "":
		return fmt.Sprintf("version %s is the first (%s)", d.VersionID, d.Reason)
	case e.Type == events.TypeRotated:
		return fmt.Sprintf("version %s replaces %s (%s)", d.VersionID, d.PreviousVersionID, d.Reason)
	case e.Type == events.TypeStaged:
		return fmt.Sprintf("version %s is staged for verification", d.VersionID)
	case d.Failure != nil:
		return fmt.Sprintf("the rotation of version %s was given up at %s: %s (%s)", d.VersionID, d.Failure.Step, d.Failure.Message, d.Failure.Code)
	case d.Contradiction != nil:
		message, remedy := describe(d.PreviousVersionID, *d.Contradiction)
		return message + "; " + remedy
	case d.Verification != nil:
		return verifiedLine(d)
	case d.Discovered != nil:
		return "it is discovered in the store " + d.Store
	default:
		return string(d.Reason)
	}
}

// Past is one thing that happened to a secret: a version that the store lists, an event
// of the log, a receipt of a retirement, or an act of a person. One of the last four
// fields is set.
type Past struct {
	At      time.Time       `json:"at"`
	Version *PastVersion    `json:"version,omitempty"`
	Event   *LogEntry       `json:"event,omitempty"`
	Receipt *events.Receipt `json:"receipt,omitempty"`
	Act     *events.Act     `json:"act,omitempty"`
}

// PastVersion is a version that the store lists.
type PastVersion struct {
	ID    secret.VersionID `json:"version_id"`
	Stage secret.Stage     `json:"stage,omitempty"`
}

// History puts what is known of the past of a secret in order, the oldest first.
func History(m secret.Metadata, log []LogEntry, receipts []events.Receipt, acts []events.Act) []Past {
	out := make([]Past, 0, len(m.Versions)+len(log)+len(receipts)+len(acts))
	for _, v := range m.Versions {
		out = append(out, Past{At: v.CreatedAt.UTC(), Version: &PastVersion{v.ID, v.Stage}})
	}
	for i := range acts {
		out = append(out, Past{At: acts[i].At.UTC(), Act: &acts[i]})
	}
	for i := range log {
		out = append(out, Past{At: log[i].At, Event: &log[i]})
	}
	for i := range receipts {
		out = append(out, Past{At: receipts[i].DecidedAt.UTC(), Receipt: &receipts[i]})
	}
	slices.SortStableFunc(out, func(a, b Past) int { return a.At.Compare(b.At) })
	return out
}

// String returns what happened as one line.
func (p Past) String() string {
	var kind, what string
	switch {
	case p.Version != nil:
		kind, what = "version", fmt.Sprintf("%s was written, and is %s", p.Version.ID, cmp.Or(string(p.Version.Stage), "retired"))
	case p.Act != nil:
		kind, what = "act", actLine(*p.Act)
	case p.Receipt != nil:
		kind, what = "receipt", strings.TrimPrefix(summary(*p.Receipt), string(p.Receipt.SecretID)+": ")
	case p.Event != nil:
		kind, what = strings.TrimPrefix(string(p.Event.Type), "secret."), p.Event.What()
	}
	return fmt.Sprintf("%s  %-16s  %s", stamp(p.At), kind, what)
}

// actLine says who did what, and why.
func actLine(a events.Act) string {
	out := fmt.Sprintf("%s: %s", a.By, a.Kind)
	if a.VersionID != "" {
		out += " of version " + string(a.VersionID)
	}
	if a.Reason != "" {
		out += ", because " + a.Reason
	}
	if a.Ticket != "" {
		out += " (" + a.Ticket + ")"
	}
	if a.Freeze != "" {
		out += ", during the freeze " + a.Freeze
	}
	return out
}
