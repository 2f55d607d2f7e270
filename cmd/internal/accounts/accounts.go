// Package accounts makes the accounts of NATS servers for one configuration, from
// those in deployments/nats: with its prefix, its buckets and its services, and with
// keys in place of variables.
package accounts

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The users of the programs. Rotator is a process that is both scheduler and worker.
const (
	Scheduler = "scheduler"
	Worker    = "worker"
	Notifier  = "notifier"
	Operator  = "operator"
	Rotator   = "rotator"
)

// Users returns the users of the programs.
func Users() []string { return []string{Rotator, Scheduler, Worker, Notifier, Operator} }

// Site says for what accounts are made.
type Site struct {
	// Prefix is nats.prefix, "" for none.
	Prefix string
	// Buckets are those of the embedded stores.
	Buckets []string
	// EventBridge says that the notifier forwards announcements.
	EventBridge bool
	Services    []string
	// Users are those of the programs that get an entry; nil means [Users].
	Users []string
	// Key returns what is in the configuration as the key of a user or service.
	Key func(name string) (string, error)
}

// Render returns the configuration of the accounts. template is that of
// deployments/nats.
func Render(template string, s Site) (string, error) {
	t, err := parse(template)
	if err != nil {
		return "", err
	}
	if s.Users == nil {
		s.Users = Users()
	}
	var b strings.Builder
	fmt.Fprint(&b, "accounts {\n  ROTATOR {\n    jetstream: enabled\n    users: [\n")
	for _, user := range s.Users {
		if err := s.user(&b, t, user); err != nil {
			return "", err
		}
	}
	fmt.Fprint(&b, "    ]\n    exports: [\n")
	names, err := accountNames(s.Services)
	if err != nil {
		return "", err
	}
	for _, service := range s.Services {
		b.WriteString(s.service(t.exports, service, names[service]))
	}
	fmt.Fprint(&b, "    ]\n  }\n")
	for _, service := range s.Services {
		key, err := s.Key(service)
		if err != nil {
			return "", err
		}
		b.WriteString("\n" + strings.ReplaceAll(s.service(t.account, service, names[service]), "$NATS_"+names[service]+"_NKEY", key))
	}
	return b.String() + "}\n", nil
}

