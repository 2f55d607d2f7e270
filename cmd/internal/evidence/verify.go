package evidence

import (
	"bufio"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/tradepulse/rotator/pkg/events"
)

// maxProblems bounds the problems that are named.
const maxProblems = 200

// maxLine bounds a line, in bytes: a record that a server takes is smaller.
const maxLine = 4 << 20

// Problem is one thing that is wrong.
type Problem struct {
	File string `json:"file"`
	// Line is the line of evidence.jsonl or the row of a table, 0 for none.
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

// Result is what verifying a directory found.
type Result struct {
	Valid    bool     `json:"valid"`
	KeyID    string   `json:"key_id,omitempty"`
	Pinned   bool     `json:"key_pinned"`
	Manifest Manifest `json:"manifest"`
	// Problems are the first that were found, and More counts the others.
	Problems []Problem `json:"problems"`
	More     int       `json:"more_problems,omitempty"`
}

// Verify checks a directory. With a key, that one has to have sealed it. The error is
// about a directory that cannot be read.
func Verify(dir string, pin ed25519.PublicKey) (Result, error) {
	c := &checker{dir: dir, chains: newChains(), places: places{want: 1}, rows: map[string]*rows{}, r: Result{Problems: []Problem{}, Pinned: pin != nil}}
	defer c.close()
	ok, err := c.manifest(pin)
	if err != nil {
		return Result{}, err
	}
	if ok {
		for _, name := range append([]string{fileReadme, fileLines}, tables...) {
			if err := c.hash(name); err != nil {
				return Result{}, err
			}
		}
		if err := c.lines(); err != nil {
			return Result{}, err
		}
	}
	c.r.Valid = len(c.r.Problems) == 0
	return c.r, nil
}

// checker checks one directory.
type checker struct {
	dir    string
	r      Result
	key    ed25519.PublicKey
	derive *deriver
	rows   map[string]*rows
	bad    []Problem // of tables
	chains *chains
	places
}

func (c *checker) add(file string, line int, format string, args ...any) {
	if len(c.r.Problems) >= maxProblems {
		c.r.More++
		return
	}
	c.r.Problems = append(c.r.Problems, Problem{file, line, fmt.Sprintf(format, args...)})
}

// manifest reads the manifest, and reports whether it can be believed.
func (c *checker) manifest(pin ed25519.PublicKey) (bool, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, fileManifest))
	if err != nil {
		return false, err
	}
	s, err := events.ParseSealed(text)
	if err == nil {
		c.key, err = s.Key()
	}
	if err == nil {
		err = s.Open(sealedManifest, &c.r.Manifest)
	}
	switch {
	case err != nil:
		c.add(fileManifest, 0, "it was altered, or a later rotator wrote it: %v", err)
		return false, nil
	case c.r.Manifest.Format != Format:
		c.add(fileManifest, 0, "its format is %d, and this program knows %d", c.r.Manifest.Format, Format)
		return false, nil
	}
	c.r.KeyID = s.KeyID
	if pin != nil && !pin.Equal(c.key) {
		c.add(fileManifest, 0, "key %s signed it, which is not the one that was given", s.KeyID)
	}
	return true, nil
}

// hash compares a file with the manifest.
func (c *checker) hash(name string) error {
	i := slices.IndexFunc(c.r.Manifest.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		c.add(fileManifest, 0, "it does not list %s", name)
		return nil
	}
	got, err := hashFile(c.dir, name)
	switch want := c.r.Manifest.Files[i]; {
	case errors.Is(err, os.ErrNotExist):
		c.add(name, 0, "it is missing")
		return nil
	case err == nil && got != want:
		c.add(name, 0, "it is not the file of the manifest: its SHA-256 is %s, want %s", got.SHA256, want.SHA256)
	}
	return err
}

// lines checks every line, and the tables by what follows from them.
func (c *checker) lines() (err error) {
	f, err := os.Open(filepath.Join(c.dir, fileLines))
	if errors.Is(err, os.ErrNotExist) {
		return nil // reported
	}
	if err != nil {
		return err
	}
	defer f.Close()
	before := len(c.r.Problems)
	if c.derive, err = newDeriver(c.r.Manifest.Seed, c.r.Manifest.SampleSize, c.row); err != nil {
		return err
	}
	in := bufio.NewScanner(f)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		if err := c.line(in.Bytes()); err != nil {
			return err
		}
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		c.add(fileLines, c.want, "line %d is longer than %d bytes, and the rest was not read", c.want, maxLine)
		return nil
	}
	if in.Err() != nil {
		return in.Err()
	}
	c.end(len(c.r.Problems) == before)
	return nil
}

// line checks one line.
func (c *checker) line(text []byte) error {
	s, err := events.ParseSealed(text)
	var key ed25519.PublicKey
	if err == nil {
		key, err = s.Key()
	}
	var l Line
	if err == nil {
		err = s.Open(sealedLine, &l)
	}
	digest := ""
	if err == nil {
		digest, err = s.Digest()
	}
	if err == nil && !key.Equal(c.key) {
		err = fmt.Errorf("key %s signed it, and another one the manifest", s.KeyID)
	}
	if err != nil {
		c.altered(text, err)
		return nil
	}
	c.place(l, digest)
	if l.Record != nil {
		c.record(l)
	}
	return c.derive.line(l)
}

