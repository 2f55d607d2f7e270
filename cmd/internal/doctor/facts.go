package doctor

import (
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/running"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Facts are what was read of a system.
type Facts struct { //nolint:recvcheck // bus fills it in
	// Now is the time of this machine.
	Now time.Time
	// Bus is why the bus was not reached. The facts about it are then zero.
	Bus error
	// Unread is what could not be read besides.
	Unread  []Unread
	Secrets []inspect.Secret
	// Features are those of the stores, by name.
	Features map[string]store.Features
	// Fleet are the users of all secrets.
	Fleet events.Fleet
	// Timers are the secrets that have a timer.
	Timers    []secret.ID
	Consumers []events.ConsumerState
	Streams   []events.StreamHealth
	// Uses is the name of the stream of uses.
	Uses    string
	Account events.AccountUse
	// Key is why other programs do not take orders of this one.
	Key error
	// Swept is how long ago the last sweep ended, nil where that is not known.
	// SweepEvery is how often one begins.
	Swept      *time.Duration
	SweepEvery time.Duration
	// Idle is for how long a consumer that no program serves has to be idle to count
	// as orphaned.
	Idle time.Duration
	// Listed is what the targets have.
	Listed []Listed
	// Config is the configuration, and Nodes what runs.
	Config *config.Config
	Nodes  []running.Answer
}

// Unread is something that could not be read, and why.
type Unread struct {
	What string
	Err  error
}

// Finding is one thing that is wrong. Its Remedy is a command.
type Finding struct {
	secret.Finding

	// Fix is the remedy that [Apply] applies, nil where a person has to decide.
	Fix *Fix `json:"fix,omitempty"`
	// Fixed is true after it was applied, and FixError why it could not be.
	Fixed    bool   `json:"fixed,omitempty"`
	FixError string `json:"fix_error,omitempty"`
}

// Fix is a remedy that is safe: it takes nothing away that a program or a person needs.
type Fix struct {
	Kind FixKind `json:"kind"`
	// Stream and Consumer are of FixConsumer, SecretID and VersionID of FixPending.
	Stream    string           `json:"stream,omitempty"`
	Consumer  string           `json:"consumer,omitempty"`
	SecretID  secret.ID        `json:"secret_id,omitempty"`
	VersionID secret.VersionID `json:"version_id,omitempty"`
	// Token is that of the version: in Vault one that replaces it has the same id.
	Token secret.Token `json:"-"`
}

// FixKind says what a [Fix] does.
type FixKind string

// The kinds.
const (
	// FixSweep asks for a sweep, which sets and moves timers and announces versions.
	FixSweep FixKind = "sweep"
	// FixConsumer deletes an orphaned consumer.
	FixConsumer FixKind = "delete_consumer"
	// FixPending withdraws a pending version whose rotation was given up.
	FixPending FixKind = "withdraw_pending"
)

// The codes of findings. Those of [inspect], of the scheduler's reasons and of tags come
// on top of them.
const (
	CodeBusUnreachable  secret.FindingCode = "bus_unreachable"
	CodeBusPermission   secret.FindingCode = "bus_permission"
	CodeStorePermission secret.FindingCode = "store_permission"
	CodeUnread          secret.FindingCode = "unread"
	CodeStream          secret.FindingCode = "stream_broken"
	CodeReplica         secret.FindingCode = "replica_missing"
	CodeQuota           secret.FindingCode = "quota"
	CodeClock           secret.FindingCode = "clock_skew"
	CodeNotServed       secret.FindingCode = "role_not_running"
	CodeNoConsumer      secret.FindingCode = "consumer_missing"
	CodeOrphaned        secret.FindingCode = "consumer_orphaned"
	CodeNoSweep         secret.FindingCode = "no_sweep"
	CodeOwnKey          secret.FindingCode = "own_key_untrusted"
	CodeUntrusted       secret.FindingCode = "key_untrusted"
	CodeConfig          secret.FindingCode = "config_differs"
	CodeFailing         secret.FindingCode = "rotation_failing"
	CodeStalled         secret.FindingCode = "rollout_stalled"
	CodePendingStuck    secret.FindingCode = "pending_stuck"
	CodeTimerUnknown    secret.FindingCode = "timer_unknown"
	CodeFlood           secret.FindingCode = "expiry_flood"
	CodeNoOwner         secret.FindingCode = "no_owner"
	CodeNoSubscriber    secret.FindingCode = "no_subscriber"
	CodeSilent          secret.FindingCode = "instance_silent"
	CodeUnlisted        secret.FindingCode = "instance_unlisted"
	CodeAbsent          secret.FindingCode = "service_not_running"
	CodeOldClient       secret.FindingCode = "client_too_old"
)
