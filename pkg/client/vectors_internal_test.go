package client

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

var update = flag.Bool("update", false, "rewrite testdata/audit-vectors.json")

// auditVectors are for implementations in other languages: what they write from
// the records has to be the lines, and what they say of the lines has to be the
// verdict.
type auditVectors struct {
	// Keys by version, in base64.
	Keys   map[secret.VersionID][]byte `json:"keys"`
	Chains []auditChain                `json:"chains"`
	// Broken are logs of one process with something wrong.
	Broken []brokenChain `json:"broken"`
	// Merged are logs of several processes; BadLine is 0 for a good one.
	Merged []brokenChain `json:"merged"`
	// Attacked are logs of one process that the holder of an old key has changed, or
	// that were cut; BadLine is 0 for a good one, and one more than there are lines
	// for a log that should not end there.
	Attacked []attackedChain `json:"attacked"`
}

// attackedChain is a log with what its verifier knows beside the keys.
type attackedChain struct {
	brokenChain

	// Lives are when keys may have signed, Anchors what was kept elsewhere.
	Lives   map[secret.VersionID]vectorLife `json:"lives,omitempty"`
	Anchors []AuditPosition                 `json:"anchors,omitempty"`
	// Unannounced are the changes of the key without key.rotated in a good log.
	Unannounced int `json:"unannounced"`
}

type vectorLife struct {
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// auditChain is a log from its first record.
type auditChain struct {
	Name    string        `json:"name"`
	Records []auditInput  `json:"records"`
	Lines   []string      `json:"lines"`
	Last    auditPosition `json:"last"`
}

// auditInput is what a record is made of; the rest follows from the chain.
type auditInput struct {
	Time   time.Time         `json:"time"`
	Event  string            `json:"event"`
	Fields map[string]string `json:"fields"`
	KeyID  secret.VersionID  `json:"key_id"`
}

type auditPosition struct {
	Seq uint64 `json:"seq"`
	MAC string `json:"mac"`
}

type brokenChain struct {
	Name  string   `json:"name"`
	Lines []string `json:"lines"`
	// BadLine is the first bad line, from 1.
	BadLine int `json:"bad_line"`
}

func vectorKeys() map[secret.VersionID][]byte {
	binary := make([]byte, 0, 256)
	for i := range 256 {
		binary = append(binary, byte(i))
	}
	return map[secret.VersionID][]byte{
		"v1":                                   []byte("Correct-Horse-Battery-Staple-1!"),
		"b95d1402-5c0e-8d4b-9f5d-0c1f0b1f9a77": []byte("ключ ≠ key"),
		"3":                                    binary, // longer than the block of SHA-256, and no text
	}
}

func vectorChains() []auditChain {
	at := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	one := func(event string, fields map[string]string) auditInput {
		return auditInput{Time: at, Event: event, Fields: fields, KeyID: "v1"}
	}
	frac := func(ns int) auditInput {
		return auditInput{Time: at.Add(time.Duration(ns)), Event: "tick", KeyID: "v1"}
	}
	other := func(key secret.VersionID, event string) auditInput {
		return auditInput{Time: at.Add(time.Second), Event: event, Fields: map[string]string{"user": "ada"}, KeyID: key}
	}
	return []auditChain{
		{Name: "the first record, without fields", Records: []auditInput{one("service.started", nil)}},
		{Name: "an empty object of fields is left out", Records: []auditInput{one("service.started", map[string]string{})}},
		{Name: "the fraction of a second ends at its last digit that is not zero", Records: []auditInput{
			frac(0), frac(500_000_000), frac(123_456_000), frac(123_456_789), frac(1_000), frac(1),
		}},
		{Name: "text beyond ASCII stands as it is", Records: []auditInput{
			one("bestellung.ausgeführt", map[string]string{"заметка": "日本語 🔑 e\u0301 \u00a0", "note": "\u007f\u0080\ufffd\uffff"}),
		}},
		{Name: "characters of HTML stand as they are", Records: []auditInput{
			one("a<b>&'\"c", map[string]string{"q": `<script>alert("x") && 'y'</script>`, "path": `C:\temp/x`}),
		}},
		{Name: "control characters and the two line separators are escaped", Records: []auditInput{
			one("control", map[string]string{"short": "\b\f\n\r\t", "long": "\x00\x01\x0b\x1f", "lines": "a\u2028b\u2029c", "line\nname": ""}),
		}},
		{Name: "fields are ordered by the bytes of their names", Records: []auditInput{
			one("order", map[string]string{"b": "1", "a": "2", "B": "3", "aa": "4", "a b": "5", "10": "6", "9": "7", "é": "8", "\uffff": "9", "\U0001f511": "10", "_": "11", "": "12"}),
		}},
		{Name: "a key takes over from the key before", Records: []auditInput{
			other("v1", "one"), takes("3", "v1", at), other("3", "two"), takes(newest, "3", at), other(newest, "three"),
		}},
		{Name: "the key changes within a chain, as releases without key.rotated wrote it", Records: []auditInput{
			other("v1", "one"), other("v1", "two"), other(newest, "three"), other("3", "four"), other("3", "five"),
		}},
	}
}

// newest is the version of the key that replaced the others.
const newest = secret.VersionID("b95d1402-5c0e-8d4b-9f5d-0c1f0b1f9a77")

// takes is the first record of a key; the head is filled in.
func takes(key, from secret.VersionID, at time.Time) auditInput {
	return auditInput{Time: at.Add(time.Second), Event: EventKeyRotated, Fields: map[string]string{fieldFrom: string(from), fieldHead: ""}, KeyID: key}
}

// attacks are what an attacker does who has the keys v1 and 3, after they were replaced.
func attacks(t *testing.T, keys map[secret.VersionID][]byte, good []string) []attackedChain {
	t.Helper()
	at := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return at.AddDate(0, 0, n) }
	lives := map[secret.VersionID]vectorLife{
		"v1": {day(-30), day(1)}, "3": {day(0), day(2)}, newest: {day(0), time.Time{}},
	}
	heads := []auditPosition{{}}
	for _, line := range good {
		r, _ := parseAudit([]byte(line))
		heads = append(heads, auditPosition{r.Seq, r.MAC})
	}
	// forge writes records behind the first n of the log.
	forge := func(n int, records ...auditInput) []string {
		c := auditChain{Records: records, Last: heads[n]}
		c.write(t, keys)
		return append(append([]string(nil), good[:n]...), c.Lines...)
	}
	forged := func(key secret.VersionID, when time.Time) auditInput {
		return auditInput{Time: when, Event: "withdrawal.approved", KeyID: key}
	}
	log := func(name string, lines []string, bad int) attackedChain {
		return attackedChain{brokenChain: brokenChain{name, lines, bad}, Lives: lives, Anchors: []AuditPosition{AuditPosition(heads[1]), AuditPosition(heads[4])}}
	}
	plain := func(c attackedChain) attackedChain { c.Lives, c.Anchors = nil, nil; return c }
	elsewhere := takes("3", "v1", at)
	elsewhere.Fields = map[string]string{fieldFrom: "v1", fieldHead: heads[2].MAC}
	noLives := log("the end is cut off", good[:3], 4)
	noLives.Lives = nil
	fresh := forge(0, forged(newest, at), forged("v1", at.Add(time.Minute)))
	older := log("a new log of an old key behind a new one, announced by nothing", fresh, 2)
	older.Anchors = nil
	return []attackedChain{
		log("nothing is wrong", good, 0),
		plain(log("an old key signs behind a newer one", forge(5, forged("v1", at)), 6)),
		plain(log("an old key takes over again", forge(5, takes("3", newest, at)), 6)),
		plain(log("the last record is replaced with one of an old key", forge(4, forged("3", at)), 5)),
		plain(log("a new key signs unannounced behind one that was announced", forge(3, forged(newest, at)), 4)),
		plain(log("a key takes over from another key than the one before", forge(1, takes(newest, "3", at)), 2)),
		plain(log("a key takes over from another record than the last one", forge(1, elsewhere), 2)),
		log("an old key goes on from before it was replaced", forge(1, forged("v1", at)), 3),
		log("an old key writes all of it anew", forge(0, forged("v1", at), forged("v1", at), forged("v1", at), forged("v1", at)), 1),
		log("an old key signs after its life", forge(1, forged("v1", day(3))), 2),
		log("a key signs before it was made", forge(1, forged("v1", day(-31))), 2),
		older,
		noLives,
	}
}

