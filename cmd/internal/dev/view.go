package dev

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// frame is how often the view redraws.
const frame = 200 * time.Millisecond

var (
	bold  = lipgloss.NewStyle().Bold(true)
	faint = lipgloss.NewStyle().Faint(true)
	good  = lipgloss.NewStyle().Foreground(lipgloss.ANSIColor(2))
	warn  = lipgloss.NewStyle().Foreground(lipgloss.ANSIColor(5)) // yellow cannot be read on white
	bad   = lipgloss.NewStyle().Foreground(lipgloss.ANSIColor(1))
)

// model shows a board on a terminal. It ends on q, Ctrl-C, or when the run does.
type model struct {
	b             *board
	stop          func()
	press         func(key string)
	width, height int
}

type tick time.Time

func next() tea.Cmd { return tea.Tick(frame, func(t time.Time) tea.Msg { return tick(t) }) }

func (m model) Init() tea.Cmd { return next() }

func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyMsg:
		if k := msg.String(); k == "q" || k == "ctrl+c" {
			m.stop()
		} else {
			m.press(k)
		}
	case tick:
		return m, next()
	}
	return m, nil
}

func (m model) View() string { return m.b.render(time.Now(), m.width, m.height) }

// headLines is how many lines are above the secrets, and leastLines how many events are
// below them at least.
const headLines, leastLines = 5, 3

// render draws the board for a terminal of the given size; 0 means 80 × 40.
func (b *board) render(now time.Time, width, height int) string {
	width, height = cmp.Or(width, lineWidth), cmp.Or(height, 40)
	s := b.summary()
	b.mu.Lock()
	defer b.mu.Unlock()
	counts, reload, _ := strings.Cut(s.String(), "\n")
	out := []string{
		bold.Render("rotator dev") + faint.Render("   everything in this process · q or Ctrl-C ends it"),
		faint.Render("f freeze one  k kill one  b break a reload  c cut the bus  w wrong environment"),
		counts,
		reload,
		"",
	}
	for _, r := range b.rows() {
		out = append(out, r.render(now)...)
		out = append(out, "")
	}
	out = out[:max(min(len(out), height-1-leastLines), headLines)] // a low terminal shows what happens, not every instance
	room := max(height-len(out)-1, leastLines)
	var lines []string
	for _, l := range b.lines[max(len(b.lines)-room, 0):] {
		lines = append(lines, l.styled(width)...)
	}
	out = append(out, lines[max(len(lines)-room, 0):]...)
	for i, l := range out {
		out[i] = lipgloss.NewStyle().MaxWidth(width).Render(l)
	}
	return strings.Join(out, "\n")
}

func (r *row) render(now time.Time) []string {
	out := []string{
		bold.Render(string(r.id)),
		fmt.Sprintf("  current %s  age %s  %s  %s", short(r.version), seconds(now.Sub(r.since), r.since.IsZero()), r.next(now), r.progress()),
	}
	for _, who := range slices.Sorted(maps.Keys(r.instances)) {
		run := r.instances[who]
		state := good.Render("runs it")
		switch {
		case run.Status == events.StatusFailed:
			state = bad.Render("keeps the old one: " + run.Reason)
		case run.VersionID != r.version:
			state = warn.Render("reloading")
		}
		out = append(out, fmt.Sprintf("    %-20s %s  %s", who, short(run.VersionID), state))
	}
	if r.latency > 0 {
		out = append(out, faint.Render(fmt.Sprintf("    last reload %.1f ms after the announcement", float64(r.latency.Microseconds())/1000)))
	}
	return out
}

// next says when the secret rotates.
func (r *row) next(now time.Time) string {
	switch {
	case r.pending:
		return warn.Render("pending version written")
	case r.rotateAt.IsZero() || now.After(r.rotateAt):
		return warn.Render("rotates now")
	default:
		return "rotates in " + seconds(r.rotateAt.Sub(now), false)
	}
}

// progress says where the rollout of the current version is.
func (r *row) progress() string {
	switch r.rollout {
	case events.RolloutConverged, events.RolloutDraining, events.RolloutRetired:
		state := good.Render("on every instance")
		switch {
		case r.previous == "":
			return state
		case r.rollout == events.RolloutConverged:
			return state + faint.Render("  previous "+short(r.previous)+" kept")
		default:
			return state + faint.Render("  previous "+short(r.previous)+" "+string(r.rollout))
		}
	case events.RolloutStalled:
		return bad.Render(string(r.rollout))
	default:
		return warn.Render(string(r.rollout))
	}
}

func seconds(d time.Duration, unknown bool) string {
	if unknown {
		return "–"
	}
	return fmt.Sprintf("%.1fs", max(d, 0).Seconds())
}

// lineWidth is how wide a line is at most where no terminal says otherwise.
const lineWidth = 80

// last returns the last lines of the board, as a pipe shows them.
func (b *board) last(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out strings.Builder
	for _, l := range b.lines[max(len(b.lines)-n, 0):] {
		out.WriteString(strings.Join(l.wrapped(lineWidth), "\n") + "\n")
	}
	return out.String()
}

// verb is the last part of what happened: rotated, converged, failed.
func (l line) verb() string { return l.kind[strings.LastIndexByte(l.kind, '.')+1:] }

// name is the secret in one word.
func (l line) name() string {
	return map[secret.ID]string{auditID: "audit", adminID: "admin"}[l.id]
}

// wrapped returns the line in pieces of at most width columns. The time and the verb
// are whole in the first piece; what follows is below the text, or indented where little
// room is left beside them.
func (l line) wrapped(width int) []string {
	head := fmt.Sprintf("%s  %-15s  %-5s  ", l.at.Format("15:04:05"), l.verb(), l.name())
	var out []string
	if width-len(head) < 30 {
		out, head = []string{strings.TrimRight(head, " ")}, "  "
	}
	room := max(width-len(head), 10)
	row := ""
	for word := range strings.FieldsSeq(l.text) {
		if row != "" && len([]rune(row))+1+len([]rune(word)) > room {
			out, head, row = append(out, head+row), strings.Repeat(" ", len(head)), ""
		}
		row = strings.TrimPrefix(row+" "+word, " ")
	}
	return append(out, head+row)
}

// object is the line for a program.
func (l line) object() any {
	return struct {
		At       time.Time `json:"at"`
		Kind     string    `json:"kind"`
		SecretID secret.ID `json:"secret_id"`
		Text     string    `json:"text"`
	}{l.at.UTC(), l.kind, l.id, l.text}
}

// styled returns the pieces of the line for a terminal.
func (l line) styled(width int) []string {
	style := faint
	switch {
	case strings.HasSuffix(l.kind, "failed"), strings.HasSuffix(l.kind, "stalled"):
		style = bad
	case l.kind == "rollout.retired", l.kind == "rollout.converged":
		style = good
	case l.kind == "secret.near_expiry", l.kind == "rollout.waiting", strings.HasPrefix(l.kind, "you."):
		style = warn
	}
	out := l.wrapped(width)
	for i := range out {
		out[i] = style.Render(out[i])
	}
	return out
}
