package secret

import (
	"iter"
	"math/bits"
)

// gram is scrubPiece bytes in a row.
type gram uint64

const gramMask gram = 1<<(8*scrubPiece) - 1

// grams yields each gram of a text with where it begins.
func grams(text string) iter.Seq2[int, gram] {
	return func(yield func(int, gram) bool) {
		var g gram
		for i := range len(text) {
			g = g<<8&gramMask | gram(text[i])
			if begin := i + 1 - scrubPiece; begin >= 0 && !yield(begin, g) {
				return
			}
		}
	}
}

// places says where the grams of a text are. It is a table of lists, since most
// questions are for a gram that is not in the text, and a map answers them slowly.
type places struct {
	first []int32 // by hash of the gram: one more than its entry, 0 for none
	rest  []place // by where the gram begins
	shift int
}

type place struct {
	gram gram
	next int32
}

func placesIn(text string) places {
	size := bits.Len(uint(len(text))) + 1
	p := places{first: make([]int32, 1<<size), rest: make([]place, len(text)), shift: 64 - size}
	for i, g := range grams(text) {
		first := p.list(g)
		p.rest[i], *first = place{gram: g, next: *first}, int32(i+1)
	}
	return p
}

func (p places) list(g gram) *int32 {
	return &p.first[uint64(g)*0x9e3779b97f4a7c15>>p.shift]
}

// take yields where a gram is, and forgets that: a second form of a value has nothing
// to add there.
func (p places) take(g gram) iter.Seq[int] {
	return func(yield func(int) bool) {
		for next := p.list(g); *next != 0; {
			at := int(*next) - 1
			if p.rest[at].gram != g {
				next = &p.rest[at].next
				continue
			}
			*next = p.rest[at].next
			if !yield(at) {
				return
			}
		}
	}
}
