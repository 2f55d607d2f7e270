package eventbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/events"
)

// QueueAPI is the part of SQS that a [Queue] calls; *sqs.Client is one.
type QueueAPI interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessage(context.Context, *sqs.DeleteMessageInput, ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
}

var _ QueueAPI = (*sqs.Client)(nil)

// QueueConfig is what a [Queue] needs. URL and Handle are required.
type QueueConfig struct {
	// URL of the queue.
	URL string
	// Handle takes the body of a message, as [Intake.Handle] does.
	Handle func(ctx context.Context, body []byte) error
	// Wait is how long one request waits for messages, in whole seconds of which
	// SQS allows 20. 0 means 20 s.
	Wait time.Duration
	// Pause is the time to the next request after one that failed; it doubles up
	// to a minute. 0 means a second.
	Pause time.Duration
	// DrainTimeout is how long messages in hand may go on after the end was asked
	// for. 0 means 10 s.
	DrainTimeout time.Duration

	// Nil means slog.Default and the global provider.
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// withDefaults returns c with its zero values replaced.
func (c QueueConfig) withDefaults() QueueConfig {
	c.Wait, c.Pause, c.DrainTimeout = cmp.Or(c.Wait, 20*time.Second), cmp.Or(c.Pause, time.Second), cmp.Or(c.DrainTimeout, 10*time.Second)
	c.Logger, c.MeterProvider = telemetry.Logger(c.Logger), telemetry.Meters(c.MeterProvider)
	return c
}

// Queue polls one queue. Any number of processes may poll the same.
type Queue struct {
	api    QueueAPI
	cfg    QueueConfig
	late   metric.Float64Histogram
	panics metric.Int64Counter
}

// NewQueue returns a Queue.
func NewQueue(api QueueAPI, cfg QueueConfig) (*Queue, error) {
	cfg = cfg.withDefaults()
	if api == nil || cfg.URL == "" || cfg.Handle == nil {
		return nil, errors.New("eventbridge: a client, URL and Handle are required")
	}
	m := telemetry.New(cfg.MeterProvider.Meter(scope))
	q := &Queue{api: api, cfg: cfg}
	q.late = m.Histogram("rotator.eventbridge.queue.age", "s", "How long messages were in the queue before they were taken.")
	q.panics = m.Counter("rotator.eventbridge.queue.panics", "{message}", "Messages whose handler panicked; they come back.")
	if err := m.Err(); err != nil {
		return nil, fmt.Errorf("eventbridge: %w", err)
	}
	return q, nil
}

const (
	// maxMessages is the most that SQS hands out at once.
	maxMessages = 10
	// maxPollPause bounds the time between requests that fail.
	maxPollPause = time.Minute
	// callTimeout bounds a call of SQS, beyond the time that it waits.
	callTimeout = 15 * time.Second
)

// Run handles messages until ctx ends, and then finishes those in hand. A
// message that is done, or that never can be, is deleted; any other comes back
// when the queue's visibility timeout is over, and ends where the queue's own
// redrive policy says.
func (q *Queue) Run(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; {
		err := q.Poll(ctx)
		if err == nil || ctx.Err() != nil {
			failures = 0
			continue
		}
		failures++
		q.cfg.Logger.LogAttrs(ctx, slog.LevelError, "eventbridge.queue_failed", slog.Int("try", failures), slog.String("error", err.Error()))
		backoff.Pause(ctx, backoff.Delay(failures, q.cfg.Pause, maxPollPause))
	}
	return nil
}

// Poll asks for messages once and handles what comes. The error is that of the
// request; what becomes of a message is none.
func (q *Queue) Poll(ctx context.Context) error {
	asked, cancel := context.WithTimeout(ctx, q.cfg.Wait+callTimeout)
	defer cancel()
	out, err := q.api.ReceiveMessage(asked, &sqs.ReceiveMessageInput{
		QueueUrl: &q.cfg.URL, MaxNumberOfMessages: maxMessages, WaitTimeSeconds: int32(q.cfg.Wait / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameSentTimestamp},
	})
	if err != nil {
		return fmt.Errorf("eventbridge: receive messages: %w", err)
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(q.cfg.DrainTimeout, stop) })()
	var g errgroup.Group
	for _, m := range out.Messages {
		g.Go(func() error {
			q.message(work, m)
			return nil
		})
	}
	return g.Wait()
}

func (q *Queue) message(ctx context.Context, m types.Message) {
	if ms, err := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		q.late.Record(ctx, max(time.Since(time.UnixMilli(ms)).Seconds(), 0))
	}
	err := q.handle(ctx, []byte(aws.ToString(m.Body)))
	if err != nil && !events.IsPermanent(err) {
		return // said by the handler; it comes back
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := q.api.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &q.cfg.URL, ReceiptHandle: m.ReceiptHandle}); err != nil {
		q.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "eventbridge.not_deleted", slog.String("error", err.Error()))
	}
}

// handle calls the handler. One that panics has failed, so that the message comes
// back; what it panicked with is not shown, it might hold anything.
func (q *Queue) handle(ctx context.Context, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("eventbridge: the handler panicked with a %T", p)
			q.panics.Add(ctx, 1)
			q.cfg.Logger.LogAttrs(ctx, slog.LevelError, "eventbridge.handler.panic", slog.String("error", err.Error()), slog.String("stack", string(debug.Stack())))
		}
	}()
	return q.cfg.Handle(ctx, body)
}
