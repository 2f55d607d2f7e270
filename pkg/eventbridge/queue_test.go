package eventbridge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/eventbridge"
)

// hearing is a queue with a dead-letter queue, polled.
type hearing struct {
	*site
	dead string // :: URL
	l    *recorder
	logs *logs
}

func newHearing(t *testing.T) *hearing {
	t.Helper()
	s := &site{t: t, sqs: queues(serverstest.StartMoto(t).URL)}
	h := &hearing{site: s, l: &recorder{}, logs: &logs{}}
	var deadARN string
	h.dead, deadARN = s.makeQueue("dead", nil)
	s.queue, _ = s.makeQueue("hints", map[string]string{
		"VisibilityTimeout": "1", "RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"3"}`, deadARN),
	})
	return h
}

// run polls until the test ends.
func (h *hearing) run() {
	h.t.Helper()
	log := slog.New(slog.NewJSONHandler(h.logs, nil))
	q, err := eventbridge.NewQueue(h.sqs, eventbridge.QueueConfig{
		URL: h.queue, Handle: newIntake(h.t, h.l, log).Handle, Wait: time.Second, Pause: time.Millisecond, Logger: log,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("run: %v", err)
		}
	})
}

func (h *hearing) send(bodies ...string) {
	h.t.Helper()
	for _, b := range bodies {
		if _, err := h.sqs.SendMessage(h.t.Context(), &sqs.SendMessageInput{QueueUrl: &h.queue, MessageBody: &b}); err != nil {
			h.t.Fatal(err)
		}
	}
}

// left returns how many messages a queue has, in hand or not.
func (h *hearing) left(queue string) (n int) {
	h.t.Helper()
	out, err := h.sqs.GetQueueAttributes(h.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: []sqstypes.QueueAttributeName{
		"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible",
	}})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, v := range out.Attributes {
		var i int
		if _, err := fmt.Sscan(v, &i); err != nil {
			h.t.Fatal(err)
		}
		n += i
	}
	return n
}

func (h *hearing) empty() {
	h.t.Helper()
	waittest.Until(h.t, "the queue is empty", func() error {
		if n := h.left(h.queue); n != 0 {
			return fmt.Errorf("%d messages are left", n)
		}
		return nil
	})
}

func TestMessagesThatAreDoneOrHopelessAreDeleted(t *testing.T) {
	t.Parallel()
	h := newHearing(t)
	const canary = "canary-4711"
	h.send(labelMoved, canary, `{"source":"`+canary+`"}`, apiCall("DescribeSecret", `{"secretId":"billing-key"}`, `null`),
		apiCall("PutSecretValue", `{"secretId":"billing-key","secretString":"`+canary+`"}`, `null`), strings.Repeat(canary, 20_000))
	h.run()
	h.empty()
	if got := h.l.reconciled(); len(got) != 3 {
		t.Errorf("reconciled %v, want each of three once", got)
	}
	if n := h.left(h.dead); n != 0 {
		t.Errorf("%d messages in the dead-letter queue, want none", n)
	}
	if strings.Contains(h.logs.String(), canary) {
		t.Errorf("the log holds what was sent: %s", h.logs)
	}
}

func TestAMessageIsLeftToTheQueueWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	h := newHearing(t)
	h.l.fail = errors.New("store unavailable")
	h.send(labelMoved)
	h.run()
	waittest.Until(t, "both messages are handled", func() error {
		if n := len(h.l.reconciled()); n < 4 {
			return fmt.Errorf("reconciled %d times, want two messages' worth", n)
		}
		return nil
	})
	h.l.mu.Lock()
	h.l.fail = nil
	h.l.mu.Unlock()
	h.empty()
	if n := h.left(h.dead); n != 0 {
		t.Errorf("%d messages in the dead-letter queue, want none: it succeeded in the end", n)
	}
}

func TestAHandlerThatPanicsGetsTheMessageAgain(t *testing.T) {
	t.Parallel()
	h := newHearing(t)
	const canary = "canary-4711"
	var calls atomic.Int64
	q, err := eventbridge.NewQueue(h.sqs, eventbridge.QueueConfig{
		URL: h.queue, Wait: time.Second, Logger: slog.New(slog.NewJSONHandler(h.logs, nil)), Handle: func(context.Context, []byte) error {
			if calls.Add(1) == 1 {
				panic(canary)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.send(labelMoved)
	waittest.Until(t, "the handler is called again", func() error {
		if err := q.Poll(t.Context()); err != nil {
			return err
		}
		if n := calls.Load(); n != 2 {
			return fmt.Errorf("the handler was called %d times, want twice", n)
		}
		return nil
	})
	h.empty()
	if err := h.logs.has(`"level":"ERROR","msg":"eventbridge.handler.panic"`); err != nil || strings.Contains(h.logs.String(), canary) {
		t.Errorf("the log does not say what happened, or shows what it panicked with: %v", err)
	}
}

func TestTheQueueItselfGivesUp(t *testing.T) {
	t.Parallel()
	h := newHearing(t)
	h.l.fail = errors.New("store unavailable")
	h.send(apiCall("PutSecretValue", `{"secretId":"billing-key"}`, `null`))
	h.run()
	waittest.Until(t, "the message is in the dead-letter queue", func() error {
		if n := h.left(h.dead); n != 1 {
			return fmt.Errorf("%d messages in the dead-letter queue, want 1", n)
		}
		return nil
	})
	if got := h.l.reconciled(); len(got) != 3 {
		t.Errorf("reconciled %d times, want the 3 that the queue allows", len(got))
	}
}

func TestPollingOutlivesTheQueue(t *testing.T) {
	t.Parallel()
	h := newHearing(t)
	h.run()
	if _, err := h.sqs.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &h.queue}); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the failure of the queue is logged", func() error { return h.logs.has(`"level":"ERROR","msg":"eventbridge.queue_failed"`) })
	h.queue, _ = h.makeQueue("hints", nil)
	h.send(labelMoved)
	h.empty()
}

func TestMessagesInHandAreFinished(t *testing.T) {
	t.Parallel()
	h := newHearing(t)
	began, end := make(chan struct{}), make(chan struct{})
	q, err := eventbridge.NewQueue(h.sqs, eventbridge.QueueConfig{URL: h.queue, Wait: time.Second, Logger: slog.New(slog.DiscardHandler), Handle: func(ctx context.Context, _ []byte) error {
		close(began)
		<-end
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	h.send(labelMoved)
	<-began
	cancel()
	close(end)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := h.left(h.queue); n != 0 {
		t.Errorf("%d messages are left, want the one in hand done", n)
	}
}
