package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// standIns are what a reader puts in place of a word in the documents.
var standIns = map[string]string{"FILE": "docs/examples/single-node.yaml", "rotator.yaml": "docs/examples/single-node.yaml", "ID": "orders/db-password"}

// TestCommandsInDocuments runs every command of the programs that a document
// shows, in its order, as a reader would, and looks for every task it names.
func TestCommandsInDocuments(t *testing.T) {
	t.Parallel()
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	docs = append(docs, "../README.md", "../CONTRIBUTING.md")
	ran := 0
	for _, doc := range docs {
		r := reader{t: t, dir: t.TempDir(), env: []string{
			"STATE_DIRECTORY=" + t.TempDir(),
			"ROTATOR_NODE_LISTEN=" + freeAddress(t), "ROTATOR_HTTP_LISTEN=" + freeAddress(t), "ROTATOR_HTTP_NOTIFIER_LISTEN=" + freeAddress(t),
			"TRADEPULSE_AUDIT_SECRET=Audit-Key-For-Tests-1", "TRADEPULSE_ADMIN_TOKEN=Admin-Token-For-Tests-1",
		}}
		for _, line := range commands(t, doc) {
			r.follow(doc, line)
			ran++
		}
		if r.node != nil {
			if code := r.node.drain(t); code != 0 {
				t.Errorf("%s: the node ends with %d:\n%s", doc, code, r.node.out)
			}
		}
	}
	if ran < 10 {
		t.Errorf("only %d commands found: have the documents another form now?", ran)
	}
}

// commands returns the indented lines of a document that are commands of ours.
func commands(t *testing.T, doc string) [][]string {
	t.Helper()
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	fenced := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		line, indented := strings.CutPrefix(line, "    ")
		if fenced || !indented {
			continue
		}
		line, _, _ = strings.Cut(line, " # ")
		words := strings.Fields(line)
		switch {
		case len(words) > 2 && words[0] == "go" && words[1] == "run":
			words = append([]string{filepath.Base(words[2])}, words[3:]...)
		case len(words) > 2 && slices.Equal(words[:3], []string{"go", "tool", "task"}), len(words) > 1 && (words[0] == "rotator" || words[0] == "notifier"):
		default:
			continue
		}
		for i, w := range words {
			if s, ok := standIns[w]; ok {
				words[i] = s
			}
		}
		out = append(out, words)
	}
	return out
}

// reader follows one document with a state of its own.
type reader struct {
	t    *testing.T
	dir  string // for what commands write
	env  []string
	node *program
}

func (r *reader) follow(doc string, words []string) {
	r.t.Helper()
	for i, w := range words {
		if strings.HasPrefix(w, "evidence-") {
			words[i] = filepath.Join(r.dir, w)
		}
	}
	switch {
	case words[0] == "go":
		r.taskExists(doc, words)
	case words[0] == "rotator" && words[1] == "dev":
		words = append(words, "--for", "3s")
		r.do(doc, words)
	case words[0] == "rotator" && words[1] == "run" && words[3] != standIns["FILE"]:
		r.do(doc, []string{"rotator", "config", "validate", words[3]}) // it needs a server; TestExampleOfEachStore has one
	case words[0] == "rotator" && words[1] == "run":
		r.run(words)
	case len(words) == 5 && words[1] == "keys" && words[2] == "new":
		r.do(doc, append(words[:4:4], filepath.Join(r.t.TempDir(), words[4]))) // it makes a file
	default:
		if slices.Contains([]string{"status", "rotate", "keys", "evidence"}, words[1]) && r.node == nil {
			r.run([]string{"rotator", "run", "--config", standIns["FILE"]})
		}
		r.do(doc, words)
	}
}

// start runs a program in the root of the repository.
func (r *reader) start(words []string) *program {
	r.t.Helper()
	p := &program{cmd: exec.Command(binary(r.t, words[0]), words[1:]...), out: &output{}, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = "..", append(os.Environ(), r.env...)
	p.run(r.t)
	return p
}

func (r *reader) run(words []string) {
	r.t.Helper()
	r.node = r.start(words)
	for _, e := range r.env {
		if health, ok := strings.CutPrefix(e, "ROTATOR_HTTP_LISTEN="); ok {
			ready(r.t, health)
		}
	}
}

func (r *reader) do(doc string, words []string) {
	r.t.Helper()
	p := r.start(words)
	if code := p.wait(r.t); code != 0 {
		r.t.Errorf("%s: %q: exit %d:\n%s", doc, words, code, p.out)
	}
}

func (r *reader) taskExists(doc string, words []string) {
	r.t.Helper()
	if len(words) < 4 {
		return // lists the tasks
	}
	text, err := os.ReadFile("../Taskfile.yml")
	if err != nil {
		r.t.Fatal(err)
	}
	if !strings.Contains(string(text), "\n  "+words[3]+":\n") {
		r.t.Errorf("%s: there is no task %q", doc, words[3])
	}
}
