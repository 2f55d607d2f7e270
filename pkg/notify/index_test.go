package notify

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestIndexIsAMap holds the index to a map that is given the same incarnations.
func TestIndexIsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x, want := newIndex(), map[name]*instance{}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			n := name{fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "service")), fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "incarnation"))}
			if want[n] == nil {
				want[n] = newInstance(n, "")
				x.put(want[n])
			} else if rapid.Bool().Draw(t, "remove") {
				x.remove(n)
				delete(want, n)
			}
			got := 0
			for who := range x.all() {
				if got++; want[who.name()] != who {
					t.Fatalf("%v is there, want %v", who.name(), want[who.name()])
				}
			}
			if got != len(want) || x.n != len(want) {
				t.Fatalf("%d incarnations, %d counted, want %d", got, x.n, len(want))
			}
			for n, who := range want {
				if x.get(n) != who {
					t.Fatalf("%v is not found", n)
				}
			}
			if x.get(name{"other", n.incarnation}) != nil {
				t.Fatal("the service is not looked at")
			}
		}
	})
}