// write makes the lines of a chain.
func (c *auditChain) write(t *testing.T, keys map[secret.VersionID][]byte) {
	t.Helper()
	for _, in := range c.Records {
		if in.Fields[fieldHead] == "" && in.Event == EventKeyRotated {
			in.Fields[fieldHead] = c.Last.MAC
		}
		r := AuditRecord{Seq: c.Last.Seq + 1, Time: in.Time, Event: in.Event, Fields: in.Fields, Prev: c.Last.MAC, KeyID: in.KeyID}
		line, err := r.sign(secret.NewValue(keys[in.KeyID]))
		if err != nil {
			t.Fatal(err)
		}
		c.Lines = append(c.Lines, strings.TrimSuffix(string(line), "\n"))
		c.Last = auditPosition{Seq: r.Seq, MAC: r.MAC}
	}
}

func brokenChains(good []string) []brokenChain {
	change := func(line int, from, to string) []string {
		lines := append([]string(nil), good...)
		lines[line-1] = strings.Replace(lines[line-1], from, to, 1)
		return lines
	}
	return []brokenChain{
		{"a field has changed", change(2, "ada", "bob"), 2},
		{"the time has changed", change(3, "02:00:01", "02:00:02"), 3},
		{"the MAC is another", change(4, `"mac":"`, `"mac":"0`), 4},
		{"the MAC is in upper case", append(append([]string(nil), good[:4]...), upperMAC(good[4])), 5},
		{"a record is missing", append(append([]string(nil), good[:1]...), good[2:]...), 2},
		{"two records are swapped", []string{good[0], good[2], good[1], good[3], good[4]}, 2},
		{"a record stands twice", []string{good[0], good[1], good[1], good[2]}, 3},
		{"the key is unknown", change(3, `"key_id":"b95d`, `"key_id":"c95d`), 3},
		{"the key is another one that is known", change(2, `"key_id":"v1"`, `"key_id":"3"`), 2},
		{"a space stands between members", change(1, `,"time"`, `, "time"`), 1},
		{"a member more", change(5, `,"prev"`, `,"more":"x","prev"`), 5},
		{"a member stands twice", change(5, `"event":`, `"event":"five","event":`), 5},
		{"a character is escaped without need", change(4, "four", `\u0066our`), 4},
		{"a line is no record", append(append([]string(nil), good[:3]...), "[]"), 4},
		{"the first record is missing", good[1:], 1},
		{"a carriage return ends a line", append(append([]string(nil), good[:3]...), good[3]+"\r"), 4},
		{"the chain begins anew", append(append([]string(nil), good...), good[0]), 6},
		{"a line is empty", append(append([]string(nil), good[:3]...), "", good[3]), 4},
	}
}

