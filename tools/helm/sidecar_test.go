package helm

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// sidecar returns the agent of the manifest, the Pod it is in, and its configuration.
func sidecar(t *testing.T) (agent corev1.Container, pod corev1.PodSpec, config string) {
	t.Helper()
	text, err := os.ReadFile("../../deployments/kubernetes/agent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects(t, strings.Split(string(text), "\n---\n")) {
		switch o := o.(type) {
		case *appsv1.Deployment:
			pod = o.Spec.Template.Spec
		case *corev1.ConfigMap:
			config = o.Data["agent.yaml"]
		}
	}
	if len(pod.InitContainers) != 1 || config == "" {
		t.Fatalf("%d init containers, configuration %q", len(pod.InitContainers), config)
	}
	return pod.InitContainers[0], pod, config
}

// TestTheAgentIsASidecar: it starts first, runs as long as the Pod, and shares a volume in
// memory with the program, which cannot write it.
func TestTheAgentIsASidecar(t *testing.T) {
	t.Parallel()
	agent, pod, _ := sidecar(t)
	if agent.RestartPolicy == nil || *agent.RestartPolicy != corev1.ContainerRestartPolicyAlways || agent.StartupProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("it is no sidecar, or the program does not wait for it: %+v", agent)
	}
	if !*pod.SecurityContext.RunAsNonRoot || *agent.SecurityContext.AllowPrivilegeEscalation || !*agent.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("its rights: %+v, %+v", pod.SecurityContext, agent.SecurityContext)
	}
	var memory string
	for _, v := range pod.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.Medium == corev1.StorageMediumMemory {
			memory = v.Name
		}
	}
	for _, c := range append(pod.Containers, agent) {
		found := false
		for _, m := range c.VolumeMounts {
			if m.Name != memory {
				continue
			}
			found = true
			if m.ReadOnly != (c.Name != agent.Name) || m.SubPath != "" {
				t.Errorf("%s mounts the files as %+v", c.Name, m)
			}
		}
		if !found {
			t.Errorf("%s does not mount the volume in memory", c.Name)
		}
	}
}

// TestTheSidecarDelivers runs the command of the manifest with its agent section as a
// process. A single node takes the place of NATS and Vault.
func TestTheSidecarDelivers(t *testing.T) {
	t.Parallel()
	agent, _, config := sidecar(t)
	bin, dir := programs(t), t.TempDir()
	var section struct {
		Agent   any `json:"agent"`
		Secrets any `json:"secrets"`
	}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(config, "/run/orders", dir)), &section); err != nil {
		t.Fatal(err)
	}
	health, ready := address(t), address(t)
	text, err := yaml.Marshal(map[string]any{
		"node": map[string]any{"data_dir": filepath.Join(t.TempDir(), "data"), "listen": address(t)}, "http": map[string]any{"listen": health, "agent_listen": ready},
		"stores": map[string]any{"main": map[string]any{"type": "natskv"}}, "defaults": map[string]any{"create": true, "ttl": "30d"},
		"agent": section.Agent, "secrets": section.Secrets,
	})
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	background(t, filepath.Join(bin, "rotator"), "run", "--config", file)
	until(t, "the node is ready", func() error { return answers(t, health, "/readyz") })
	args := strings.Split(strings.ReplaceAll(strings.Join(agent.Args, "\n"), "/etc/rotator/agent.yaml", file), "\n")
	process := background(t, filepath.Join(bin, filepath.Base(agent.Command[0])), args...)
	until(t, "the sidecar is ready", func() error { return answers(t, ready, agent.StartupProbe.HTTPGet.Path) })
	first, err := os.ReadFile(filepath.Join(dir, "db-password"))
	if err != nil || len(first) == 0 {
		t.Fatalf("the program would start without its secret: %v", err)
	}
	rotate := exec.CommandContext(t.Context(), filepath.Join(bin, "rotator"), "rotate", "orders/db-password", "--config", file)
	if out, err := rotate.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	until(t, "the file has the new value", func() error {
		if next, err := os.ReadFile(filepath.Join(dir, "db-password")); err != nil || bytes.Equal(next, first) {
			return fmt.Errorf("it is as before, %w", err)
		}
		return nil
	})
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if state, err := process.Wait(); err != nil || !state.Success() {
		t.Errorf("the sidecar ends with %v, %v", state, err)
	}
}

// built is where the programs are, which are built once.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func programs(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "rotator-bin-"); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", built.dir, "./cmd/rotator", "./cmd/notifier")
		build.Dir, build.Stderr = "../..", os.Stderr
		built.err = build.Run()
	})
	if built.err != nil {
		t.Fatalf("build the programs: %v", built.err)
	}
	return built.dir
}

// TestMain removes the programs.
func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // it is a temporary directory
	}
	os.Exit(code)
}

// background starts a program that is killed at the end of the test.
func background(t *testing.T, name string, args ...string) *os.Process {
	t.Helper()
	cmd := exec.Command(name, args...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err == nil {
		cmd.Stdout, cmd.Stderr = log, log
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has ended
		_, _ = cmd.Process.Wait()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%q printed:\n%s", cmd.Args, text)
		}
	})
	return cmd.Process
}

func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func answers(t *testing.T, addr, path string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// until polls for two minutes at most, which matter only to a test that fails.
func until(t *testing.T, what string, ok func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so: %s: %v", what, err)
		}
	}
}
