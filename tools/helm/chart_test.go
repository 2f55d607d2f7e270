package helm

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chartDir = "../../deployments/helm/rotator"

var update = flag.Bool("update", false, "write the golden files")

// cases are the values of testdata, and those of the chart alone.
var cases = []string{"default", "single", "cluster"}

func values(t *testing.T, name string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if name == "default" {
		return out
	}
	text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err == nil {
		err = yaml.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// render returns the documents of a release, in the order of their templates.
func render(t *testing.T, vals map[string]any) ([]string, error) {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "r", Namespace: "secrets", IsInstall: true, Revision: 1}
	all, err := util.ToRenderValues(c, vals, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	var docs []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for doc := range strings.SplitSeq(files[name], "\n---\n") {
			if doc = strings.TrimSpace(strings.TrimPrefix(doc, "---\n")); doc != "" {
				docs = append(docs, doc)
			}
		}
	}
	return docs, nil
}

func rendered(t *testing.T, name string) []string {
	t.Helper()
	docs, err := render(t, values(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// TestTheChartHasNoFindings: helm lint has nothing to say.
func TestTheChartHasNoFindings(t *testing.T) {
	t.Parallel()
	for _, name := range cases {
		for _, m := range lint.RunAll(chartDir, values(t, name), "secrets").Messages {
			t.Errorf("%s: %v", name, m)
		}
	}
}

// TestTheChartRendersAsRecorded compares what is rendered with golden files.
func TestTheChartRendersAsRecorded(t *testing.T) {
	t.Parallel()
	for _, name := range cases {
		got := strings.Join(rendered(t, name), "\n---\n") + "\n"
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s renders another way than %s, see it with: go -C tools/helm test -update . && git diff", name, golden)
		}
	}
}

// monitor and rules are the parts of the types of the Prometheus operator that the chart uses.
type (
	monitor struct {
		corev1.ObjectReference `json:",inline"`
		Metadata               map[string]any `json:"metadata"`
		Spec                   struct {
			Selector  map[string]map[string]string `json:"selector"`
			JobLabel  string                       `json:"jobLabel"`
			Endpoints []struct{ Port, Path, Interval string }
		} `json:"spec"`
	}
	rules struct {
		corev1.ObjectReference `json:",inline"`
		Metadata               map[string]any `json:"metadata"`
		Spec                   struct {
			Groups []struct {
				Name  string
				Rules []map[string]any
			}
		} `json:"spec"`
	}
)

// typed returns an empty object of a kind.
func typed(kind string) (any, error) {
	switch kind {
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}, nil
	case "apps/v1 StatefulSet":
		return &appsv1.StatefulSet{}, nil
	case "v1 Pod":
		return &corev1.Pod{}, nil
	case "v1 ConfigMap":
		return &corev1.ConfigMap{}, nil
	case "v1 Service":
		return &corev1.Service{}, nil
	case "v1 ServiceAccount":
		return &corev1.ServiceAccount{}, nil
	case "networking.k8s.io/v1 NetworkPolicy":
		return &networkingv1.NetworkPolicy{}, nil
	case "policy/v1 PodDisruptionBudget":
		return &policyv1.PodDisruptionBudget{}, nil
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return &monitor{}, nil
	case "monitoring.coreos.com/v1 PrometheusRule":
		return &rules{}, nil
	}
	return nil, fmt.Errorf("the kind %q has no type here", kind)
}

// objects decodes documents strictly: a field that the API does not have, or has in
// another form, is an error.
func objects(t *testing.T, docs []string) []any {
	t.Helper()
	var out []any
	for _, doc := range docs {
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		o, err := typed(head.APIVersion + " " + head.Kind)
		if err == nil {
			err = yaml.UnmarshalStrict([]byte(doc), o)
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		out = append(out, o)
	}
	return out
}

// pods returns the Pods of the objects, by the name of what makes them.
func pods(all []any) map[string]corev1.PodTemplateSpec {
	out := map[string]corev1.PodTemplateSpec{}
	for _, o := range all {
		switch o := o.(type) {
		case *appsv1.Deployment:
			out[o.Name] = o.Spec.Template
		case *appsv1.StatefulSet:
			out[o.Name] = o.Spec.Template
		}
	}
	return out
}

// TestEveryPodHasTheLeastRights: no root, no writable image, no capability, no token, and
// volumes for all that is mounted.
func TestEveryPodHasTheLeastRights(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{"default": {"r-rotator"}, "single": {"r-rotator"}, "cluster": {"r-rotator-notifier", "r-rotator-rotator"}} {
		all := pods(objects(t, rendered(t, name)))
		if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
			t.Errorf("%s: the Pods are %q, want %q", name, got, want)
		}
		for pod, p := range all {
			if err := hardened(p); err != nil {
				t.Errorf("%s: %s: %v", name, pod, err)
			}
		}
	}
}

func hardened(p corev1.PodTemplateSpec) error {
	s := p.Spec.SecurityContext
	if s == nil || *s.RunAsUser != 65532 || !*s.RunAsNonRoot || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		return fmt.Errorf("securityContext of the Pod: %+v", s)
	}
	if *p.Spec.AutomountServiceAccountToken || p.Annotations["checksum/config"] == "" {
		return fmt.Errorf("it has a token, or no checksum of its configuration")
	}
	for _, c := range p.Spec.Containers {
		x := c.SecurityContext
		if *x.AllowPrivilegeEscalation || !*x.ReadOnlyRootFilesystem || !slices.Equal(x.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			return fmt.Errorf("securityContext of %s: %+v", c.Name, x)
		}
		if c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.Resources.Requests.Memory().IsZero() {
			return fmt.Errorf("%s has no probes or no resources", c.Name)
		}
	}
	return nil
}

// TestTheTestOfAReleaseIsTheDoctor: helm test runs rotator doctor with the keys of the
// operator, which the program accepts, and with the rights of the other Pods.
func TestTheTestOfAReleaseIsTheDoctor(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"default": 0, "single": 0, "cluster": 1} {
		var hooks []*corev1.Pod
		for _, o := range objects(t, rendered(t, name)) {
			if p, ok := o.(*corev1.Pod); ok {
				hooks = append(hooks, p)
			}
		}
		if len(hooks) != want {
			t.Fatalf("%s has %d Pods of its own, want %d", name, len(hooks), want)
		}
		for _, p := range hooks {
			if err := isDoctor(p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func isDoctor(p *corev1.Pod) error {
	c, x := p.Spec.Containers[0], p.Spec.Containers[0].SecurityContext
	run := strings.Join(append(c.Command, c.Args...), " ")
	if p.Annotations["helm.sh/hook"] != "test" || run != "/usr/local/bin/rotator doctor --config /etc/rotator/rotator.yaml" {
		return fmt.Errorf("it is no test, or runs %q", run)
	}
	if *x.AllowPrivilegeEscalation || !*x.ReadOnlyRootFilesystem || *p.Spec.SecurityContext.RunAsUser != 65532 || *p.Spec.AutomountServiceAccountToken {
		return fmt.Errorf("its rights: %+v, %+v", p.Spec.SecurityContext, x)
	}
	volumes := map[string]corev1.Volume{}
	for _, v := range p.Spec.Volumes {
		volumes[v.Name] = v
	}
	for _, m := range c.VolumeMounts {
		if _, ok := volumes[m.Name]; !ok || !m.ReadOnly {
			return fmt.Errorf("%s is mounted at %s, and no volume or not read only", m.Name, m.MountPath)
		}
	}
	if got := volumes["keys"].Secret.SecretName; got != "operator-keys" {
		return fmt.Errorf("its keys are %q", got)
	}
	return nil
}

// TestTheBudgetsSelectWhatRuns: every Pod is selected by a budget, the policy and the Service
// of the metrics.
func TestTheBudgetsSelectWhatRuns(t *testing.T) {
	t.Parallel()
	for _, name := range cases {
		all := objects(t, rendered(t, name))
		for pod, p := range pods(all) {
			selected := map[string]bool{}
			for _, o := range all {
				switch o := o.(type) {
				case *policyv1.PodDisruptionBudget:
					selected["budget"] = selected["budget"] || selects(o.Spec.Selector.MatchLabels, p.Labels)
				case *networkingv1.NetworkPolicy:
					selected["policy"] = selected["policy"] || selects(o.Spec.PodSelector.MatchLabels, p.Labels)
				case *corev1.Service:
					selected["metrics"] = selected["metrics"] || strings.HasSuffix(o.Name, "-metrics") && selects(o.Spec.Selector, p.Labels)
				}
			}
			if !selected["budget"] || !selected["policy"] || !selected["metrics"] {
				t.Errorf("%s: %s is selected by %v only", name, pod, selected)
			}
		}
	}
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// TestTheProgramTakesTheConfiguration: rotator accepts the rendered file with the rendered
// variables.
func TestTheProgramTakesTheConfiguration(t *testing.T) {
	t.Parallel()
	program := filepath.Join(programs(t), "rotator")
	for _, name := range cases {
		all := objects(t, rendered(t, name))
		file := filepath.Join(t.TempDir(), "rotator.yaml")
		for _, o := range all {
			if m, ok := o.(*corev1.ConfigMap); ok {
				if err := os.WriteFile(file, []byte(m.Data["rotator.yaml"]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		for pod, p := range pods(all) {
			validate := exec.CommandContext(t.Context(), program, "config", "validate", file)
			for _, v := range p.Spec.Containers[0].Env {
				validate.Env = append(validate.Env, v.Name+"="+v.Value)
			}
			if out, err := validate.CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", name, pod, err, out)
			}
		}
	}
}

// TestTheSchemaRefuses: values that cannot work, or that would hold a secret, are refused
// before anything is rendered.
func TestTheSchemaRefuses(t *testing.T) {
	t.Parallel()
	for what, text := range map[string]string{
		"a cluster without NATS":          `{mode: cluster, keys: {rotator: a, notifier: b}}`,
		"a cluster without keys":          `{mode: cluster, config: {nats: {url: "nats://n:4222"}}}`,
		"a single node with NATS":         `{config: {nats: {url: "nats://n:4222"}}}`,
		"a value of a variable":           `{env: [{name: VAULT_TOKEN, value: text}]}`,
		"an address that the chart sets":  `{config: {http: {listen: "0.0.0.0:1"}}}`,
		"a setting that is not there":     `{replicas: 3}`,
		"a digest that is not one":        `{image: {repository: r, digest: latest}}`,
		"the NATS of a cluster, exposed":  `{mode: cluster, nats: {expose: true}, keys: {rotator: a, notifier: b}, config: {nats: {url: "nats://n:4222"}}}`,
		"a mode that is not there":        `{mode: daemon}`,
		"no replica":                      `{rotator: {replicas: 0}}`,
		"a key in place of the reference": `{keys: {rotator: {signing: text}}}`,
	} {
		vals := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &vals); err != nil {
			t.Fatal(err)
		}
		if _, err := render(t, vals); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

// TestTheRulesAreThoseOfPrometheus: the chart has a copy, because a chart has no files of
// other directories.
func TestTheRulesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../../deployments/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(chartDir, "files", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("they differ: cp deployments/prometheus/rules.yml deployments/helm/rotator/files/")
	}
}