func mergedLogs(a, b []string) []brokenChain {
	return []brokenChain{
		{"two processes in turn", []string{a[0], b[0], a[1], a[2], b[1], b[2], a[3]}, 0},
		{"one after the other", append(append([]string(nil), b...), a...), 0},
		{"a record of one is missing", []string{a[0], b[0], a[1], b[2], a[2]}, 4},
		{"the first record of one is missing", []string{a[0], b[1], a[1]}, 2},
		{"a first record stands twice", []string{a[0], b[0], a[1], b[0]}, 4},
		{"a record stands twice", []string{a[0], b[0], a[1], b[1], a[1]}, 5},
	}
}

func upperMAC(line string) string {
	before, mac, _ := strings.Cut(line, `"mac":"`)
	return before + `"mac":"` + strings.ToUpper(mac[:64]) + mac[64:]
}

func TestAuditVectors(t *testing.T) {
	t.Parallel()
	v := auditVectors{Keys: vectorKeys(), Chains: vectorChains()}
	for i := range v.Chains {
		v.Chains[i].write(t, v.Keys)
	}
	v.Broken = brokenChains(v.Chains[len(v.Chains)-1].Lines)
	v.Merged = mergedLogs(v.Chains[len(v.Chains)-1].Lines, v.Chains[2].Lines)
	v.Attacked = attacks(t, v.Keys, v.Chains[len(v.Chains)-2].Lines)
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/audit-vectors.json"
	if *update {
		if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, text.Bytes()) {
		t.Fatalf("%s is another: what is in an audit log has changed, see it with -update", file)
	}
	var held auditVectors
	if err := json.Unmarshal(want, &held); err != nil {
		t.Fatal(err)
	}
	held.check(t)
}

// check verifies what the file says about its lines.
func (v auditVectors) check(t *testing.T) {
	t.Helper()
	lookup := func(id secret.VersionID) (secret.Value, error) {
		key, ok := v.Keys[id]
		if !ok {
			return secret.Value{}, store.ErrNotFound
		}
		return secret.NewValue(key), nil
	}
	for _, c := range v.Chains {
		n, last, err := VerifyAudit(strings.NewReader(strings.Join(c.Lines, "\n")+"\n"), lookup)
		if err != nil || n != len(c.Records) || last.Seq != c.Last.Seq || last.MAC != c.Last.MAC {
			t.Errorf("%s: %d records, last %d, err %v", c.Name, n, last.Seq, err)
		}
	}
	for _, c := range slices.Concat(v.Broken, v.Merged) {
		merged := slices.ContainsFunc(v.Merged, func(m brokenChain) bool { return &m.Lines[0] == &c.Lines[0] })
		_, err := AuditVerifier{Key: lookup, Merged: merged}.Verify(strings.NewReader(strings.Join(c.Lines, "\n") + "\n"))
		bad, is := errors.AsType[*AuditError](err)
		if is != (c.BadLine > 0) || is && bad.Line != c.BadLine || !is && err != nil {
			t.Errorf("%s: err %v, want the first bad line %d", c.Name, err, c.BadLine)
		}
	}
	for _, c := range v.Attacked {
		verifier := AuditVerifier{Key: lookup, Anchors: c.Anchors, Life: func(id secret.VersionID) (KeyLife, bool) {
			life, ok := c.Lives[id]
			return KeyLife(life), ok
		}}
		res, err := verifier.Verify(strings.NewReader(strings.Join(c.Lines, "\n") + "\n"))
		bad, is := errors.AsType[*AuditError](err)
		if is != (c.BadLine > 0) || is && bad.Line != c.BadLine || !is && (err != nil || res.Unannounced != c.Unannounced) {
			t.Errorf("%s: err %v, want the first bad line %d", c.Name, err, c.BadLine)
		}
	}
	if got := base64.StdEncoding.EncodeToString(v.Keys["v1"]); got != "Q29ycmVjdC1Ib3JzZS1CYXR0ZXJ5LVN0YXBsZS0xIQ==" {
		t.Errorf("the key v1 stands as %s", got)
	}
}
