package integration

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestEveryEventOfTheRuleIsUnderstood: what the templates have AWS hand to the
// function reconciles a secret, and both hand it the same.
func TestEveryEventOfTheRuleIsUnderstood(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../deployments/cloudformation/aws-lambda.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources struct {
			SecretChanges struct {
				Properties struct {
					EventPattern struct {
						Detail struct {
							Or []struct {
								Labels []string `yaml:"labelUpdated"`
								Names  []string `yaml:"eventName"`
							} `yaml:"$or"`
						} `yaml:"detail"`
					} `yaml:"EventPattern"`
				} `yaml:"Properties"`
			} `yaml:"SecretChanges"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	ways := template.Resources.SecretChanges.Properties.EventPattern.Detail.Or
	if len(ways) != 2 || len(ways[0].Labels) == 0 || len(ways[1].Names) == 0 {
		t.Fatalf("the rule takes %+v", ways)
	}
	var at reconciled
	in, err := eventbridge.NewIntake(eventbridge.IntakeConfig{
		Reconciler: &at, Secrets: func(path string) []secret.ID { return []secret.ID{secret.ID(path)} }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range ways[1].Names {
		if err := in.Handle(t.Context(), []byte(change("AWS API Call via CloudTrail", name, name))); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(at, ways[1].Names) {
		t.Errorf("the rule is for %q, of which are understood %q", ways[1].Names, at)
	}

	text, err = os.ReadFile("../deployments/terraform/aws-lambda/events.tf")
	if err != nil {
		t.Fatal(err)
	}
	var other []string
	for _, m := range regexp.MustCompile(`(?m)^ +"([A-Z][A-Za-z]+)",$`).FindAllStringSubmatch(string(text), -1) {
		other = append(other, m[1])
	}
	if !slices.Equal(other, ways[1].Names) {
		t.Errorf("Terraform has %q, CloudFormation %q", other, ways[1].Names)
	}
}

// reconciled are the secrets that were reconciled.
type reconciled []string

func (l *reconciled) Reconcile(_ context.Context, id secret.ID) error {
	*l = append(*l, string(id))
	return nil
}

func (*reconciled) ReconcilePath(context.Context, string, string) error { return nil }
