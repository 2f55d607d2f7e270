package inspect

import (
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// PlanFormat is the [Plan.Format] that this program writes and applies.
const PlanFormat = 1

// Plan is what will happen to secrets by itself, as seen at one moment. Its JSON form
// is the output of rotator plan and what rotator apply takes.
type Plan struct {
	Format int `json:"format_version"`
	// MadeAt is when the secrets were read, and Within how far the plan looks ahead, in
	// seconds: what happens later is in Secrets and is not applied.
	MadeAt time.Time `json:"made_at"`
	Within int       `json:"within_seconds"`
	// Bus says why the bus was not reached, "" if it was. Without the bus nothing is
	// known of instances, timers and rollouts.
	Bus     string    `json:"bus_not_reached,omitempty"`
	Secrets []Planned `json:"secrets"`
	// Drift is where the stores, the bus and the tags differ from what they should be.
	// It is apart from what happens to the secrets.
	Drift []secret.Finding `json:"drift"`
}

// Action is what will happen to a secret by itself.
type Action string

// The actions.
const (
	// ActionCreate: the first version is made.
	ActionCreate Action = "create"
	// ActionRotate: the version is replaced.
	ActionRotate Action = "rotate"
	// ActionNone: nothing happens; the reason says why.
	ActionNone Action = "none"
)

// Planned is what will happen to one secret.
type Planned struct {
	SecretID   secret.ID        `json:"secret_id"`
	Store      string           `json:"store"`
	Path       string           `json:"path"`
	Discovered bool             `json:"discovered"`
	Owner      string           `json:"owner,omitempty"`
	Purpose    string           `json:"purpose,omitempty"`
	Contact    string           `json:"contact,omitempty"`
	Action     Action           `json:"action"`
	Reason     scheduler.Reason `json:"reason"`
	// At is when, in UTC. Zero is never.
	At  time.Time `json:"at,omitzero"`
	Due *Due      `json:"due,omitempty"`
	// From, Incarnation and Pending are what the store has.
	From        secret.VersionID `json:"version_id,omitempty"`
	Incarnation string           `json:"incarnation,omitempty"`
	Pending     secret.VersionID `json:"pending_version_id,omitempty"`
	// Services are those that reload, and Instances how many live instances the records
	// have, nil without the bus.
	Services  []string `json:"services"`
	Instances *int     `json:"instances,omitempty"`
	// Grace, Floor and Wait are how long the version outlives its successor's promotion
	// at least: Wait is the longest of grace period, lease and floor.
	Grace int `json:"grace_seconds"`
	Floor int `json:"floor_seconds"`
	Wait  int `json:"wait_seconds"`
	// Freeze is the freeze that has the rotation wait until At.
	Freeze *Frozen `json:"freeze,omitempty"`
	// Failure is why the last try failed.
	Failure *events.Failure `json:"failure,omitempty"`
	Error   string          `json:"error,omitempty"`

	message string
}

// Due is what the time of a scheduled rotation is made of: At = end − margin − jitter −
// window. Life is the whole life of the version.
type Due struct {
	End    time.Time `json:"not_after"`
	Life   int       `json:"life_seconds"`
	Margin int       `json:"margin_seconds"`
	Jitter int       `json:"jitter_seconds"`
	Window int       `json:"window_seconds"`
	// Windows are the windows in which the rotation may start.
	Windows []string `json:"windows,omitempty"`
}

// NewPlan returns the plan that the given secrets make. bus is why the bus was not
// reached, nil if it was.
func NewPlan(now time.Time, within time.Duration, all []Secret, bus error) Plan {
	p := Plan{Format: PlanFormat, MadeAt: now.UTC(), Within: int(within / time.Second), Secrets: make([]Planned, 0, len(all)), Drift: []secret.Finding{}}
	if bus != nil {
		p.Bus = bus.Error()
	}
	for _, s := range all {
		p.Secrets = append(p.Secrets, s.planned(now, bus == nil))
		p.Drift = append(p.Drift, s.Drift(bus == nil)...)
	}
	return p
}

// Message says in a few words why the action is what it is.
func (s Planned) Message() string { return s.message }

// Soon returns the secrets to which something happens within the time of the plan.
func (p Plan) Soon() []Planned {
	end := p.MadeAt.Add(time.Duration(p.Within) * time.Second)
	var out []Planned
	for _, s := range p.Secrets {
		if s.Action != ActionNone && !s.At.After(end) {
			out = append(out, s)
		}
	}
	return out
}

// planned says what happens to a secret.
func (s Secret) planned(now time.Time, bus bool) Planned {
	p := Planned{
		SecretID: s.SecretID, Store: s.Store, Path: s.Path, Discovered: s.Discovered, Owner: s.Owner, Purpose: s.Purpose, Contact: s.Contact, Action: ActionNone, Reason: s.Reason,
		From: s.VersionID, Incarnation: s.Meta.Incarnation, Pending: s.Pending, Services: append([]string{}, s.Services...),
		Grace: seconds(s.Spec.GracePeriod()), Floor: seconds(s.Spec.FencePeriod()), Wait: s.WaitSeconds, Freeze: s.Freeze, Failure: s.Failure, Error: s.Error, message: s.Message,
	}
	if s.Error != "" {
		return p
	}
	if bus && s.SafeToRevoke != nil {
		n := s.SafeToRevoke.Instances[rollout.InstanceLive]
		p.Instances = &n
	}
	switch s.Reason {
	case scheduler.ReasonMissing:
		p.Action, p.At = ActionCreate, now.UTC()
		return p
	case scheduler.ReasonRetrying:
		p.Action, p.At = ActionRotate, s.TimerAt.UTC()
		return p
	case scheduler.ReasonScheduled, scheduler.ReasonNearExpiry, scheduler.ReasonExpired, scheduler.ReasonWaitingForWindow, scheduler.ReasonFrozen, scheduler.ReasonNoWindow, scheduler.ReasonRunning:
		p.Action, p.At, p.Due = ActionRotate, later(s.RotateAt, now).UTC(), s.due()
	default:
	}
	return p
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// due returns what the time of the rotation is made of, nil for a secret without one.
func (s Secret) due() *Due {
	d, err := s.Spec.Due(s.Meta)
	if d.At.IsZero() {
		return nil
	}
	out := Due{
		End: d.End.UTC(), Life: seconds(d.End.Sub(s.Meta.Current().CreatedAt)), Margin: seconds(d.Margin), Jitter: seconds(d.Jitter), Window: seconds(d.Window),
	}
	for _, w := range s.Spec.Windows {
		if err == nil {
			out.Windows = append(out.Windows, w.String())
		}
	}
	return &out
}

// The codes of drift.
const (
	// CodeNoTimer: no timer is set for a rotation that is scheduled.
	CodeNoTimer secret.FindingCode = "no_timer"
	// CodeTimerMoved: the timer fires at another time than the rotation is due.
	CodeTimerMoved secret.FindingCode = "timer_differs"
	// CodeNotAnnounced: services were not told of the current version.
	CodeNotAnnounced secret.FindingCode = "not_announced"
	// CodePolicy: another program wrote the current version, which breaks the policy.
	CodePolicy secret.FindingCode = "policy"
	// CodeUnchecked: another program wrote the current version, which was not checked.
	CodeUnchecked secret.FindingCode = "policy_unchecked"
	// CodePendingForeign: another program than a rotator left a pending version.
	CodePendingForeign secret.FindingCode = "pending_foreign"
	// CodeDeadline: a version is due to be replaced before the deadline of its rollout.
	CodeDeadline secret.FindingCode = "deadline"
)

// timerSlack is how far a timer may be from where the rotation is due: its time
// travels with less precision.
const timerSlack = 2 * time.Second

// Drift says where the store, the bus and the tags of a secret differ. bus is whether
// the bus was read.
func (s Secret) Drift(bus bool) []secret.Finding {
	out := slices.Clone(s.Findings)
	for i, f := range out {
		out[i].Subject, out[i].Message, out[i].Remedy = s.name(), f.String(), ""
	}
	add := func(code secret.FindingCode, message, remedy string) {
		out = append(out, secret.Finding{Code: code, Severity: secret.SeverityWarning, Subject: s.name(), Message: message, Remedy: remedy})
	}
	if s.Error != "" {
		return out
	}
	if life, ok := s.outlived(); ok {
		add(CodeDeadline, fmt.Sprintf("a version is replaced %s after it was made, before the deadline %s of its rollout", secret.FormatDuration(life), secret.FormatDuration(s.Spec.RolloutDeadline())),
			"lower deadline, or lengthen the lifetime")
	}
	if v, ok := s.Meta.At(secret.StagePending); ok && s.Spec.Strategy != secret.StrategyExternal && !s.Spec.MadeIn(s.Meta.Incarnation, s.VersionID, v.Token) {
		add(CodePendingForeign, fmt.Sprintf("version %s is pending, which no rotation of a rotator made", v.ID), "find out who wrote it; 'rotator put' leaves one while it runs")
	}
	switch {
	case !bus || s.VersionID == "":
	case s.Reason == scheduler.ReasonScheduled && !s.Armed:
		add(CodeNoTimer, "no timer is set", "the next sweep sets it, if a scheduler runs")
	case s.Reason == scheduler.ReasonScheduled && s.TimerAt.Sub(s.RotateAt).Abs() > timerSlack:
		add(CodeTimerMoved, fmt.Sprintf("the timer fires at %s, and the rotation is due at %s", stamp(s.TimerAt), stamp(s.RotateAt)), "the next sweep moves it; if it does not, the scheduler has another configuration")
	}
	if bus && s.VersionID != "" && s.Announced != s.VersionID {
		add(CodeNotAnnounced, fmt.Sprintf("version %s is current and was not announced", s.VersionID), "the next sweep announces it, if a scheduler runs")
	}
	return out
}

// outlived reports whether the current version is due to be replaced before the deadline
// of its rollout has passed, and returns after how long that is.
func (s Secret) outlived() (time.Duration, bool) {
	end := s.Spec.NotAfter(s.Meta, s.Meta.Current())
	if s.VersionID == "" || end.IsZero() || s.Spec.Disabled {
		return 0, false
	}
	life := end.Sub(s.Meta.Current().CreatedAt) - s.Spec.Margin()
	return life.Round(time.Second), life > 0 && s.Spec.RolloutDeadline() >= life
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// name returns what to call a secret: its ID, or its place.
func (s Secret) name() string {
	if s.SecretID != "" {
		return string(s.SecretID)
	}
	return s.Store + ":" + s.Path
}
