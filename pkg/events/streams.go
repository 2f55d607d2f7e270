package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// minServer is the oldest server that has repeating message schedules.
var minServer = [2]int{2, 14}

// StreamOptions say how the streams are kept.
type StreamOptions struct {
	// Replicas is how many servers hold each stream. 0 means 1.
	Replicas int
	// Memory keeps the streams in memory: for tests and benchmarks.
	Memory bool
	// History is how many announcements of each type are kept per secret. 0
	// means 64.
	History int
	// LogRecords is how many messages the log of announcements and the stream of
	// notifications hold each. The oldest ones make room for further ones: a secret that
	// lost its last announcement is announced again. 0 means 10,000,000.
	LogRecords int
	// UsesRecords is how many records the stream of uses holds: one per incarnation
	// and one per secret that it uses. Further ones are refused. 0 means 1,000,000.
	UsesRecords int
	// ReportRecords is how many instances with an older client can report. Further ones
	// are refused, and nothing is retired then. 0 means 100,000.
	ReportRecords int
	// RecordRetention is how long receipts of retirements are kept. 0 means for ever.
	// RecordBytes bounds all records in bytes, 0 for no bound: at it further ones are
	// refused, and nothing is retired.
	RecordRetention time.Duration
	RecordBytes     int64
	// AckWait is how long a process may hold a message without a sign of life
	// before it is handed to another. 0 means 30 s.
	AckWait time.Duration
	// EventBridge adds the durable consumer of what is forwarded to EventBridge.
	// It begins with the last event of each type about every secret.
	EventBridge bool
}

// defaultLogRecords is enough for the last of each of the five types about 2,000,000
// secrets, and for the whole history of 30,000; some 5 GB.
const defaultLogRecords = 10_000_000

// defaultUsesRecords is enough for 19,000 instances with 50 secrets each.
const defaultUsesRecords = 1_000_000

// defaultReportRecords is a bound in messages, because a server reserves the room of a
// bound in bytes: a small disk has less than that.
const defaultReportRecords = 100_000

// dedupWindow is how long the log remembers event ids. Exactly-once does not
// rest on it: see PublishAfter.
const dedupWindow = 2 * time.Minute

// StreamConfigs returns the streams of the bus, as docs/asyncapi.yaml lists
// them.
func (n Names) StreamConfigs(o StreamOptions) []jetstream.StreamConfig {
	storage := jetstream.FileStorage
	if o.Memory {
		storage = jetstream.MemoryStorage
	}
	replicas, logRecords := cmp.Or(o.Replicas, 1), int64(cmp.Or(o.LogRecords, defaultLogRecords))
	configs := []jetstream.StreamConfig{
		{
			Name: n.RotationStream(), Description: "timers, due secrets, retirements and sweeps",
			Subjects:  []string{n.prefix + "timer.>", n.prefix + "sweep.>", n.prefix + string(TypeNearExpiry) + ".>", n.prefix + string(TypeRetire) + ".>"},
			Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardOld, Storage: storage, Replicas: replicas,
			AllowMsgSchedules: true, AllowMsgTTL: true, AllowDirect: true, AllowRollup: true,
		},
		{
			Name: n.RotatedStream(), Description: "what happened to every secret",
			Subjects: []string{n.prefix + string(TypeStaged) + ".>", n.prefix + string(TypeRotated) + ".>",
				n.prefix + string(TypeRotationFailed) + ".>", n.prefix + string(TypeRollout) + ".>", n.prefix + string(TypeDiscovered) + ".>",
				n.prefix + string(TypeProofContradicted) + ".>", n.prefix + string(TypeVerified) + ".>"},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: storage, Replicas: replicas,
			MaxMsgsPerSubject: int64(cmp.Or(o.History, 64)), MaxMsgs: logRecords, Duplicates: dedupWindow, AllowDirect: true,
		},
		{
			Name: n.NotifyStream(), Description: "the last notification per service and secret",
			Subjects:  []string{n.prefix + "notify.>"},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: storage, Replicas: replicas,
			MaxMsgsPerSubject: 1, MaxMsgs: logRecords, AllowDirect: true,
			RePublish: &jetstream.RePublish{Source: n.prefix + "notify.>", Destination: n.prefix + "live.>"},
		},
		{
			// No header of a publisher has an effect on the record of another: no
			// rollup, no TTL, no schedule, and at its bound the stream refuses.
			Name: n.UsesStream(), Description: "the last presence of every incarnation, and what it does with each secret",
			Subjects:  []string{n.Presence("*", "*", "*"), n.Use("*", "*", "*")},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Storage: storage, Replicas: replicas,
			MaxMsgsPerSubject: 1, MaxMsgs: int64(cmp.Or(o.UsesRecords, defaultUsesRecords)), MaxMsgSize: MaxRecordSize + maxRecordHeaders, AllowDirect: true,
		},
		{
			// A receipt has a TTL if a retention is configured. Everything else has none.
			Name: n.RecordStream(), Description: "receipts of retirements, that no users were lost with an earlier stream of uses, and which instances people had forgotten",
			Subjects:  []string{n.prefix + "record.>"},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Storage: storage, Replicas: replicas,
			DenyDelete: true, DenyPurge: true, AllowMsgTTL: true, MaxBytes: cmp.Or(o.RecordBytes, -1),
		},
		{
			Name: n.ReportsStream(), Description: "the version that every live instance with an older client runs",
			Subjects:  []string{n.Report("*", "*")},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Storage: storage, Replicas: replicas,
			MaxMsgsPerSubject: 1, MaxMsgs: int64(cmp.Or(o.ReportRecords, defaultReportRecords)), AllowMsgTTL: true, AllowDirect: true,
		},
		n.readersConfig(storage, replicas),
	}
	for i := range configs {
		configs[i].Subjects = append(configs[i].Subjects, n.Probe(configs[i].Name))
	}
	return configs
}

