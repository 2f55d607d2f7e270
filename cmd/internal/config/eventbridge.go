package config

import (
	"errors"
	"net/url"
	"strings"

	"github.com/tradepulse/rotator/pkg/settings"
)

// EventBridge is about carrying announcements to an event bus of AWS, which the
// notifier does.
type EventBridge struct {
	// Name or ARN of the event bus, default for the account's own. Without it
	// nothing is carried.
	Bus string `json:"bus,omitzero" jsonschema:"minLength=1,maxLength=1600"`
	// Source of every entry, for the patterns of rules.
	Source string `json:"source,omitzero" default:"tradepulse.rotator" jsonschema:"format=event-source"`
	// How AWS is reached. The region is that of the event bus.
	AWS settings.AWS `json:"aws,omitzero"`
}

// AWSEvents is about hearing from Secrets Manager, which the scheduler does: an
// event is a reason to look at a secret at once instead of at the next sweep.
type AWSEvents struct {
	// URL of the SQS queue that an EventBridge rule fills. Without it nothing is
	// polled.
	Queue string `json:"queue,omitzero" jsonschema:"format=queue-url"`
	// How AWS is reached.
	AWS settings.AWS `json:"aws,omitzero"`
}

// On reports whether announcements are carried.
func (e EventBridge) On() bool { return e.Bus != "" }

// On reports whether a queue is polled.
func (e AWSEvents) On() bool { return e.Queue != "" }

func checkEventSource(s string) error {
	switch {
	case strings.HasPrefix(s, "aws."):
		return errors.New("AWS keeps sources that begin with aws. to itself")
	case s == "" || len(s) > 256 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("a source has 1 to 256 printable characters")
	}
	return nil
}

func checkQueueURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("it is not the URL of a queue")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("there is more than host and path in the URL")
	}
	return nil
}
