package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tradepulse/rotator/pkg/secret"
)

// The codes of problems.
const (
	// CodeInvalid: a setting, or the file as a whole, is wrong.
	CodeInvalid secret.FindingCode = "invalid_setting"
	// CodeUnknown: there is no such setting.
	CodeUnknown secret.FindingCode = "unknown_setting"
	// CodeMissing: a setting is required.
	CodeMissing secret.FindingCode = "missing_setting"
)

// Problem is a finding about a configuration and the place where it was found.
// Its Subject is the setting, such as secrets[2].ttl; "" is the file as a whole.
// A warning has [secret.SeverityWarning].
type Problem struct {
	secret.Finding
	// File is the name of the file as it was given, or that of the environment
	// variable that the setting comes from; then Line and Column are 0.
	File string
	// Line and Column count from 1; columns are characters.
	Line, Column int
}

// problem returns a finding about a setting that is an error.
func problem(at place, code secret.FindingCode, setting, message, remedy string) Problem {
	return Problem{
		Finding: secret.Finding{Code: code, Severity: secret.SeverityError, Subject: setting, Message: message, Remedy: remedy},
		File:    at.file, Line: at.line, Column: at.column,
	}
}

// warning returns p as a warning.
func (p Problem) warning() Problem {
	p.Severity = secret.SeverityWarning
	return p
}

// String returns file:line:col: setting: message; remedy.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Finding.String()
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Finding)
}

// Problems is the error of [Parse] and [Load]: all that is wrong, in the order
// of the file. What comes from the environment comes last.
type Problems []Problem

// Error returns one line per problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems is how many problems are told of. A file that has more is not a
// configuration.
const maxProblems = 1000

// sorted returns the problems in their order, each of them once.
func sorted(p []Problem) []Problem {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(orLast(a.Line), orLast(b.Line)),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Subject, b.Subject),
			cmp.Compare(a.Message, b.Message),
		)
	})
	if p = slices.Compact(p); len(p) > maxProblems {
		p = append(p[:maxProblems:maxProblems], problem(place{file: p[0].File}, CodeInvalid, "", fmt.Sprintf("%d more problems", len(p)-maxProblems), ""))
	}
	return p
}

func orLast(line int) int {
	if line == 0 {
		return int(^uint(0) >> 1)
	}
	return line
}

// maxQuoted is how much of a setting a message repeats.
const maxQuoted = 48

// quote returns s in quotes, shortened. Use it only for settings that cannot
// hold a secret.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "…"
}

// plainKey matches keys that a path can have as they are.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// join returns the path of key below path.
func join(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

// pathOf returns the path of a location in the document.
func pathOf(root *node, loc []string) string {
	var path string
	at := root
	for _, step := range loc {
		if at != nil && at.shape == sequence {
			path += "[" + step + "]"
		} else {
			path = join(path, step)
		}
		at = at.child(step)
	}
	return path
}