// ConsumerConfigs returns the durable consumers by the stream they are on.
func (n Names) ConsumerConfigs(o StreamOptions) map[string][]jetstream.ConsumerConfig {
	durable := func(name string, subjects ...string) jetstream.ConsumerConfig {
		for i, s := range subjects {
			subjects[i] = n.prefix + s
		}
		return jetstream.ConsumerConfig{
			Durable: name, FilterSubjects: subjects, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: cmp.Or(o.AckWait, 30*time.Second), MaxDeliver: -1, MaxAckPending: 10_000,
		}
	}
	out := map[string][]jetstream.ConsumerConfig{
		n.RotationStream(): {
			durable(WorkerConsumer, string(TypeNearExpiry)+".*", string(TypeRetire)+".*"),
			durable(EmergencyConsumer, string(TypeNearExpiry)+"."+emergencyLane+".*", string(TypeRetire)+"."+emergencyLane+".*"),
			durable(SchedulerConsumer, string(TypeSweep)),
		},
		n.RotatedStream(): {durable(NotifierConsumer, string(TypeRotated)+".>", string(TypeStaged)+".>")},
	}
	if o.EventBridge {
		c := durable(EventBridgeConsumer, string(TypeRotated)+".>", string(TypeRotationFailed)+".>", string(TypeRollout)+".>")
		c.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
		out[n.RotatedStream()] = append(out[n.RotatedStream()], c)
	}
	return out
}

// EnsureStreams creates the streams and the durable consumers, or brings them
// to what this version of the program needs. It confirms the stream of uses if none
// was ever confirmed, see [Confirmation]. Several processes may do so at
// once. The error wraps [ErrServerTooOld] when the server cannot hold timers.
func (b *Bus) EnsureStreams(ctx context.Context, o StreamOptions) error {
	if err := checkServer(b.nc.ConnectedServerVersion()); err != nil {
		return err
	}
	consumers := b.cfg.Names.ConsumerConfigs(o)
	for _, cfg := range b.cfg.Names.StreamConfigs(o) {
		s, err := b.place(ctx, cfg)
		if err != nil {
			return fmt.Errorf("stream %s: %w", cfg.Name, err)
		}
		b.streams.Store(cfg.Name, s)
		for _, c := range consumers[cfg.Name] {
			if _, err := s.CreateOrUpdateConsumer(ctx, c); err != nil {
				return fmt.Errorf("consumer %s on stream %s: %w", c.Durable, cfg.Name, err)
			}
		}
	}
	b.ensured.Store(&o)
	uses, err := b.stream(ctx, b.cfg.Names.UsesStream())
	if err == nil {
		err = b.confirmFirst(ctx, uses)
	}
	return wrap("confirm the first stream of uses", err)
}

// place creates a stream or brings it up to date. A cluster that has just started
// refuses replicas until its servers have heard from each other: place tries again
// for placeFor.
func (b *Bus) place(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	until := time.Now().Add(placeFor)
	for {
		s, err := b.js.CreateOrUpdateStream(ctx, cfg)
		var refused *jetstream.APIError
		if !errors.As(err, &refused) || refused.ErrorCode != codeNoPeers || time.Now().After(until) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(placePause):
		}
	}
}

const (
	placeFor   = 30 * time.Second
	placePause = 250 * time.Millisecond
	// codeNoPeers is JSClusterNoPeersErrF of nats-server: no suitable peers for placement.
	codeNoPeers jetstream.ErrorCode = 10005
)

// checkServer returns an error that wraps [ErrServerTooOld] unless a server of
// the given version has what the bus needs.
func checkServer(version string) error {
	parts := strings.SplitN(version, ".", 3)
	var have [2]int
	for i := range have {
		n, err := strconv.Atoi(append(parts, "", "")[i])
		if err != nil {
			return fmt.Errorf("%w: it calls itself %q, 2.14 or later is needed", ErrServerTooOld, version)
		}
		have[i] = n
	}
	if have[0] < minServer[0] || have[0] == minServer[0] && have[1] < minServer[1] {
		return fmt.Errorf("%w: it is %s, message schedules need 2.14 or later", ErrServerTooOld, version)
	}
	return nil
}

// stream returns a handle on a stream, looked up once.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if s, ok := b.streams.Load(name); ok {
		return s.(jetstream.Stream), nil //nolint:forcetypeassert // nothing else is put there
	}
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	b.streams.Store(name, s)
	return s, nil
}

// restore brings back streams that were deleted behind our back, if this Bus
// made them.
func (b *Bus) restore(ctx context.Context, cause error) error {
	o := b.ensured.Load()
	gone := errors.Is(cause, jetstream.ErrStreamNotFound) || errors.Is(cause, jetstream.ErrConsumerNotFound) || errors.Is(cause, jetstream.ErrConsumerDeleted)
	if o == nil || !gone {
		return cause
	}
	return b.EnsureStreams(ctx, *o)
}