// user writes one user of the programs.
func (s Site) user(b *strings.Builder, t *parsed, user string) error {
	key, err := s.Key(user)
	if err != nil {
		return err
	}
	lines := t.users[user]
	if user == Rotator {
		lines = slices.Concat(t.users[Scheduler], t.users[Worker])
	}
	fmt.Fprintf(b, "      # %s\n      {\n        nkey: %s\n        permissions {\n          publish: [\n", user, key)
	for _, line := range lines {
		b.WriteString(s.permission(line))
	}
	b.WriteString("          ]\n")
	for _, line := range t.hears[cmp.Or(base[user], user)] {
		if strings.Contains(line, "subscribe:") {
			line = strings.TrimSuffix(s.subjects(line), "\n")
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("        }\n      }\n")
	return nil
}

// permission returns one line of the permissions of a program, one for each bucket, or
// none where the site has no use for it.
func (s Site) permission(line string) string {
	switch {
	case strings.Contains(line, "ROTATED.eventbridge") && !s.EventBridge, strings.HasPrefix(strings.TrimSpace(line), "#"):
		return ""
	case !strings.Contains(line, "KV_secrets") && !strings.Contains(line, "$KV.secrets"):
		return s.subjects(line)
	}
	var out strings.Builder
	for _, bucket := range s.Buckets {
		out.WriteString(strings.NewReplacer("KV_secrets", "KV_"+bucket, "$KV.secrets", "$KV."+bucket).Replace(line) + "\n")
	}
	return out.String()
}

// service returns lines about audit-api as lines about a service.
func (s Site) service(lines []string, service, account string) string {
	var out strings.Builder
	for _, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		out.WriteString(strings.NewReplacer("audit-api", service, "AUDIT_API", account).Replace(s.subjects(line)))
	}
	return out.String()
}

var (
	quoted = regexp.MustCompile(`"[^"]*"`)
	stream = regexp.MustCompile(`\.(ROTATION|ROTATED|NOTIFY|USES|RECORD|REPORTS|READERS)(\.|$)`)
	direct = regexp.MustCompile(`(\.DIRECT\.GET\.[A-Z0-9_-]+\.)(.+)$`)
)

// subjects returns a line with the prefix in front of every subject and stream of ours.
func (s Site) subjects(line string) string {
	if s.Prefix == "" {
		return line + "\n"
	}
	return quoted.ReplaceAllStringFunc(line, func(q string) string {
		subject := q[1 : len(q)-1]
		switch {
		case strings.HasPrefix(subject, "_INBOX."):
		case strings.HasPrefix(subject, "$JS."), strings.HasPrefix(subject, "ROTATOR.API."):
			upper := strings.ToUpper(strings.ReplaceAll(s.Prefix, ".", "_")) + "_"
			subject = stream.ReplaceAllString(subject, "."+upper+"$1$2")
			subject = direct.ReplaceAllString(subject, "${1}"+s.Prefix+".$2")
		default:
			subject = s.Prefix + "." + subject
		}
		return `"` + subject + `"`
	}) + "\n"
}

// accountNames returns the account of each service.
func accountNames(services []string) (map[string]string, error) {
	of, by := map[string]string{}, map[string]string{"ROTATOR": "this program"}
	for _, s := range services {
		name := strings.ToUpper(strings.ReplaceAll(s, "-", "_"))
		if other, taken := by[name]; taken {
			return nil, fmt.Errorf("the services %s and %s would share the account %s; rename one of them", other, s, name)
		}
		of[s], by[name] = name, s
	}
	return of, nil
}

// parsed is what the template says.
type parsed struct {
	users            map[string][]string // :: user → the lines of what it may publish
	hears            map[string][]string // :: user → the lines of what it may subscribe to, and answer
	exports, account []string            // of audit-api
}

func parse(template string) (*parsed, error) {
	lines := strings.Split(template, "\n")
	t := &parsed{users: map[string][]string{}, hears: map[string][]string{}}
	for _, user := range []string{Scheduler, Worker, Notifier, Operator} {
		key := "nkey: $NATS_" + strings.ToUpper(user) + "_NKEY"
		t.users[user], t.hears[user] = between(lines, key, "publish: [", "]"), after(lines, key)
	}
	t.exports = between(lines, "exports: [", "# audit-api:", "# admin-api:")
	if t.account = between(lines, "exports: [", "AUDIT_API {", "ADMIN_API {"); t.account != nil {
		t.account = append([]string{"  AUDIT_API {"}, t.account...)
		for len(t.account) > 0 && strings.TrimSpace(t.account[len(t.account)-1]) == "" {
			t.account = t.account[:len(t.account)-1]
		}
	}
	for _, part := range [][]string{t.users[Scheduler], t.users[Worker], t.users[Notifier], t.users[Operator], t.exports, t.account} {
		if len(part) == 0 {
			return nil, errors.New("accounts.conf has another form than this program knows")
		}
	}
	return t, nil
}

// base is whose right to subscribe a user has that the template does not know.
var base = map[string]string{Rotator: Scheduler}

// after returns the lines of the permissions of a user that follow what it may publish,
// without comments.
func after(lines []string, key string) (out []string) {
	from := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, key) })
	if from < 0 {
		return nil
	}
	published := false
	for _, line := range lines[from:] {
		switch text := strings.TrimSpace(line); {
		case published && text == "}":
			return out
		case published && !strings.HasPrefix(text, "#"):
			out = append(out, line)
		case text == "]":
			published = true
		}
	}
	return nil
}

// between returns the lines between one that has begin and one that has end, the first
// after one that has section.
func between(lines []string, section, begin, end string) []string {
	for _, mark := range []string{section, begin} {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, mark) })
		if i < 0 {
			return nil
		}
		lines = lines[i+1:]
	}
	i := slices.IndexFunc(lines, func(l string) bool {
		if end == "]" {
			return strings.TrimSpace(l) == end
		}
		return strings.Contains(l, end)
	})
	return lines[:max(i, 0)]
}
