package lambda

import "testing"

// TestWhatStartsAFunction: the runtime, and the name that it wants. Elsewhere a program of
// that name fails, and does not end with its help as if all were well.
func TestWhatStartsAFunction(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args    []string
		runtime bool
		want    bool
	}{
		{[]string{"/var/task/bootstrap"}, true, true},
		{[]string{"/var/task/rotator"}, true, true},
		{[]string{"./bootstrap"}, false, true},
		{[]string{"./bootstrap", "version"}, false, false},
		{[]string{"rotator"}, false, false},
		{[]string{"rotator", "plan"}, true, false},
	} {
		if got := Starts(tt.args, func(string) (string, bool) { return "", tt.runtime }); got != tt.want {
			t.Errorf("%q, in Lambda %t: %t", tt.args, tt.runtime, got)
		}
	}
}
