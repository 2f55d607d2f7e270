package eventbridge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Read is what an event of CloudTrail says of a call that read values. Nothing of it
// is proven.
type Read struct {
	// Paths are those that a store may know the secrets by.
	Paths []string
	// Identity is the caller as [events.ReaderIdentity] writes it.
	Identity string
	// Address is where the call came from: an IP address or the name of a service of
	// AWS, "" where it is neither.
	Address string
	// VersionID and Stage are what was asked for. Without either it is the current
	// version.
	VersionID secret.VersionID
	Stage     string
	// At is when the call was made, zero where the event has no time.
	At time.Time
}

const (
	readOne  = "GetSecretValue"
	readMany = "BatchGetSecretValue"
	// maxBatch is how many secrets one call may name.
	maxBatch = 20
	// maxCaller bounds an identity.
	maxCaller = 512
)

// Nameless is the identity of a caller that an event does not name.
const Nameless = "a caller that CloudTrail does not name"

// readEvent is the part of the event of a read that is used.
type readEvent struct {
	Source     string `json:"source"`
	DetailType string `json:"detail-type"`
	Detail     struct {
		EventSource string `json:"eventSource"`
		EventName   string `json:"eventName"`
		EventTime   string `json:"eventTime"`
		ErrorCode   string `json:"errorCode"`
		Address     string `json:"sourceIPAddress"`
		Caller      caller `json:"userIdentity"`
		Request     struct {
			SecretID     string   `json:"secretId"`
			SecretIDList []string `json:"secretIdList"`
			VersionID    string   `json:"versionId"`
			VersionStage string   `json:"versionStage"`
		} `json:"requestParameters"`
	} `json:"detail"`
}

type caller struct {
	ARN       string `json:"arn"`
	Principal string `json:"principalId"`
	InvokedBy string `json:"invokedBy"`
	Session   struct {
		Issuer struct {
			ARN string `json:"arn"`
		} `json:"sessionIssuer"`
	} `json:"sessionContext"`
}

// parseRead reads the event of a call that read values. ok is false for any other
// event, and for a call that AWS refused. A call that selects secrets by filters names
// none: CloudTrail has an event of its own for each secret that it read.
func parseRead(body []byte) (r Read, ok bool) {
	if len(body) > maxHint {
		return Read{}, false
	}
	var e readEvent
	if json.Unmarshal(body, &e) != nil {
		return Read{}, false
	}
	d := e.Detail
	ours := e.Source == SecretsManager && strings.HasSuffix(e.DetailType, viaTrail) && d.EventSource == trailSource
	if !ours || d.EventName != readOne && d.EventName != readMany || d.ErrorCode != "" {
		return Read{}, false
	}
	for _, name := range append([]string{d.Request.SecretID}, d.Request.SecretIDList[:min(len(d.Request.SecretIDList), maxBatch)]...) {
		if name == "" || len(name) > maxName {
			continue
		}
		for _, path := range pathsOf(name) {
			if !slices.Contains(r.Paths, path) {
				r.Paths = append(r.Paths, path)
			}
		}
	}
	r.Identity, r.Address, r.Stage = d.Caller.identity(), address(d.Address), bounded(d.Request.VersionStage)
	r.At, _ = time.Parse(time.RFC3339, d.EventTime)
	if v := secret.VersionID(d.Request.VersionID); v.Validate() == nil {
		r.VersionID = v
	}
	if d.Request.VersionID == "" && d.Request.VersionStage == "" {
		r.Stage = "AWSCURRENT"
	}
	return r, len(r.Paths) > 0
}

// identity returns the role of a session, else what names the caller best.
func (c caller) identity() string {
	for _, name := range []string{c.Session.Issuer.ARN, c.ARN, c.InvokedBy, c.Principal} {
		if name = bounded(name); name != "" {
			return events.ReaderIdentity(name)
		}
	}
	return Nameless
}

// bounded returns a text that can be recorded, or "".
func bounded(s string) string {
	if len(s) > maxCaller || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return s
}

// address returns an address of the network or the name of a service of AWS, or "".
func address(s string) string {
	const longest = 128
	if _, err := netip.ParseAddr(s); len(s) <= longest && (err == nil || strings.HasSuffix(s, ".amazonaws.com")) {
		return bounded(s)
	}
	return ""
}

// sighted hands the event of a read on, if one is asked for, and reports whether body
// is one.
func (i *Intake) sighted(ctx context.Context, body []byte) (read bool, err error) {
	if i.cfg.Reads == nil {
		return false, nil
	}
	r, ok := parseRead(body)
	if !ok {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	if err := i.cfg.Reads(ctx, r); err != nil {
		i.count(ctx, readOne, "failed")
		i.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "eventbridge.read_not_recorded", slog.String("error", err.Error()))
		return true, fmt.Errorf("eventbridge: record a read: %w", err)
	}
	i.count(ctx, readOne, "read")
	return true, nil
}
