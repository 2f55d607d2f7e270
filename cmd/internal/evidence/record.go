package evidence

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// exception is what an auditor asks a reason for.
type exception struct {
	at                               time.Time
	id                               secret.ID
	kind, by, reason, ticket, detail string
}

// entry is a record that was read.
type entry struct {
	*Record
	digest   string // what the next record on the subject names
	key      ed25519.PublicKey
	sealed   bool // it is a sealed record
	believed bool // a key that was trusted has sealed it, or it is never sealed
	problem  string
	previous *events.ReceiptLink
	chained  bool // its kind names the record before it
	receipt  *events.Receipt
	act      *events.Act
	pause    *events.Pause
	loose    loose
}

// loose is a record of a kind that is not sealed.
type loose struct {
	SecretID  secret.ID `json:"secret_id"`
	Service   string    `json:"service"`
	Instance  string    `json:"instance"`
	Consumer  string    `json:"consumer"`
	VersionID string    `json:"version_id"`
	By        string    `json:"by"`
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`
	Done      bool      `json:"done"`
}

// read reads a record, and says what is wrong with it.
func read(r *Record) *entry {
	sum := sha256.Sum256(r.text())
	e := &entry{Record: r, digest: hex.EncodeToString(sum[:])}
	s, err := events.ParseSealed(r.text())
	if err != nil {
		e.readLoose()
		return e
	}
	e.sealed = true
	if e.key, err = s.Key(); err == nil {
		e.digest, err = s.Digest()
	}
	if err == nil {
		err = e.open(s)
	}
	switch {
	case err != nil:
		e.problem = err.Error()
	case !r.Trusted:
		e.problem = "key " + s.KeyID + " signed it, which was not trusted when the evidence was made"
	default:
		e.believed = true
	}
	return e
}

func (e *entry) open(s events.Sealed) error {
	var id secret.ID
	var err error
	switch s.Type {
	case events.SealedReceipt:
		e.receipt, e.chained = new(events.Receipt), true
		if err = s.Open(s.Type, e.receipt); err == nil {
			err = rollout.Replay(*e.receipt)
		}
		id, e.previous = e.receipt.SecretID, e.receipt.Previous
	case events.SealedAct:
		e.act, e.chained = new(events.Act), true
		err = s.Open(s.Type, e.act)
		id, e.previous = e.act.SecretID, e.act.Previous
	case events.SealedPause:
		e.pause = new(events.Pause)
		err = s.Open(s.Type, e.pause)
		id = e.pause.SecretID
	default:
		return fmt.Errorf("its type %q is not known; a later rotator may have written it", s.Type)
	}
	place := "." + string(id.Key())
	if e.act != nil && id == "" { // it is about the bus
		place = ".acts.bus.all"
	}
	if err == nil && !strings.HasSuffix(e.Subject, place) {
		err = fmt.Errorf("it is about %s, and stored as a record of another secret", id)
	}
	return err
}

// readLoose reads a record of a kind that is not sealed.
func (e *entry) readLoose() {
	err := json.Unmarshal(e.text(), &e.loose)
	if e.believed = err == nil && e.kind() != kindUnknown; !e.believed {
		e.problem = "it is not sealed, or not understood"
	}
}

const kindUnknown = "unknown"

// kind returns the kind of a record that is not sealed, by its subject.
func (e *entry) kind() string {
	_, rest, _ := strings.Cut("."+e.Subject, ".record.")
	switch name, _, _ := strings.Cut(rest, "."); name {
	case "forgotten":
		return "forget"
	case "confirmed":
		return "confirm"
	case "uses":
		return "confirm-fleet"
	default:
		return kindUnknown
	}
}

// exceptions returns what in the record an auditor asks a reason for.
func (e *entry) exceptions() []exception {
	switch {
	case !e.believed:
		return []exception{{at: e.At, kind: "not_valid", detail: e.problem}}
	case e.receipt != nil:
		return receiptExceptions(*e.receipt)
	case e.act != nil:
		a := e.act
		detail := cmp.Or(versionText(a.VersionID), a.Subject)
		if a.Freeze != "" {
			detail = strings.TrimPrefix(detail+"; it overrules the freeze "+a.Freeze, "; ")
		}
		return []exception{{a.At, a.SecretID, string(a.Kind), a.By, a.Reason, a.Ticket, detail}}
	case e.pause != nil, e.loose.By == "":
		return nil // an act says the same; the first worker confirms the stream of uses
	default:
		return []exception{e.looseException()}
	}
}

func (e *entry) looseException() exception {
	l := e.loose
	x := exception{at: l.At, id: l.SecretID, kind: e.kind(), by: l.By, reason: l.Reason}
	switch {
	case l.Consumer != "":
		x.detail = "consumer " + l.Consumer + " uses version " + l.VersionID
	case l.Instance != "" && l.Done:
		x.detail = "the records of " + l.Service + "/" + l.Instance + " were purged"
	case l.Instance != "":
		x.detail = "the records of " + l.Service + "/" + l.Instance + " are about to be purged"
	}
	return x
}

// receiptExceptions returns what is not proven about a retirement.
func receiptExceptions(r events.Receipt) []exception {
	var out []exception
	x := exception{at: r.DecidedAt, id: r.SecretID, by: r.Worker, detail: "retired " + versions(r.Retired) + ", replaced by " + string(r.VersionID)}
	if r.Basis != events.BasisProof {
		x.kind = "retired_" + string(r.Basis)
		if r.Forced != nil {
			x.by, x.reason, x.ticket = r.Forced.By, r.Forced.Reason, r.Forced.Ticket
		}
		out = append(out, x)
	}
	for _, d := range r.Doubts {
		out = append(out, exception{at: r.DecidedAt, id: r.SecretID, kind: "doubt", by: r.Worker, detail: d})
	}
	return out
}

func versionText(v secret.VersionID) string {
	if v == "" {
		return ""
	}
	return "version " + string(v)
}
