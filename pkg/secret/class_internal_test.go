package secret

import (
	"testing"
	"unicode/utf8"
)

func TestClassSetsAreTheASCIIOfTheClass(t *testing.T) {
	if len(allClasses) != classCount {
		t.Fatal(len(allClasses), classCount)
	}
	for _, class := range allClasses {
		for c := range byte(utf8.RuneSelf) {
			one := charsOf(string(rune(c)))
			if in := !one.and(class.set()).empty(); in != class.has(rune(c)) {
				t.Errorf("%q in %s is %v", c, class, in)
			}
		}
	}
	if got := ClassSymbol.set().String(); got != "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" {
		t.Errorf("symbols are %s", got)
	}
	if Class("x").has('x') || !Class("x").set().empty() {
		t.Error("an unknown class has characters")
	}
}

func TestCharSetBounds(t *testing.T) {
	//nolint:gocritic // the space is the bound
	for s, want := range map[string][2]byte{"a": {'a', 'a'}, "0": {'0', '0'}, "5z": {'5', 'z'}, " ~": {' ', '~'}, "1?": {'1', '?'}, "@b": {'@', 'b'}} {
		if first, last := charsOf(s).bounds(); first != want[0] || last != want[1] {
			t.Errorf("%q is from %q to %q", s, first, last)
		}
	}
}
