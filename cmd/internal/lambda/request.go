package lambda

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// MaxRequest bounds a request in bytes: what EventBridge delivers at most.
const MaxRequest = 256 << 10

// The most that AWS lets the fields of a rotation event have.
const (
	minToken, maxToken = 32, 64
	maxRotationToken   = 256
	maxSecrets         = 1000
)

// ErrRequest is wrapped by the error for a request that the function does not
// serve. Its text holds nothing of the request.
var ErrRequest = errors.New("not a request that this function serves")

// Step names a step of a rotation, in AWS's words.
type Step string

// The steps in the order in which AWS asks for them.
const (
	StepCreate Step = "createSecret"
	StepSet    Step = "setSecret"
	StepTest   Step = "testSecret"
	StepFinish Step = "finishSecret"
)

// Rotation is the event with which AWS asks for a step.
type Rotation struct {
	Step Step
	// SecretID is the ARN of the secret.
	SecretID string
	// Token is the ClientRequestToken, which is the id of the version to be
	// made.
	Token secret.Token
	// RotationToken goes with PutSecretValue and is sensitive.
	RotationToken secret.Value
}

// Command is the payload of a direct invocation of the function.
type Command struct {
	// Action is rotate, plan or status.
	Action string `json:"action"`
	// SecretID is the secret to rotate, by its id, its name in Secrets Manager
	// or its ARN.
	SecretID string `json:"secret_id,omitempty"`
	// SecretIDs are those that plan and status are about; none means all that
	// the configuration lists.
	SecretIDs []string `json:"secret_ids,omitempty"`
}

// The actions of a [Command].
const (
	ActionRotate = "rotate"
	ActionPlan   = "plan"
	ActionStatus = "status"
)

// request is one request; exactly one of its fields is set.
type request struct {
	rotation *Rotation
	event    json.RawMessage // of EventBridge
	command  *Command
}

// fields are the members of a JSON object, by their exact names.
type fields map[string]json.RawMessage

func (f fields) any(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { _, ok := f[n]; return ok })
}

// text returns a member that is a string, "" when it is not there.
func (f fields) text(name string) (string, error) {
	raw, ok := f[name]
	if !ok {
		return "", nil
	}
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", refuse("%s is no string", name)
	}
	return *s, nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRequest}, args...)...)
}

// decode tells the kinds of request apart by their members, and holds each to
// what AWS documents. Errors of the JSON decoder quote what they read, so none
// of them gets out.
func decode(payload []byte) (request, error) {
	if len(payload) > MaxRequest {
		return request{}, refuse("%d bytes, the limit is %d", len(payload), MaxRequest)
	}
	var f fields
	if json.Unmarshal(payload, &f) != nil || f == nil {
		return request{}, refuse("it is no JSON object")
	}
	rotation, event, command := f.any("Step", "SecretId", "ClientRequestToken"), f.any("detail-type", "detail"), f.any("action")
	switch {
	case rotation && !event && !command:
		r, err := decodeRotation(f)
		return request{rotation: r}, err
	case event && !rotation && !command:
		return request{event: payload}, nil
	case command && !rotation && !event:
		c, err := decodeCommand(f)
		return request{command: c}, err
	default:
		return request{}, refuse("it is neither a rotation step, nor an event of EventBridge, nor a command")
	}
}

func decodeRotation(f fields) (*Rotation, error) {
	var text [4]string
	for i, name := range []string{"Step", "SecretId", "ClientRequestToken", "RotationToken"} {
		var err error
		if text[i], err = f.text(name); err != nil {
			return nil, err
		}
	}
	r := &Rotation{Step: Step(text[0]), SecretID: text[1], Token: secret.Token(text[2]), RotationToken: secret.NewValue([]byte(text[3]))}
	if _, ok := phases[r.Step]; !ok {
		return nil, refuse("Step is none of createSecret, setSecret, testSecret and finishSecret")
	}
	if _, err := awssm.ParseARN(r.SecretID); err != nil {
		return nil, refuse("SecretId is no ARN of a secret")
	}
	if !validToken(text[2]) {
		return nil, refuse("ClientRequestToken has not %d to %d letters, digits and hyphens", minToken, maxToken)
	}
	if len(text[3]) > maxRotationToken {
		return nil, refuse("RotationToken is longer than %d bytes", maxRotationToken)
	}
	return r, nil
}

func validToken(s string) bool {
	strange := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-')
	}
	return len(s) >= minToken && len(s) <= maxToken && !strings.ContainsFunc(s, strange)
}

func decodeCommand(f fields) (*Command, error) {
	for name := range f {
		if !slices.Contains([]string{"action", "secret_id", "secret_ids"}, name) {
			return nil, refuse("a command has the members action, secret_id and secret_ids, and no other")
		}
	}
	c := new(Command)
	var err error
	if c.Action, err = f.text("action"); err != nil {
		return nil, err
	}
	if c.SecretID, err = f.text("secret_id"); err != nil {
		return nil, err
	}
	if raw, ok := f["secret_ids"]; ok && json.Unmarshal(raw, &c.SecretIDs) != nil {
		return nil, refuse("secret_ids is no list of strings")
	}
	return c, c.validate()
}

func (c *Command) validate() error {
	switch c.Action {
	case ActionRotate:
		if c.SecretID == "" || c.SecretIDs != nil {
			return refuse("rotate takes one secret_id")
		}
	case ActionPlan, ActionStatus:
		if c.SecretID != "" {
			return refuse("%s takes secret_ids", c.Action)
		}
	default:
		return refuse("action is none of rotate, plan and status")
	}
	if len(c.SecretIDs) > maxSecrets {
		return refuse("more than %d secret_ids", maxSecrets)
	}
	for _, id := range append([]string{}, c.SecretIDs...) {
		if _, err := secret.ParseID(id); err != nil {
			return refuse("a secret id is malformed")
		}
	}
	if _, err := secret.ParseID(c.SecretID); c.SecretID != "" && err != nil {
		return refuse("secret_id is malformed")
	}
	return nil
}
