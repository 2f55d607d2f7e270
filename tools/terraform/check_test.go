package terraform

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"gopkg.in/yaml.v3"
)

const deployments = "../../deployments/"

func TestModulesOfDeployments(t *testing.T) {
	t.Parallel()
	modules, err := filepath.Glob(deployments + "terraform/*")
	if err != nil || len(modules) == 0 {
		t.Fatalf("no modules: %v", err)
	}
	for _, dir := range modules {
		problems, err := Check(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s/%s", filepath.Base(dir), p)
		}
	}
}

func TestWhatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	const role = "resource \"aws_iam_role\" \"r\" {\n  assume_role_policy = \"{}\"\n}\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                               {role, ""},
		"a file that does not parse":            {"resource {", "a.tf:1: "},
		"a file that is not formatted":          {strings.Replace(role, "  assume", "   assume", 1), "not formatted"},
		"an argument that there is none of":     {strings.Replace(role, "}\n", "  asume      = 1\n}\n", 1), "has no argument asume"},
		"a required argument that is missing":   {"resource \"aws_iam_role\" \"r\" {\n}\n", "lacks assume_role_policy"},
		"a type that is not listed":             {"resource \"aws_s3_bucket\" \"b\" {\n}\n", "not among the types"},
		"a block that there is none of":         {strings.Replace(role, "}\n", "  inline {}\n}\n", 1), "has no block inline"},
		"a variable that is not declared":       {"output \"o\" {\n  value = var.none\n}\n", "nothing is called var.none"},
		"a local that is not declared":          {"output \"o\" {\n  value = local.none\n}\n", "nothing is called local.none"},
		"a resource that is not declared":       {role + "output \"o\" {\n  value = aws_iam_role.s.arn\n}\n", "nothing is called aws_iam_role.s"},
		"an attribute that there is none of":    {role + "output \"o\" {\n  value = aws_iam_role.r.arm\n}\n", "has no attribute arm"},
		"a variable that is not used":           {"variable \"v\" {\n  type = string\n}\n", "var.v is not used"},
		"a function that there is none of":      {"output \"o\" {\n  value = jsondecode(\"1\")\n}\n", "unknown function jsondecode"},
		"each without for_each":                 {"output \"o\" {\n  value = each.key\n}\n", "nothing is called each.key"},
		"a name that is declared twice":         {role + role, "declared twice"},
		"an index of what there is one of":      {role + "output \"o\" {\n  value = aws_iam_role.r[0].arn\n}\n", "an index belongs"},
		"no index of what there are several of": {strings.Replace(role, "{\n", "{\n  count = 2\n\n", 1) + "output \"o\" {\n  value = aws_iam_role.r.arn\n}\n", "an index belongs"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.tf"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		problems, err := Check(dir)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(problems, "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestBothTemplatesAllowTheSame: the policy that a test holds against the calls
// of the function is the one of the CloudFormation template.
func TestBothTemplatesAllowTheSame(t *testing.T) {
	t.Parallel()
	inTerraform, inCloudFormation := map[string][]string{}, map[string][]string{}
	f, diags := hclparse.NewParser().ParseHCLFile(deployments + "terraform/aws-lambda/iam.tf")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	body, ok := f.Body.(*hclsyntax.Body)
	if !ok {
		t.Fatal("no native HCL")
	}
	statements(t, body, inTerraform)
	text, err := os.ReadFile(deployments + "cloudformation/aws-lambda.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	sids(&doc, inCloudFormation)
	if len(inTerraform) < 5 || len(inTerraform) != len(inCloudFormation) {
		t.Errorf("%d statements in Terraform, %d in CloudFormation", len(inTerraform), len(inCloudFormation))
	}
	for sid, actions := range inTerraform {
		if !slices.Equal(actions, inCloudFormation[sid]) {
			t.Errorf("%s: %v in Terraform, %v in CloudFormation", sid, actions, inCloudFormation[sid])
		}
	}
}

// statements collects the actions of every statement with a sid.
func statements(t *testing.T, b *hclsyntax.Body, out map[string][]string) {
	t.Helper()
	if sid, ok := b.Attributes["sid"]; ok {
		name, diags := sid.Expr.Value(nil)
		list, more := b.Attributes["actions"].Expr.Value(nil)
		if diags.HasErrors() || more.HasErrors() {
			t.Fatal(diags, more)
		}
		for _, v := range list.AsValueSlice() {
			out[name.AsString()] = append(out[name.AsString()], v.AsString())
		}
		slices.Sort(out[name.AsString()])
	}
	for _, block := range b.Blocks {
		statements(t, block.Body, out)
	}
}

// sids does the same for YAML.
func sids(n *yaml.Node, out map[string][]string) {
	if n.Kind == yaml.MappingNode {
		sid, actions := "", []string{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch v := n.Content[i+1]; n.Content[i].Value {
			case "Sid":
				sid = v.Value
			case "Action":
				if v.Kind == yaml.ScalarNode {
					actions = append(actions, v.Value)
				}
				for _, a := range v.Content {
					actions = append(actions, a.Value)
				}
			}
		}
		if sid != "" {
			slices.Sort(actions)
			out[sid] = actions
		}
	}
	for _, c := range n.Content {
		sids(c, out)
	}
}
