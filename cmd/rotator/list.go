package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

// listed is one secret in the output of list.
type listed struct {
	SecretID   string            `json:"secret_id"`
	Store      string            `json:"store"`
	Path       string            `json:"path"`
	Discovered bool              `json:"discovered"`
	Services   []string          `json:"services"`
	Owner      string            `json:"owner,omitempty"`
	Purpose    string            `json:"purpose,omitempty"`
	Contact    string            `json:"contact,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Error      string            `json:"error,omitempty"`
}

func listCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the managed secrets: where each is, who uses it, who owns it",
		Long: `Lists the secrets of the configuration, then those that are discovered in the stores.
It needs nothing that runs. The owner is that of the configuration or the tag
rotator:owner, else the tag owner of the secret in its store. The JSON has purpose,
contact and all tags, as 'rotator rotate --tag' takes them.`,
		Example: `  rotator list --config docs/examples/single-node.yaml`,
		Args:    cli.Exactly(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			look, err := operator.PlanSecrets(cmd, *path, args)
			if err != nil {
				return err
			}
			out := make([]listed, 0, len(look.Secrets))
			for _, s := range look.Secrets {
				out = append(out, listed{string(s.SecretID), s.Store, s.Path, s.Discovered, append([]string{}, s.Services...), s.OwnedBy(), s.Purpose, s.Contact, s.Meta.Attributes, s.Error})
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), out)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "SECRET\tSTORE\tPATH\tSERVICES\tOWNER")
			for _, s := range out {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", cmp.Or(s.SecretID, "–"), s.Store, cmp.Or(s.Path, s.Error), cmp.Or(strings.Join(s.Services, " "), "–"), cmp.Or(s.Owner, "–"))
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}
