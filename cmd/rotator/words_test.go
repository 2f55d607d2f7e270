package main

import (
	"slices"
	"strings"
	"testing"
)

// TestWordsOfOtherTools: each row of what their users type leads to a command, which exists.
func TestWordsOfOtherTools(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, c := range root().Commands() {
		names[c.Name()] = true
	}
	for name, all := range words {
		for _, word := range all {
			if names[word] || !names[name] {
				t.Errorf("%s is offered for %s: one of them is a command that should not be, or is none", name, word)
			}
		}
	}
	for typed, want := range map[string]string{
		"activate": "rollback",                              // setec
		"info":     "explain",                               // setec
		"kv":       "delete or get or put",                  // vault
		"lease":    "revoke",                                // vault
		"undelete": "rollback",                              // vault
		"sub":      "events",                                // nats
		"server":   "doctor or run",                         // nats
		"watch":    "status",                                // gh
		"rollout":  "history or rollback or status or wait", // kubectl
		"undo":     "rollback",                              // kubectl
		"statsu":   "status",
		"xyz":      "",
	} {
		cmd := root()
		cmd.SetArgs([]string{typed, "x"})
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := cmd.Execute()
		if err == nil {
			t.Fatalf("%s is a command", typed)
		}
		_, got, _ := strings.Cut(err.Error(), "did you mean ")
		like := strings.Split(strings.TrimSuffix(got, "?"), " or ")
		if slices.Sort(like); strings.Join(like, " or ") != want {
			t.Errorf("%s: %v, want %q", typed, err, want)
		}
	}
}
