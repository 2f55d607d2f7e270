package mysql

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

// threadOf matches the line of a transaction that names its session, on MariaDB and MySQL.
var threadOf = regexp.MustCompile(`(?m)^(?:MariaDB|MySQL) thread id (\d+),`)

// markBusy marks the sessions that have a transaction open. It reads the monitor of
// InnoDB: the table INNODB_TRX does not change while it is read more often than ten times
// a second, by any session.
func markBusy(ctx context.Context, s *session, sessions []logins.Session) error {
	var kind, name, status string
	if err := s.conn.QueryRowContext(ctx, "SHOW ENGINE INNODB STATUS").Scan(&kind, &name, &status); err != nil {
		return fmt.Errorf("read the open transactions: %w", err)
	}
	open, all := transactions(status)
	for i := range sessions {
		sessions[i].Busy = sessions[i].Busy || all || open[sessions[i].ID]
	}
	return nil
}

// recovered ends the first line of a transaction that the server found when it started,
// which no session has.
const recovered = " recovered trx"

// transactions returns the sessions that have a transaction open, by the text of the
// monitor. all is true if the text does not list every one, or does not say of an open
// one which session has it.
func transactions(status string) (open map[int64]bool, all bool) {
	open = map[int64]bool{}
	_, list, listed := strings.Cut(status, "LIST OF TRANSACTIONS FOR EACH SESSION:")
	for i, one := range strings.Split(list, "---TRANSACTION ") {
		head, _, _ := strings.Cut(one, "\n")
		if i == 0 || strings.Contains(head, "not started") || strings.HasSuffix(strings.TrimSpace(head), recovered) {
			continue
		}
		m := threadOf.FindStringSubmatch(one)
		if m == nil {
			listed = false
			continue
		}
		id, err := strconv.ParseInt(m[1], 10, 64)
		open[id], listed = true, listed && err == nil
	}
	return open, !listed || strings.Contains(list, "truncated")
}
