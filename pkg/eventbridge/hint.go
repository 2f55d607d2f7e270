package eventbridge

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// maxHint bounds what is decoded: no event of EventBridge is larger than a
// message of SQS was for most of its life.
const maxHint = 256 << 10

// maxName bounds the name or ARN of a secret.
const maxName = 2048

// SecretsManager is the source of the events that an [Intake] understands. A
// driver declares it in the EventSource of its features.
const SecretsManager = "aws.secretsmanager"

const (
	trailSource  = "secretsmanager.amazonaws.com"
	labelUpdated = "Secret Label Updated"
	viaTrail     = " via CloudTrail" // AWS API Call, AWS Service Event
)

// changes are the CloudTrail events after which a secret may have changed. Events
// of reads are left out, because reconciling a secret causes them.
var changes = []string{
	"CancelRotateSecret", "CreateSecret", "DeleteSecret", "PutSecretValue", "ReplicateSecretToRegions", "RestoreSecret", "RotateSecret",
	"TagResource", "UntagResource", "UpdateSecret", "UpdateSecretVersionStage",
	"RotationAbandoned", "RotationFailed", "RotationStarted", "RotationSucceeded",
	"CancelSecretVersionDelete", "EndSecretVersionDelete", "StartSecretVersionDelete",
}

// hint is what is taken from an event: what happened, for a metric, and which
// secrets it is about. Neither is believed.
type hint struct {
	event string
	names []string // :: names and ARNs of secrets, as they were written
}

// paths returns the paths that its names may stand for, each once.
func (h hint) paths() []string {
	var out []string
	for _, name := range h.names {
		for _, path := range pathsOf(name) {
			if !slices.Contains(out, path) {
				out = append(out, path)
			}
		}
	}
	return out
}

// Errors of what is no hint. Their texts hold nothing of the event.
var (
	errOversized = errors.New("the event is larger than EventBridge makes them")
	errMalformed = errors.New("the event is no JSON of EventBridge")
	errNameless  = errors.New("the event names no secret")
)

// parseHint reads an event that EventBridge delivers. ok is false for an event
// that changes no secret.
func parseHint(body []byte) (h hint, ok bool, err error) {
	if len(body) > maxHint {
		return hint{}, false, errOversized
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return hint{}, false, errMalformed // not err: it quotes the event
	}
	if e.Source != SecretsManager {
		return hint{}, false, nil
	}
	switch {
	case e.DetailType == labelUpdated:
		h.event = "SecretLabelUpdated"
	case strings.HasSuffix(e.DetailType, viaTrail) && e.Detail.EventSource == trailSource && slices.Contains(changes, e.Detail.EventName):
		h.event = e.Detail.EventName
	default:
		return hint{}, false, nil
	}
	if h.names = e.names(); len(h.names) == 0 {
		return hint{}, false, errNameless
	}
	return h, true, nil
}

// envelope is the part of an event that is used. CloudTrail names the
// secret in one place or another, in more than one spelling; keys of JSON are
// matched without regard to case.
type envelope struct {
	Source     string   `json:"source"`
	DetailType string   `json:"detail-type"`
	Resources  []string `json:"resources"`
	Detail     struct {
		EventSource string `json:"eventSource"`
		EventName   string `json:"eventName"`
		Name        string `json:"name"` // Secret Label Updated

		RequestParameters   subject `json:"requestParameters"`
		ResponseElements    subject `json:"responseElements"`
		AdditionalEventData subject `json:"additionalEventData"`
		ServiceEventDetails subject `json:"serviceEventDetails"`
	} `json:"detail"`
}

type subject struct {
	SecretID string `json:"secretId"`
	ARN      string `json:"arn"`
	Name     string `json:"name"`
}

// UnmarshalJSON takes anything: what is no object names nothing.
func (s *subject) UnmarshalJSON(b []byte) error {
	type plain subject
	var p plain
	if json.Unmarshal(b, &p) == nil {
		*s = subject(p)
	}
	return nil
}

// names returns what the event calls secrets, each once.
func (e envelope) names() []string {
	d := e.Detail
	all := []string{d.Name}
	for _, s := range []subject{d.RequestParameters, d.ResponseElements, d.AdditionalEventData, d.ServiceEventDetails} {
		all = append(all, s.SecretID, s.ARN, s.Name)
	}
	all = append(all, e.Resources[:min(len(e.Resources), maxResources)]...)
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" || len(s) > maxName })
	slices.Sort(all)
	return slices.Compact(all)
}

// maxResources bounds how many resources of an event are used.
const maxResources = 10

// suffix is what AWS puts after the name in an ARN: a hyphen and six characters.
const suffix = 7

// pathsOf returns the paths that a store may know a secret by, of which an event
// says that it is called name: the name itself, and of an ARN the ARN, the name
// in it and that name without what AWS puts after it. An event may hold the ARN
// with or without that, so one of them may be another secret.
func pathsOf(name string) []string {
	parts := strings.SplitN(name, ":", 7)
	if len(parts) < 7 || parts[0] != "arn" || parts[5] != "secret" {
		return []string{name}
	}
	out := []string{name, parts[6]}
	if n := len(parts[6]) - suffix; n > 0 && parts[6][n] == '-' {
		out = append(out, parts[6][:n])
	}
	return out
}
