package valkey

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/target"
)

// everyEntry is more entries than a node keeps in its log.
const everyEntry = 1 << 20

// Refused implements [target.Watcher] by ACL LOG of every node. A node merges logins
// that it refuses within a minute and names the last client. An admin that may not read
// the log cannot tell, nor can a node which of several passwords was meant.
func (t *Target) Refused(ctx context.Context, r target.Ref, within time.Duration) ([]target.Session, error) {
	if t.cfg.Strategy == Single {
		return nil, fmt.Errorf("%w: the log does not say which of several passwords was meant", target.ErrUnsupported)
	}
	var out []target.Session
	err := t.users.Everywhere(ctx, func(n *node) error {
		c, err := (driver{t}).Locate(ctx, n, r)
		if err != nil || c.Name == "" || c.Replaced {
			return err
		}
		answer, err := n.do(ctx, "ACL", "LOG", everyEntry)
		if isError(err, codeDenied) {
			return fmt.Errorf("%w: the admin lacks the permission acl|log", target.ErrUnsupported)
		}
		if err != nil {
			return err
		}
		found, err := refusedOf(c.Name, answer, within)
		out = append(out, found...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// refusedOf returns the logins of a user in the answer to ACL LOG.
func refusedOf(user string, answer any, within time.Duration) ([]target.Session, error) {
	var out []target.Session
	for _, entry := range list(answer) {
		fields := pairs(entry)
		if fields["reason"] != "auth" || fields["username"] != user {
			continue
		}
		age, err := strconv.ParseFloat(fmt.Sprint(fields["age-seconds"]), 64)
		if err != nil {
			return nil, fmt.Errorf("the server lists a refused login, of user %q, that this program cannot read: age %q", user, fields["age-seconds"])
		}
		if ago := time.Duration(age * float64(time.Second)); ago <= within {
			out = append(out, target.Session{Client: addressIn(fmt.Sprint(fields["client-info"])), Since: time.Now().Add(-ago)})
		}
	}
	return out, nil
}

// addressIn returns the address of a client in the form of CLIENT LIST.
func addressIn(info string) string {
	for f := range strings.FieldsSeq(info) {
		if addr, ok := strings.CutPrefix(f, "addr="); ok {
			return addr
		}
	}
	return ""
}

// noteLog adds to a report that the admin may not read the log.
func (n *node) noteLog(ctx context.Context, r *target.Report) error {
	const note = "which client uses a suspended user is unknown: give the admin the permission acl|log"
	_, err := n.do(ctx, "ACL", "LOG", 0)
	if !isError(err, codeDenied) {
		return err
	}
	if !slices.Contains(r.Notes, note) {
		r.Notes = append(r.Notes, note)
	}
	return nil
}
