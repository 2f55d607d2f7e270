package config

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parseYAML returns the one document of a file as a tree. What is wrong with it
// as YAML is returned as problems; the tree is nil when there is none.
func parseYAML(data []byte, file string) (*node, []Problem) {
	b := &builder{file: file, anchors: map[string]*node{}, budget: maxAliased}
	if len(data) > MaxSize {
		b.report(place{file: file, line: 1, column: 1}, "", fmt.Sprintf("the file is larger than %d MiB", MaxSize>>20), "split the secrets over several configurations")
		return nil, b.problems
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // the byte order mark of some editors
	if at, ok := invalidUTF8(data); ok {
		at.file = file
		b.report(at, "", "the file is not UTF-8", "save it as UTF-8")
		return nil, b.problems
	}
	tokens := lexer.Tokenize(string(data))
	if tk, message := beyond(tokens); tk != nil {
		b.report(b.place(tk), "", message, "nothing in a configuration needs as much")
		return nil, b.problems
	}
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		b.syntax(err)
		return nil, b.problems
	}
	return b.document(f), b.problems
}

// builder turns the parser's tree into ours.
type builder struct {
	file     string
	problems []Problem
	anchors  map[string]*node // :: name → the value that last had it
	budget   int              // how many nodes aliases may still add
}

func (b *builder) report(at place, path, message, remedy string) {
	b.problems = append(b.problems, problem(at, CodeInvalid, path, message, remedy))
}

func (b *builder) place(tk *token.Token) place {
	if tk == nil || tk.Position == nil {
		return place{file: b.file, line: 1, column: 1}
	}
	return place{file: b.file, line: max(1, tk.Position.Line), column: max(1, tk.Position.Column)}
}

// syntax reports what the parser did not understand. Its message alone: the
// excerpt that it offers could have a secret in it.
func (b *builder) syntax(err error) {
	var e yaml.Error
	if !errors.As(err, &e) {
		b.report(b.place(nil), "", "it is not YAML", "")
		return
	}
	b.report(b.place(e.GetToken()), "", "it is not YAML: "+e.GetMessage(), "check indentation, quotes and brackets near here")
}

func (b *builder) document(f *ast.File) *node {
	docs := f.Docs
	if len(docs) > 1 {
		b.report(b.place(docs[1].Start), "", "a second document begins", "keep the configuration in one document, without ---")
	}
	if len(docs) == 0 || docs[0].Body == nil {
		return newMapping(b.place(nil))
	}
	if _, null := docs[0].Body.(*ast.NullNode); null {
		return newMapping(b.place(nil))
	}
	return b.node(docs[0].Body, "")
}

// node converts one value. What cannot be converted is reported and null.
func (b *builder) node(n ast.Node, path string) *node {
	if n == nil {
		return &node{at: b.place(nil), key: b.place(nil)}
	}
	at := b.start(n)
	out := &node{at: at, key: at}
	switch n := n.(type) {
	case *ast.MappingNode:
		return b.mapping(n.Values, at, path)
	case *ast.MappingValueNode:
		return b.mapping([]*ast.MappingValueNode{n}, at, path)
	case *ast.SequenceNode:
		return b.sequence(n, at, path)
	case *ast.AnchorNode:
		out = b.node(n.Value, path)
		b.anchors[n.Name.GetToken().Value] = out
	case *ast.AliasNode:
		return b.alias(n, at, path)
	case *ast.StringNode:
		out.value = n.Value
	case *ast.LiteralNode:
		out.value = n.Value.Value
	case *ast.IntegerNode:
		out.value = n.Value
	case *ast.FloatNode:
		out.value = finite(n.Value, n.Token.Value)
	case *ast.BoolNode:
		out.value = n.Value
	case *ast.InfinityNode, *ast.NanNode:
		out.value = n.GetToken().Value
	case *ast.NullNode:
	default: // tags, directives
		b.report(at, path, "YAML tags are not supported", "write the value without one")
		out.bad = true
	}
	return out
}

// finite keeps numbers that JSON cannot hold as the text that they are.
func finite(f float64, text string) any {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return text
	}
	return f
}

// start returns where a value begins. The parser's own answer for a mapping is
// its first colon.
func (b *builder) start(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return b.place(n.Values[0].Key.GetToken())
		}
		return b.place(n.Start)
	case *ast.MappingValueNode:
		return b.place(n.Key.GetToken())
	case *ast.SequenceNode:
		return b.place(n.Start)
	default:
		return b.place(n.GetToken())
	}
}

func (b *builder) mapping(values []*ast.MappingValueNode, at place, path string) *node {
	out := newMapping(at)
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			b.badKey(v.Key, path)
			continue
		}
		below := join(path, key.Value)
		value := b.node(v.Value, below)
		value.key = b.place(key.Token)
		if first, ok := out.named[key.Value]; ok {
			b.report(value.key, below, fmt.Sprintf("the key stands here twice, first in line %d", first.key.line), "remove one")
			continue
		}
		out.set(key.Value, value)
	}
	return out
}

func (b *builder) badKey(key ast.MapKeyNode, path string) {
	at := b.place(key.GetToken())
	if _, ok := key.(*ast.MergeKeyNode); ok {
		b.report(at, path, "merge keys are not supported", "use defaults for what secrets have in common")
		return
	}
	b.report(at, path, "a key has to be a plain word", "write it in quotes")
}

func (b *builder) sequence(n *ast.SequenceNode, at place, path string) *node {
	out := &node{shape: sequence, at: at, key: at}
	for i, v := range n.Values {
		out.items = append(out.items, b.node(v, fmt.Sprintf("%s[%d]", path, i)))
	}
	return out
}

// alias returns a copy of what the anchor stands for, so that no later change
// of one shows in the other. An anchor is known from its end on: one that
// contains itself is not.
func (b *builder) alias(n *ast.AliasNode, at place, path string) *node {
	null := &node{at: at, key: at, bad: true}
	target, ok := b.anchors[n.Value.GetToken().Value]
	if !ok {
		b.report(at, path, "no anchor of this name stands before it", "check the name after *")
		return null
	}
	if b.budget < 0 {
		return null
	}
	c := target.clone(&b.budget)
	if c == nil {
		b.report(at, path, "aliases make the configuration too large", "use defaults for what secrets have in common")
		return null
	}
	c.key = at
	return c
}
