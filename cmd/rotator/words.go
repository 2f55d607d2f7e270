package main

import "github.com/spf13/cobra"

// words are what other tools call what a command does: setec, vault, nats, gh, terraform
// and kubectl. An unknown command that is one of them is answered with ours.
var words = map[string][]string{
	"apply":    {"deploy"},
	"delete":   {"rm", "remove", "kv"},
	"doctor":   {"check", "server", "stream", "diagnose", "health", "lint"},
	"events":   {"sub", "subscribe", "logs", "log", "tail"},
	"evidence": {"report", "compliance"},
	"explain":  {"info", "describe", "inspect", "why"},
	"get":      {"read", "show", "cat", "kv"},
	"history":  {"rollout"},
	"keys":     {"rekey"},
	"list":     {"ls", "secrets"},
	"pause":    {"hold", "suspend"},
	"put":      {"write", "set", "patch", "kv"},
	"resume":   {"unpause"},
	"revoke":   {"destroy", "lease", "invalidate"},
	"rollback": {"undo", "activate", "undelete", "revert", "rollout"},
	"rotate":   {"renew", "refresh"},
	"run":      {"start", "serve", "server"},
	"status":   {"watch", "top", "ps", "rollout"},
	"versions": {"metadata"},
	"wait":     {"rollout"},
}

// suggest has each command offered for the words of other tools.
func suggest(root *cobra.Command) {
	for _, c := range root.Commands() {
		c.SuggestFor = words[c.Name()]
	}
}