// altered reports a line that is not what was signed. What it says of itself is not
// known to be true.
func (c *checker) altered(text []byte, err error) {
	var claimed struct {
		Body Line `json:"body"`
	}
	l := Line{N: c.want}
	if json.Unmarshal(text, &claimed) == nil && claimed.Body.N == c.want {
		l = claimed.Body
	}
	c.add(fileLines, c.want, "%s was altered: %v", l.what(), err)
	if l.Record != nil {
		c.chains.add(l.Record, "") // the next one is not checked against it
	}
	c.skip()
}

// record checks a record by itself, and its place among those on its subject.
func (c *checker) record(l Line) {
	e := read(l.Record)
	if !e.believed {
		c.add(fileLines, l.N, "%s is not valid: %s", l.what(), e.problem)
	}
	if e.sealed && l.Record.Trusted && !slices.ContainsFunc(c.r.Manifest.Keys, func(k Key) bool { return k.Trusted && keyText(e.key) == k.Public }) {
		c.add(fileLines, l.N, "%s is signed by a key that the manifest does not list as trusted", l.what())
	}
	if !c.disorder {
		c.follows(l, e)
	}
	c.chains.add(l.Record, e.digest)
}

// follows checks that a record names the one before it on its subject.
func (c *checker) follows(l Line, e *entry) {
	if l.Record.Seq <= c.chains.last {
		c.add(fileLines, l.N, "%s stands behind record %d of the stream", l.what(), c.chains.last)
	}
	before := c.chains.at(l.Record.Subject)
	switch {
	case !e.chained || !e.believed || before != nil && before.SHA256 == "":
	case before == nil && e.previous != nil && c.chains.first > 0 && e.previous.Seq >= c.chains.first:
		c.add(fileLines, l.N, "record %d is missing, which %s names as the one before it", e.previous.Seq, l.what())
	case before != nil && e.previous == nil:
		c.add(fileLines, l.N, "%s does not name record %d before it", l.what(), before.Last)
	case before != nil && e.previous.SHA256 != before.SHA256 && e.previous.Seq > before.Last:
		c.add(fileLines, l.N, "record %d is missing, which %s names as the one before it", e.previous.Seq, l.what())
	case before != nil && e.previous.SHA256 != before.SHA256:
		c.add(fileLines, l.N, "%s names another record before it than record %d: one was replaced", l.what(), before.Last)
	}
}

// row compares a row that follows from the lines with the table.
func (c *checker) row(table string, row []string) error {
	r := c.rows[table]
	if r == nil {
		f, err := os.Open(filepath.Join(c.dir, table))
		if errors.Is(err, os.ErrNotExist) {
			c.rows[table] = &rows{done: true} // reported
			return nil
		}
		if err != nil {
			return err
		}
		r = &rows{f: f, in: bufio.NewReader(f)}
		c.rows[table] = r
	}
	if problem := r.next(csvRow(row)); problem != "" {
		c.bad = append(c.bad, Problem{table, r.n, fmt.Sprintf("%s, where %s says: %.200s", problem, fileLines, csvRow(row))})
	}
	return nil
}

// end checks what shows at the end. ok is true if nothing was wrong with the lines.
func (c *checker) end(ok bool) {
	m := c.r.Manifest
	before := len(c.r.Problems)
	c.missing(m)
	if ok = ok && len(c.r.Problems) == before; !ok {
		return // tables, counts and chains follow from lines
	}
	if err := c.derive.end(); err != nil {
		c.add(fileLines, 0, "%v", err)
	}
	for _, t := range tables {
		if r := c.rows[t]; r != nil && r.more() {
			c.bad = append(c.bad, Problem{t, r.n + 1, "there is more than follows from " + fileLines})
		}
	}
	for _, p := range c.bad {
		c.add(p.File, p.Line, "%s", p.Message)
	}
	if m.Counts != c.derive.counts {
		c.add(fileManifest, 0, "it counts %+v, and there are %+v", m.Counts, c.derive.counts)
	}
	if !slices.Equal(m.Chains, c.chains.all) {
		c.add(fileManifest, 0, "its chains are not those of the records")
	}
}

func (c *checker) close() {
	for _, r := range c.rows {
		if r.f != nil {
			_ = r.f.Close() // it was only read
		}
	}
}

// rows are those of a table that is compared.
type rows struct {
	f    *os.File
	in   *bufio.Reader
	n    int
	done bool // after a difference
}

// next compares the next row. After one that differs it compares no more.
func (r *rows) next(want []byte) (problem string) {
	if r.done {
		return ""
	}
	r.n++
	got := make([]byte, len(want))
	n, err := io.ReadFull(r.in, got)
	if err == nil && string(got) == string(want) {
		return ""
	}
	r.done = true
	if n == 0 {
		return fmt.Sprintf("row %d is missing", r.n)
	}
	return fmt.Sprintf("row %d was altered, removed or moved", r.n)
}

func (r *rows) more() bool {
	if r.done {
		return false
	}
	_, err := r.in.Peek(1)
	return err == nil
}
