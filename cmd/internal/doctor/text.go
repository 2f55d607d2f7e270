package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Print prints what was found, and for each finding the command. What servers and
// strangers wrote is printed without control characters.
func Print(w io.Writer, found []Finding) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "nothing is wrong")
		return err
	}
	for _, f := range found {
		text := fmt.Sprintf("%-7s  %s  %s\n         %s\n         $ %s\n", f.Severity, f.Code, f.Subject, f.Message, f.Remedy)
		switch {
		case f.Fixed:
			text += "         fixed\n"
		case f.FixError != "":
			text += "         not fixed: " + f.FixError + "\n"
		}
		if _, err := io.WriteString(w, printable(text)); err != nil {
			return err
		}
	}
	return nil
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// Left returns how many findings were not fixed, and how many of them are errors.
func Left(found []Finding) (all, errs int) {
	for _, f := range found {
		if f.Fixed {
			continue
		}
		all++
		if f.Severity == secret.SeverityError {
			errs++
		}
	}
	return all, errs
}

// WithConfig adds to the commands of findings which configuration they are about.
func WithConfig(found []Finding, path string) {
	quoted := path
	if strings.ContainsFunc(path, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+@%=:,", r)
	}) {
		quoted = "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	for i, f := range found {
		if strings.HasPrefix(f.Remedy, "rotator ") && f.Remedy != "rotator config schema" {
			found[i].Remedy += " --config " + quoted
		}
	}
}
