package statuspage

import (
	"bytes"
	"embed"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

//go:embed page
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"when": when, "key": key, "steps": steps, "answer": answer, "progress": progress, "blocker": blocker, "health": health, "running": running, "reason": reason,
	"why": inspect.Why, "join": strings.Join, "short": short, "count": count, "anchor": func(id secret.ID) string { return anchor(string(id)) },
}).ParseFS(files, "page/*.html"))

// How much the page lists; ?format=json has everything.
const (
	maxWaiting  = 500
	maxRollouts = 100
	maxNext     = 200
	ahead       = 24 * time.Hour
)

// part is one section of the page: a table, of which rows are replaced.
type part struct {
	ID, Title, Caption string
	Columns            []string
	// Empty is shown instead of a table without rows.
	Empty string
	// More is how many rows were left out.
	More int

	rows []row
	html []byte // the whole section
}

// Len returns how many rows the part has.
func (p *part) Len() int { return len(p.rows) }

// row is one row of a table, with the element <tr>.
type row struct {
	id   string
	html []byte
}

// rendered is a snapshot as HTML. It is never changed.
type rendered struct {
	id       string
	snapshot *Snapshot
	summary  []byte // the elements above the sections that change
	parts    []*part
	page     []byte
}

// data is what the templates of rows and of the page see.
type data struct {
	ID   string
	Now  time.Time
	Row  any
	Acts []Order // what the row offers to do
}

func render(id string, s *Snapshot) (*rendered, error) {
	r := &rendered{id: id, snapshot: s}
	for _, build := range []func(*Snapshot) (*part, error){problemPart, secretPart, waitingPart, rolloutPart, nextPart, healthPart} {
		p, err := build(s)
		if err != nil {
			return nil, err
		}
		r.parts = append(r.parts, p)
	}
	var err error
	if r.summary, err = execute("summary", s); err != nil {
		return nil, err
	}
	head, err := execute("head", map[string]any{"ID": id, "Snapshot": s})
	if err != nil {
		return nil, err
	}
	foot, err := execute("foot", s)
	if err != nil {
		return nil, err
	}
	chunks := [][]byte{head, r.summary}
	for _, p := range r.parts {
		chunks = append(chunks, p.html)
	}
	r.page = bytes.Join(append(chunks, foot), nil)
	return r, nil
}

func execute(name string, v any) ([]byte, error) {
	var b bytes.Buffer
	err := templates.ExecuteTemplate(&b, name, v)
	return b.Bytes(), err
}

// fill renders the rows of a part, at most the first most of them, and the part.
func fill[T any](p *part, s *Snapshot, rows []T, most int, key func(T) string) (*part, error) {
	if len(rows) > most {
		p.More, rows = len(rows)-most, rows[:most]
	}
	ids := map[string]int{}
	for _, one := range rows {
		id := p.ID + "-" + key(one)
		if ids[id]++; ids[id] > 1 { // two discovered secrets may claim one ID
			id += "~" + strconv.Itoa(ids[id])
		}
		html, err := execute(p.ID+"-row", data{id, s.At, one, s.offers(one)})
		if err != nil {
			return nil, err
		}
		p.rows = append(p.rows, row{id, html})
	}
	open, err := execute("part-open", p)
	if err != nil {
		return nil, err
	}
	if p.html = open; len(p.rows) > 0 {
		for _, r := range p.rows {
			p.html = append(p.html, r.html...)
		}
		p.html = append(p.html, "</tbody></table></div>\n"...)
	}
	end, err := execute("part-close", p)
	p.html = append(p.html, end...)
	return p, err
}

func problemPart(s *Snapshot) (*part, error) {
	p := &part{ID: "problem", Title: "Needs a person", Caption: "What a person has to act on, the oldest first", Columns: []string{"What is wrong", "Since", "What to do"}, Empty: "Nothing."}
	if s.At.IsZero() {
		p.Empty = "Unknown: nothing has been read yet."
	}
	return fill(p, s, s.Problems, len(s.Problems), func(one inspect.Problem) string { return anchor(one.Subject) })
}

func secretPart(s *Snapshot) (*part, error) {
	p := &part{
		ID: "secret", Title: "Safe to revoke?", Caption: "Whether the versions before the current one may be revoked, for each secret",
		Columns: []string{"Secret", "Safe to revoke the old", "Because", "Version", "Running"}, Empty: "No secret is managed here.",
	}
	if s.At.IsZero() || s.Error != "" {
		p.Empty = "Unknown: no secret could be read yet."
	}
	return fill(p, s, s.Secrets, len(s.Secrets), key)
}

func waitingPart(s *Snapshot) (*part, error) {
	p := &part{ID: "waiting", Title: "Waiting and silent instances", Caption: "What the rollouts wait for", Columns: []string{"Instance", "State", "Runs", "Secret", "Ends by itself"}, Empty: "No rollout waits for an instance."}
	return fill(p, s, s.waiting(), maxWaiting, func(w waiting) string {
		return key(w.Secret) + "-" + anchor(w.Who()+"/"+string(w.Reason))
	})
}

func rolloutPart(s *Snapshot) (*part, error) {
	p := &part{ID: "rollout", Title: "Rollouts", Caption: "The steps of each rollout of the last 24 hours", Columns: []string{"Secret", "State", "Steps"}, Empty: "No rollout is on its way, and none ended in the last 24 hours."}
	return fill(p, s, s.Rollouts(ahead), maxRollouts, key)
}

func nextPart(s *Snapshot) (*part, error) {
	p := &part{ID: "next", Title: "Rotates in the next 24 hours", Caption: "Rotations of the next 24 hours, the earliest first", Columns: []string{"Secret", "When", "Why", "Concerns"}, Empty: "No rotation is scheduled in the next 24 hours."}
	return fill(p, s, s.Within(ahead), maxNext, key)
}

func healthPart(s *Snapshot) (*part, error) {
	p := &part{ID: "health", Title: "Health of " + s.Program, Caption: "What the program says of itself", Columns: []string{"Check", "State", "Because"}, Empty: "Unknown: the program has not said how it is."}
	return fill(p, s, s.Health, len(s.Health), func(c Check) string { return anchor(c.Name) })
}

// key returns what the ID of the row of a secret ends in: #secret-ID leads to it.
func key(s inspect.Secret) string {
	if s.SecretID != "" {
		return anchor(string(s.SecretID))
	}
	return anchor(s.Store + "/" + s.Path)
}

// anchor returns s as part of the ID of an element, in which no space may be.
func anchor(s string) string { return url.PathEscape(s) }
