package evidence

import (
	"crypto/ed25519"
	"encoding/base64"
	"slices"
)

// places is which lines there were.
type places struct {
	want     int    // the next line
	last     string // the digest of the line before, "" if that is not known
	lost     []span // lines that were passed over
	disorder bool   // a line was moved
}

// span is lines that are missing, and what the last of them holds.
type span struct {
	from, to int
	name     string
}

// skip passes over a line of which nothing is known.
func (p *places) skip() { p.want, p.last = p.want+1, "" }

// place checks that a line follows the one before it.
func (c *checker) place(l Line, digest string) {
	switch {
	case l.N > c.r.Manifest.Counts.Lines:
		c.add(fileLines, l.N, "%s was added: the manifest knows %d lines", l.what(), c.r.Manifest.Counts.Lines)
	case l.N > c.want:
		c.lost = append(c.lost, span{c.want, l.N - 1, l.PreviousIs})
	case l.N < c.want && c.found(l.N):
		c.disorder = true
		c.add(fileLines, l.N, "%s was moved: it stands behind line %d", l.what(), c.want-1)
	case l.N < c.want:
		c.disorder = true
		c.add(fileLines, l.N, "%s is there twice, or was moved", l.what())
	case c.last != "" && l.Previous != c.last, l.N == 1 && l.Previous != "":
		c.add(fileLines, l.N, "%s does not name the line before it: one of them was replaced", l.what())
	}
	if l.N >= c.want {
		c.want, c.last = l.N+1, digest
	}
}

// found reports whether a line was passed over, and takes it from those.
func (p *places) found(n int) bool {
	i := slices.IndexFunc(p.lost, func(s span) bool { return s.from <= n && n <= s.to })
	if i < 0 {
		return false
	}
	s := p.lost[i]
	p.lost = slices.Delete(p.lost, i, i+1)
	if s.from < n {
		p.lost = append(p.lost, span{s.from, n - 1, ""})
	}
	if n < s.to {
		p.lost = append(p.lost, span{n + 1, s.to, s.name})
	}
	return true
}

// missing reports the lines that are missing.
func (c *checker) missing(m Manifest) {
	if c.want <= m.Counts.Lines {
		c.lost = append(c.lost, span{c.want, m.Counts.Lines, m.HeadIs})
	} else if c.last != "" && c.last != m.Head {
		c.add(fileLines, m.Counts.Lines, "the last line is not the one of the manifest: it was replaced")
	}
	for _, s := range c.lost {
		switch name := s.name; {
		case s.from == s.to && name != "":
			c.add(fileLines, s.from, "%s is missing", name)
		case s.from == s.to:
			c.add(fileLines, s.from, "line %d is missing", s.from)
		case name == "":
			c.add(fileLines, s.from, "lines %d to %d are missing", s.from, s.to)
		default:
			c.add(fileLines, s.from, "lines %d to %d are missing; the last of them is %s", s.from, s.to, name)
		}
	}
}

func keyText(k ed25519.PublicKey) string { return base64.RawURLEncoding.EncodeToString(k) }
