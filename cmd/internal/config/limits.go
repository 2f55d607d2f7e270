package config

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// What a file may be made of. The limits on nesting and on keys are there for
// the parser, which recurses without a limit and takes time in the square of
// the keys of a section; no configuration comes near them.
const (
	// MaxSize is the largest file, in bytes.
	MaxSize    = 4 << 20
	maxIndent  = 64     // columns before the first character of a line
	maxNesting = 16     // brackets, or dashes on one line, in each other
	maxKeys    = 4096   // keys of one section
	maxAliased = 10_000 // nodes that aliases add to those that are written
)

// invalidUTF8 returns the line and column of the first byte that is not UTF-8.
func invalidUTF8(data []byte) (place, bool) {
	if utf8.Valid(data) {
		return place{}, false
	}
	at := place{line: 1, column: 1}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		if at.column++; r == '\n' {
			at.line, at.column = at.line+1, 1
		}
		i += n
	}
	return at, true
}

// beyond returns the first token that goes beyond a limit of the parser, and
// which, before the parser sees it.
func beyond(tokens token.Tokens) (*token.Token, string) {
	var m meter
	for _, tk := range tokens {
		if tk.Position.Line != m.line {
			m.line, m.dashes = tk.Position.Line, 0
			if message := m.begin(tk); message != "" {
				return tk, message
			}
		}
		m.count(tk)
		if m.brackets > maxNesting || m.dashes > maxNesting {
			return tk, tooDeep
		}
	}
	return nil, ""
}

const tooDeep = "nested too deep"

// meter measures a document token by token.
type meter struct {
	line     int
	brackets int                // open ones
	dashes   int                // in this line
	keys     [maxIndent + 1]int // :: column → lines of the open section that begin there
}

// begin takes the first token of a line. Within brackets columns mean nothing.
func (m *meter) begin(tk *token.Token) string {
	if m.brackets > 0 {
		return ""
	}
	at := tk.Position.Column
	if at > maxIndent {
		return tooDeep
	}
	clear(m.keys[at+1:])
	if m.keys[at]++; tk.Type == token.SequenceEntryType {
		m.keys[at] = 0
	}
	if m.keys[at] > maxKeys {
		return "too many keys in one section"
	}
	return ""
}

func (m *meter) count(tk *token.Token) {
	switch tk.Type {
	case token.SequenceStartType, token.MappingStartType:
		m.brackets++
	case token.SequenceEndType, token.MappingEndType:
		m.brackets = max(0, m.brackets-1)
	case token.SequenceEntryType, token.MappingKeyType:
		m.dashes++
	}
}
