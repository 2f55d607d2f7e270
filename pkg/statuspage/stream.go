package statuspage

import (
	"bytes"
	"fmt"
	"net/http"
	"time"
)

const (
	// heartbeat is how often a stream without news says that it is alive.
	heartbeat = 15 * time.Second
	// patience is how long a viewer may take for what it is sent.
	patience = 10 * time.Second
)

// stream sends a viewer what changes: server-sent events whose data are elements, each
// of which replaces the content of the one with the same id.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	if p.streams.Add(1) > maxStreams {
		p.streams.Add(-1)
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many viewers are kept up to date; reload the page instead", http.StatusServiceUnavailable)
		return
	}
	defer p.streams.Add(-1)
	p.ask()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy passes each event on at once
	at := r.URL.Query().Get("at")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		at = last
	}
	v := viewer{w: w, control: http.NewResponseController(w)}
	p.follow(r, &v, at)
}

// follow writes each snapshot after the one with the given ID, until the viewer has
// gone or the page ends.
func (p *Page) follow(r *http.Request, v *viewer, at string) {
	shown, changed := p.watch()
	if shown.id == at {
		v.at = shown
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	if v.begin() != nil {
		return
	}
	for {
		if v.show(shown) != nil {
			return
		}
		select {
		case <-changed:
			shown, changed = p.watch()
		case <-tick.C:
			p.ask()
			if v.write([]byte(": alive\n\n")) != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-p.done:
			return
		}
	}
}

// viewer is the other end of a stream.
type viewer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	at      *rendered // what it shows, nil if that is not known
}

func (v *viewer) begin() error { return v.write([]byte("retry: 3000\n\n")) }

// show sends what has changed since the snapshot that the viewer shows.
func (v *viewer) show(next *rendered) error {
	if v.at == next {
		return nil
	}
	var b bytes.Buffer
	if v.at == nil || !bytes.Equal(v.at.summary, next.summary) {
		event(&b, "part", next.id, next.summary)
	}
	for i, p := range next.parts {
		if v.at == nil {
			event(&b, "part", next.id, p.html)
			continue
		}
		changes(&b, next.id, v.at.parts[i], p)
	}
	v.at = next
	return v.write(b.Bytes())
}

// changes writes the rows of a part that changed, or the part if others are in it.
func changes(b *bytes.Buffer, id string, old, next *part) {
	if len(old.rows) != len(next.rows) || old.More != next.More || old.Empty != next.Empty {
		event(b, "part", id, next.html)
		return
	}
	var rows []byte
	for i, r := range next.rows {
		if old.rows[i].id != r.id {
			event(b, "part", id, next.html)
			return
		}
		if !bytes.Equal(old.rows[i].html, r.html) {
			rows = append(rows, r.html...)
		}
	}
	if rows != nil {
		event(b, "row", id, rows)
	}
}

// event writes one event. A line break would end its data.
func event(b *bytes.Buffer, name, id string, html []byte) {
	fmt.Fprintf(b, "event: %s\nid: %s\n", name, id)
	for line := range bytes.Lines(html) {
		fmt.Fprintf(b, "data: %s\n", bytes.TrimRight(line, "\r\n"))
	}
	b.WriteString("\n")
}

// write sends b at once. The deadline of the server for whole answers does not apply.
func (v *viewer) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_ = v.control.SetWriteDeadline(time.Now().Add(patience)) // not every writer has one
	_ = v.control.SetReadDeadline(time.Time{})
	if _, err := v.w.Write(b); err != nil {
		return err
	}
	return v.control.Flush()
}
