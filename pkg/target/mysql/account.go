package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// account is an account as the server has it.
type account struct {
	name, host string
	hashes     []string // of its passwords, the newest first
	locked     bool
	dead       bool  // its password was revoked
	changed    int64 // when a password was set, in seconds
}

// grantee names the account in a statement, as SHOW GRANTS does.
func (a account) grantee() string { return identifier(a.name) + "@" + identifier(a.host) }

func identifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// index returns which password of the account is the given one, -1 for none.
func (a account) index(password string) int {
	return slices.IndexFunc(a.hashes, func(h string) bool { return matches(h, password) })
}

// revoked reports whether the account had a password that was revoked.
func (a account) revoked(password string) bool {
	return slices.Contains(a.hashes, tombstone(native(password)))
}

func lastChange(accounts []account) int64 {
	var last int64
	for _, a := range accounts {
		last = max(last, a.changed)
	}
	return last
}

// authentication is one way to log in, as MariaDB keeps it.
type authentication struct {
	Plugin string `json:"plugin"`
	Hash   string `json:"authentication_string"`
}

// accounts returns the accounts with a name, one for each host.
func (s *session) accounts(ctx context.Context, name string) ([]account, error) {
	query := `SELECT Host, JSON_OBJECT('plugin', plugin, 'authentication_string', authentication_string, 'account_locked', CAST(IF(account_locked = 'Y', 'true', 'false') AS JSON),
		'password_last_changed', UNIX_TIMESTAMP(password_last_changed), 'second', User_attributes->>'$.additional_password') FROM mysql.user WHERE User = ? ORDER BY Host`
	if s.mariadb {
		query = "SELECT Host, Priv FROM mysql.global_priv WHERE User = ? AND Host <> '' ORDER BY Host" // a role has no host
	}
	rows, err := s.conn.QueryContext(ctx, query, name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []account
	for rows.Next() {
		var host string
		var priv []byte
		if err := rows.Scan(&host, &priv); err != nil {
			return nil, err
		}
		a, err := parseAccount(priv)
		if err != nil {
			return nil, fmt.Errorf("account %q at host %q: %w", name, host, err)
		}
		a.name, a.host = name, host
		out = append(out, a)
	}
	return out, rows.Err()
}

func parseAccount(priv []byte) (account, error) {
	var p struct {
		authentication
		Or      []authentication `json:"auth_or"`
		Second  string           `json:"second"`
		Locked  bool             `json:"account_locked"`
		Changed int64            `json:"password_last_changed"`
	}
	if json.Unmarshal(priv, &p) != nil {
		return account{}, fmt.Errorf("the server describes it in an unknown form") //nolint:perfsprint // the decoder's own error could quote a hash
	}
	if len(p.Or) == 0 {
		p.Or = []authentication{{}, {Hash: p.Second}}
	}
	a := account{locked: p.Locked, changed: p.Changed}
	for i, way := range p.Or {
		if way == (authentication{}) && !slices.Contains(p.Or[:i], authentication{}) {
			way = p.authentication // the first way has its place among the others marked so
		}
		if way.Hash != "" {
			a.hashes = append(a.hashes, way.Hash)
		}
	}
	return a, nil
}

// create makes an account for each host of the other account of the pair, or for every
// host, unless it exists. It is locked until it gets its password.
func (s *session) create(ctx context.Context, name string, own, others []account) ([]account, error) {
	wanted := []account{{name: name, host: "%"}}
	if len(others) > 0 {
		wanted = nil
		for _, o := range others {
			wanted = append(wanted, account{name: name, host: o.host})
		}
	} else if len(own) > 0 {
		return own, nil
	}
	for _, w := range wanted {
		if slices.ContainsFunc(own, func(a account) bool { return a.host == w.host }) {
			continue
		}
		if err := s.exec(ctx, "CREATE USER IF NOT EXISTS "+w.grantee()+" ACCOUNT LOCK"); err != nil {
			return nil, err
		}
		w.locked = true
		own = append(own, w)
	}
	return own, nil
}

// options are the conditions and limits of an account in SHOW CREATE USER.
var options = regexp.MustCompile(` (REQUIRE (SSL|X509|((ISSUER|SUBJECT|CIPHER) '([^']|'')*'( AND)? ?)+)|WITH( MAX_[A-Z_]+ [0-9.]+)+)`)

// replay gives an account what another one has. It takes nothing away.
func (s *session) replay(ctx context.Context, from, to account) error {
	shown, err := s.texts(ctx, "SHOW CREATE USER "+from.grantee())
	if err != nil {
		return err
	}
	if clauses := options.FindAllString(strings.Join(shown, ""), -1); len(clauses) > 0 {
		if err := s.exec(ctx, "ALTER USER "+to.grantee()+strings.Join(clauses, "")); err != nil {
			return err
		}
	}
	lines, err := s.texts(ctx, "SHOW GRANTS FOR "+from.grantee())
	if err != nil {
		return err
	}
	for _, line := range lines {
		statement, err := regrant(line, from.grantee(), to.grantee())
		if err != nil {
			return err
		}
		if statement == "" {
			continue
		}
		if err := s.exec(ctx, statement); err != nil {
			return fmt.Errorf("replay a grant (give the admin the same right WITH GRANT OPTION, a role WITH ADMIN OPTION): %s: %w", statement, err)
		}
	}
	return nil
}

// regrant returns a line of SHOW GRANTS for another account, "" for one that grants
// nothing. The name in the line is quoted, so that no other name can contain it.
func regrant(line, from, to string) (string, error) {
	for _, word := range []string{" TO ", " FOR "} {
		i := strings.LastIndex(line, word+from)
		if i < 0 {
			continue
		}
		head, tail := line[:i], line[i+len(word+from):]
		if head == "GRANT USAGE ON *.*" && !strings.Contains(tail, "GRANT OPTION") {
			return "", nil
		}
		option := ""
		switch {
		case strings.Contains(tail, " WITH GRANT OPTION"):
			option = " WITH GRANT OPTION"
		case strings.Contains(tail, " WITH ADMIN OPTION"):
			option = " WITH ADMIN OPTION"
		}
		return head + word + to + option, nil
	}
	return "", fmt.Errorf("SHOW GRANTS has a line that names no account as %s; revoke that grant and give it another way: %s", from, line)
}
