//go:build !unix

package main

import "github.com/spf13/cobra"

// agentCommands returns none: without signals and owners of files there is no
// agent.
func agentCommands(*string) []*cobra.Command { return nil }
