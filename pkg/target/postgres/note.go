package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tradepulse/rotator/pkg/secret"
)

// note says whose password a role has. It is kept as the comment of the role.
type note struct {
	secret  secret.ID
	version secret.VersionID
	since   time.Time
}

const notePrefix = "rotator "

// statement returns what writes the note.
func (n note) statement(role string) string {
	text := fmt.Sprintf("%s%s version=%s since=%s", notePrefix, n.secret, n.version, n.since.UTC().Format(time.RFC3339Nano))
	return fmt.Sprintf("COMMENT ON ROLE %s IS %s", quote(role), literal(text))
}

// literal quotes a string in a way that does not depend on
// standard_conforming_strings.
func literal(s string) string {
	return " E'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(s) + "'"
}

// parseNote returns the zero note for a comment of another origin.
func parseNote(comment string) note {
	text, ok := strings.CutPrefix(comment, notePrefix)
	head, since, ok2 := cutLast(text, " since=")
	id, version, ok3 := cutLast(head, " version=")
	at, err := time.Parse(time.RFC3339Nano, since)
	if !ok || !ok2 || !ok3 || err != nil {
		return note{}
	}
	return note{secret.ID(id), secret.VersionID(version), at}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// notes returns the note of each login role that exists, zero for a role without one.
func (t *Target) notes(ctx context.Context, conn *pgx.Conn) (map[string]note, error) {
	rows, err := conn.Query(ctx, "SELECT rolname::text, coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = ANY($1::text[])", t.accounts.Names())
	if err != nil {
		return nil, err
	}
	out := map[string]note{}
	var role, comment string
	_, err = pgx.ForEachRow(rows, []any{&role, &comment}, func() error {
		out[role] = parseNote(comment)
		return nil
	})
	return out, err
}
