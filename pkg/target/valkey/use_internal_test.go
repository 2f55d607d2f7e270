package valkey

import "testing"

// TestSessionsOf: a session that cannot be read is not one that has ended.
func TestSessionsOf(t *testing.T) {
	t.Parallel()
	const good = "id=3 addr=10.0.0.1:5 name= age=12 flags=N multi=-1 user=app"
	for name, c := range map[string]struct {
		answer string
		open   int
		fails  bool
	}{
		"none":                        {"", 0, false},
		"one":                         {good + "\n", 1, false},
		"an empty line":               {good + "\r\n\r\n", 1, false},
		"another user":                {good + "\nid=x age=x user=other\n", 1, false},
		"no age":                      {good + "\nid=4 addr=10.0.0.1:6 user=app\n", 0, true},
		"an age with a unit":          {"id=3 addr=10.0.0.1:5 age=12s user=app\n", 0, true},
		"no id":                       {"addr=10.0.0.1:5 age=12 user=app\n", 0, true},
		"a line that names no user":   {"id=3 addr=10.0.0.1:5 age=12\n", 0, true},
		"an answer of another server": {"[map[id:3 user:app]]", 0, true},
	} {
		got, err := sessionsOf("app", c.answer)
		if len(got) != c.open || c.fails != (err != nil) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
