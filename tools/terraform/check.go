package terraform

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// checker looks through one module.
type checker struct {
	problems []string
	declared map[string]*hclsyntax.Block // :: such as var.name, aws_iam_role.rotator, data.aws_region.current
	locals   map[string]bool
	used     map[string]bool
}

// Check returns what is wrong with the module in a directory, each with its
// place.
func Check(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("%s: no .tf files: %v", dir, err)
	}
	c := &checker{declared: map[string]*hclsyntax.Block{}, locals: map[string]bool{}, used: map[string]bool{}}
	bodies, err := c.parse(paths)
	if err != nil {
		return nil, err
	}
	for _, b := range bodies {
		c.declare(b)
	}
	for _, b := range bodies {
		for _, block := range b.Blocks {
			c.top(block)
		}
	}
	for name := range c.declared {
		if strings.HasPrefix(name, "var.") && !c.used[name] {
			c.say(c.declared[name].Range(), "%s is not used", name)
		}
	}
	slices.Sort(c.problems)
	return c.problems, nil
}

func (c *checker) say(at hcl.Range, format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf("%s:%d: ", filepath.Base(at.Filename), at.Start.Line)+fmt.Sprintf(format, args...))
}

func (c *checker) parse(paths []string) ([]*hclsyntax.Body, error) {
	p := hclparse.NewParser()
	var out []*hclsyntax.Body
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f, diags := p.ParseHCL(text, path)
		for _, d := range diags {
			c.say(*d.Subject, "%s: %s", d.Summary, d.Detail)
		}
		if diags.HasErrors() {
			continue
		}
		if !bytes.Equal(hclwrite.Format(text), text) {
			c.say(f.Body.MissingItemRange(), "not formatted as terraform fmt does")
		}
		if b, ok := f.Body.(*hclsyntax.Body); ok {
			out = append(out, b)
		}
	}
	return out, nil
}

func (c *checker) declare(b *hclsyntax.Body) {
	for _, block := range b.Blocks {
		name := strings.Join(block.Labels, ".")
		switch block.Type {
		case "variable":
			name = "var." + name
		case "data":
			name = "data." + name
		case "locals":
			for local := range block.Body.Attributes {
				c.locals[local] = true
			}
			continue
		case "resource":
		default:
			continue
		}
		if _, twice := c.declared[name]; twice {
			c.say(block.Range(), "%s is declared twice", name)
		}
		c.declared[name] = block
	}
}

func (c *checker) top(block *hclsyntax.Block) {
	switch block.Type {
	case "locals":
		for _, a := range block.Body.Attributes {
			c.expression(a.Expr, scope{})
		}
	case "resource", "data":
		kind, known := types[block.Type+"."+block.Labels[0]]
		if !known {
			c.say(block.Range(), "%s is not among the types that are checked: add it to types", block.Labels[0])
			return
		}
		kind.optional = slices.Concat(kind.optional, meta)
		s := scope{each: block.Body.Attributes["for_each"] != nil, count: block.Body.Attributes["count"] != nil}
		c.body(block.Body, kind, s, block.Labels[0])
	default:
		kind, known := top[block.Type]
		if !known {
			c.say(block.Range(), "unknown block %s", block.Type)
			return
		}
		c.body(block.Body, kind, scope{}, block.Type)
	}
}

// scope is what can be referred to at a place besides what is declared.
type scope struct {
	each, count bool
	iterator    string // of a dynamic block
}

func (c *checker) body(b *hclsyntax.Body, kind body, s scope, where string) {
	for name, a := range b.Attributes {
		if !slices.Contains(kind.required, name) && !slices.Contains(kind.optional, name) {
			c.say(a.Range(), "%s has no argument %s", where, name)
		}
		if where == "variable" && name == "type" || where == "required_providers" {
			continue // words of their own
		}
		c.expression(a.Expr, s)
	}
	for _, name := range kind.required {
		if b.Attributes[name] == nil {
			c.say(b.Range(), "%s lacks %s", where, name)
		}
	}
	for _, nested := range b.Blocks {
		c.nested(nested, kind, s, where)
	}
}

func (c *checker) nested(block *hclsyntax.Block, kind body, s scope, where string) {
	name, inner := block.Type, block.Body
	if block.Type == "dynamic" && len(block.Labels) == 1 {
		name = block.Labels[0]
		each := block.Body.Attributes["for_each"]
		if each == nil || len(block.Body.Blocks) != 1 || block.Body.Blocks[0].Type != "content" {
			c.say(block.Range(), "dynamic %s needs for_each and one content", name)
			return
		}
		c.expression(each.Expr, s)
		s.iterator, inner = name, block.Body.Blocks[0].Body
	}
	below, known := kind.blocks[name]
	if !known {
		c.say(block.Range(), "%s has no block %s", where, name)
		return
	}
	c.body(inner, below, s, name)
}

// expression checks every reference and function in e.
func (c *checker) expression(e hclsyntax.Expression, s scope) {
	for _, v := range e.Variables() {
		c.reference(v, s)
	}
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && !slices.Contains(functions, call.Name) {
			c.say(call.Range(), "unknown function %s", call.Name)
		}
		return nil
	})
}

func (c *checker) reference(v hcl.Traversal, s scope) {
	path := attributes(v)
	root := path[0]
	switch {
	case root == "each" && s.each, root == "count" && s.count, root == s.iterator && root != "", root == "path":
		return
	case root == "local" && len(path) > 1 && c.locals[path[1]]:
		return
	case root == "var" && len(path) > 1 && c.declared["var."+path[1]] != nil:
		c.used["var."+path[1]] = true
		return
	}
	n, class := 2, "resource"
	if root == "data" {
		n, class = 3, "data"
	}
	if len(path) < n || c.declared[strings.Join(path[:n], ".")] == nil {
		c.say(v.SourceRange(), "nothing is called %s", strings.Join(path, "."))
		return
	}
	c.attribute(v, path, n, class)
}

// attribute checks what is taken of a resource that is declared.
func (c *checker) attribute(v hcl.Traversal, path []string, n int, class string) {
	name := strings.Join(path[:n], ".")
	block := c.declared[name]
	many := block.Body.Attributes["count"] != nil || block.Body.Attributes["for_each"] != nil
	indexed := slices.ContainsFunc(v, func(t hcl.Traverser) bool { _, ok := t.(hcl.TraverseIndex); return ok })
	if len(path) > n && many != indexed {
		c.say(v.SourceRange(), "%s: an index belongs to what has count or for_each, and to nothing else", name)
	}
	kind := types[class+"."+path[n-2]]
	if len(path) > n && !slices.Contains(slices.Concat(kind.required, kind.optional, kind.exports), path[n]) {
		c.say(v.SourceRange(), "%s has no attribute %s", name, path[n])
	}
}

// attributes returns the names along a traversal, without its indexes.
func attributes(v hcl.Traversal) []string {
	var out []string
	for _, t := range v {
		switch t := t.(type) {
		case hcl.TraverseRoot:
			out = append(out, t.Name)
		case hcl.TraverseAttr:
			out = append(out, t.Name)
		}
	}
	return out
}
