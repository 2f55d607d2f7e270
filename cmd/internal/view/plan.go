package view

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Plan prints what happens to each secret, when and why, then where things differ from
// what they should be. first is whether nothing has run with the configuration yet.
func Plan(w io.Writer, p inspect.Plan, first bool) error {
	if p.Bus != "" {
		if _, err := fmt.Fprintf(w, "bus not reached: instances, timers and rollouts are unknown (%s)\n\n", p.Bus); err != nil {
			return err
		}
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SECRET\tSTORE\tFROM\tACTION\tWHEN\tWHY\tRELOADS\tINSTANCES\tWAIT")
	errs := newFailures()
	for _, s := range p.Secrets {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plannedName(s), s.Store, origin(s.Discovered), cmp.Or(errs.of(s.Error), string(s.Action)), plannedAt(s, p, first), why(s), several(s.Services), live(s), outlives(s))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if _, err := io.WriteString(w, errs.String()); err != nil {
		return err
	}
	return drift(w, p.Drift)
}

// drift prints where things differ from what they should be.
func drift(w io.Writer, all []secret.Finding) error {
	if len(all) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "\nDrift: %d (docs/discovery.md, docs/operating.md, docs/runbook.md)\n", len(all))
	for _, f := range all {
		text := f.Message
		if f.Remedy != "" {
			text += "; " + f.Remedy
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", f.Subject, f.Code, text)
	}
	return t.Flush()
}

func plannedName(s inspect.Planned) string {
	switch {
	case s.SecretID != "":
		return string(s.SecretID)
	case s.Path != "":
		return "(" + s.Path + ")"
	default:
		return "(the store)"
	}
}

func origin(discovered bool) string {
	if discovered {
		return "tags"
	}
	return "config"
}

func plannedAt(s inspect.Planned, p inspect.Plan, first bool) string {
	switch {
	case s.Action == inspect.ActionNone:
		return "–"
	case first:
		return "at the first start"
	case !s.At.After(p.MadeAt):
		return "now"
	default:
		return s.At.Local().Format("2006-01-02 15:04:05 MST")
	}
}

// why says why something happens at its time: the reason, and what the time is made of.
func why(s inspect.Planned) string {
	if s.Error != "" {
		return "–"
	}
	out := string(s.Reason)
	if s.Message() != "" {
		out += ": " + s.Message()
	}
	if s.Due == nil {
		return out
	}
	sum := []string{seconds(s.Due.Life) + " life"}
	for _, part := range []struct {
		name string
		n    int
	}{{"margin", s.Due.Margin}, {"jitter", s.Due.Jitter}, {"to the window", s.Due.Window}} {
		if part.n > 0 {
			sum = append(sum, seconds(part.n)+" "+part.name)
		}
	}
	out += " (" + strings.Join(sum, " − ")
	if len(s.Due.Windows) > 0 {
		out += ", window " + strings.Join(s.Due.Windows, " or ")
	}
	return out + ")"
}

// live returns how many instances reload.
func live(s inspect.Planned) string {
	if s.Instances == nil {
		return "unknown"
	}
	return fmt.Sprint(*s.Instances)
}

// outlives returns how long the version outlives its successor's promotion at least,
// and which of grace period, lease and floor that is.
func outlives(s inspect.Planned) string {
	switch {
	case s.Wait == 0 || s.Action != inspect.ActionRotate:
		return "–"
	case s.Wait == s.Floor:
		return seconds(s.Wait) + " floor"
	case s.Wait == s.Grace:
		return seconds(s.Wait) + " grace"
	default:
		return seconds(s.Wait) + " lease"
	}
}

// seconds writes a number of seconds as exactly as a person wants to know.
func seconds(n int) string { return about(time.Duration(n) * time.Second) }

func about(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		d = d.Round(time.Hour)
	case d >= 2*time.Hour:
		d = d.Round(time.Minute)
	default:
		d = d.Round(time.Second)
	}
	return secret.FormatDuration(d)
}
