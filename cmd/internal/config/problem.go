package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a configuration, or, as a warning,
// odd about it.
type Problem struct {
	// File is the name of the file as it was given, or that of the environment
	// variable that the setting comes from; then Line and Column are 0.
	File string
	// Line and Column count from 1; columns are characters.
	Line, Column int
	// Path is the setting, such as secrets[2].ttl; "" is the file as a whole.
	Path string
	// Message says what is wrong and Remedy what to do. Neither has a value in
	// it that could be a secret.
	Message, Remedy string
}

// String returns file:line:col: path: message; remedy.
func (p Problem) String() string {
	s := p.File + ": "
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	}
	if p.Path != "" {
		s += p.Path + ": "
	}
	s += p.Message
	if p.Remedy != "" {
		s += "; " + p.Remedy
	}
	return s
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
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Message, b.Message),
		)
	})
	if p = slices.Compact(p); len(p) > maxProblems {
		p = append(p[:maxProblems:maxProblems], Problem{File: p[0].File, Message: fmt.Sprintf("%d more problems", len(p)-maxProblems)})
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
