package config

import (
	"slices"
	"strconv"
)

// shape is what a [node] is made of.
type shape int

const (
	scalar shape = iota
	mapping
	sequence
)

// place is where something was written: in a file, or, when line is 0, in the
// environment variable of that name.
type place struct {
	file         string
	line, column int
}

// node is one value of the document and where it was written.
type node struct {
	shape shape
	at    place            // where the value begins
	key   place            // where its key begins; at, when it has none
	value any              // of a scalar: string, int64, uint64, float64, bool or nil
	names []string         // of a mapping: its keys in the order of the file
	named map[string]*node // of a mapping :: key → value
	items []*node          // of a sequence
	bad   bool             // null in place of something that has been reported
}

func newMapping(at place) *node {
	return &node{shape: mapping, at: at, key: at, named: map[string]*node{}}
}

// set puts n under key, instead of what may be there.
func (n *node) set(key string, child *node) {
	if _, ok := n.named[key]; !ok {
		n.names = append(n.names, key)
	}
	n.named[key] = child
}

// child returns the value under a key or an index, nil when there is none.
func (n *node) child(step string) *node {
	switch {
	case n == nil:
		return nil
	case n.shape == mapping:
		return n.named[step]
	case n.shape == sequence:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.items) {
			return n.items[i]
		}
	}
	return nil
}

// get returns the node at a location, nil when there is none.
func (n *node) get(loc []string) *node {
	for _, step := range loc {
		n = n.child(step)
	}
	return n
}

// find returns the node at a location, or the deepest one on the way to it.
func (n *node) find(loc []string) *node {
	for _, step := range loc {
		next := n.child(step)
		if next == nil {
			break
		}
		n = next
	}
	return n
}

// json returns the value as package encoding/json would decode it.
func (n *node) json() any {
	switch n.shape {
	case mapping:
		m := make(map[string]any, len(n.named))
		for k, v := range n.named {
			m[k] = v.json()
		}
		return m
	case sequence:
		s := make([]any, len(n.items))
		for i, v := range n.items {
			s[i] = v.json()
		}
		return s
	default:
		return n.value
	}
}

// blank makes the node null, so that nothing of it is decoded and the positions
// of its neighbours stay.
func (n *node) blank() { *n = node{at: n.at, key: n.key} }

// clone returns a deep copy and counts its nodes against budget. It returns nil
// when that is used up.
func (n *node) clone(budget *int) *node {
	if *budget--; *budget < 0 {
		return nil
	}
	c := &node{shape: n.shape, at: n.at, key: n.key, value: n.value, names: slices.Clone(n.names), bad: n.bad}
	if n.shape == mapping {
		c.named = make(map[string]*node, len(n.named))
	}
	for k, v := range n.named {
		if c.named[k] = v.clone(budget); c.named[k] == nil {
			return nil
		}
	}
	for _, v := range n.items {
		item := v.clone(budget)
		if item == nil {
			return nil
		}
		c.items = append(c.items, item)
	}
	return c
}
