package statuspage

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tradepulse/rotator/pkg/inspect"
)

// text writes a snapshot for a terminal: the sections of the page.
func text(w io.Writer, s *Snapshot) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s", s.Program, s.Version)
	if s.At.IsZero() {
		fmt.Fprint(&b, ": nothing has been read yet\n")
	} else {
		fmt.Fprintf(&b, ": %s, as of %s\n", count(len(s.Secrets), "secret"), s.At.UTC().Format(time.DateTime+" UTC"))
	}
	if s.Note != "" {
		fmt.Fprintln(&b, s.Note)
	}
	problemText(&b, s)
	table(&b, "Safe to revoke?", "SECRET\tSAFE\tBECAUSE", s.Secrets, func(one inspect.Secret) string {
		v := answer(one)
		return one.Name() + "\t" + v.Word + "\t" + v.Because
	})
	table(&b, "Waiting and silent instances", "INSTANCE\tWHY\tSECRET", s.waiting(), func(w waiting) string {
		return w.Who() + "\t" + inspect.Why(w.Blocker) + "\t" + w.Secret.Name()
	})
	table(&b, "Rollouts", "SECRET\tVERSION\tSTATE\tSINCE", s.Rollouts(ahead), func(one inspect.Secret) string {
		return one.Name() + "\t" + short(one.VersionID) + "\t" + progress(one).Word + "\t" + plainly(one.Timeline.Since, s.At)
	})
	table(&b, "Rotates in the next 24 hours", "SECRET\tWHEN\tWHY", s.Within(ahead), func(one inspect.Secret) string {
		return one.Name() + "\t" + plainly(one.RotateAt, s.At) + "\t" + reason(one)
	})
	table(&b, "Health", "CHECK\tSTATE\tBECAUSE", s.Health, func(c Check) string { return c.Name + "\t" + health(c).Word + "\t" + c.Reason })
	_, err := w.Write(b.Bytes())
	return err
}

func problemText(w io.Writer, s *Snapshot) {
	fmt.Fprintf(w, "\nNeeds a person: %d\n", len(s.Problems))
	for _, p := range s.Problems {
		fmt.Fprintf(w, "  %s: %s (since %s)\n", p.Subject, p.Sentence, plainly(p.Since, s.At))
		if p.Remedy != "" {
			fmt.Fprintf(w, "    %s\n", p.Remedy)
		}
		if p.Command != "" {
			fmt.Fprintf(w, "    $ %s\n", p.Command)
		}
	}
}

// table writes a section with a line for each row, or nothing without rows.
func table[T any](w io.Writer, title, columns string, rows []T, line func(T) string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "  %s\n", columns)
	for _, r := range rows {
		fmt.Fprintf(t, "  %s\n", line(r))
	}
	_ = t.Flush() // w takes everything
}

// plainly says when something is, in words and as a time.
func plainly(at, now time.Time) string {
	m := when(at, now)
	if !m.Known {
		return "–"
	}
	return m.Relative + ", " + m.Absolute
}
