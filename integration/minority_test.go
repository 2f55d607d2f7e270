package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// operatorOn writes the configuration of an operator who asks one server of a cluster.
func operatorOn(t *testing.T, signer *events.Signer, url, stores, secrets string) string {
	t.Helper()
	dir := t.TempDir()
	key, path := filepath.Join(dir, "signing.key"), filepath.Join(dir, "rotator.yaml")
	if err := signer.Save(key); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("nats: {url: %q, replicas: 3}\nsigning: {key: {file: %q}}\nstores: {main: %s}\nsecrets: [%s]\n", url, key, stores, secrets)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStatusOnTheMinoritySideSaysSo: of three servers one is cut off. Its status says
// that there is no quorum and fails, at once after the split and later, whether the
// secrets are on the bus or elsewhere; a server of the majority says how it is.
func TestStatusOnTheMinoritySideSaysSo(t *testing.T) { //nolint:paralleltest // it sets the environment
	const minority = serverstest.ClusterSize - 1
	cluster := serverstest.StartCluster(t)
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	side := clusterSide(t, cluster.Connect(0), signer, serverstest.ClusterSize)
	for _, stream := range allStreams(side.bus) {
		cluster.Lead(side.nc, stream, 0)
	}
	if _, err := side.rotateOnce(t.Context(), side.worker(t, "A"), "A", "", 1); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MINORITY_MASTER", base64.StdEncoding.EncodeToString(make([]byte, natskv.MasterKeySize)))
	bao := serverstest.StartBao(t)
	t.Setenv("MINORITY_BAO_TOKEN", bao.Root)
	onBus := func(i int) string {
		return operatorOn(t, signer, cluster.URL(i), "{type: natskv, master_key: {env: MINORITY_MASTER}}", "{id: A, ttl: 1h}")
	}
	elsewhere := func(i int) string {
		return operatorOn(t, signer, cluster.URL(i), fmt.Sprintf("{type: vault, address: %q, auth: {method: token, token: {env: MINORITY_BAO_TOKEN}}}", bao.URL), "{id: B, ttl: 1h}")
	}
	before, code := rotator(t, "status", "--config", onBus(minority))
	if strings.Contains(before, "quorum") || !strings.Contains(before, "A") {
		t.Fatalf("before the split: exit %d\n%s", code, before)
	}
	cluster.Isolate(minority)
	for _, when := range []string{"at once", "later"} {
		for name, path := range map[string]string{"a secret on the bus": onBus(minority), "a secret elsewhere": elsewhere(minority)} {
			out, code := rotator(t, "status", "--config", path)
			if code != 1 || !strings.Contains(out, events.ErrNoQuorum.Error()) || !strings.Contains(out, "may be old") {
				t.Errorf("%s, %s: exit %d, want 1 and no quorum:\n%s", name, when, code, out)
			}
		}
		awaitLeaderless(t, cluster.Connect(minority), side.bus.Names().UsesStream())
	}
	out, failed := rotator(t, "status", "--json", "--config", elsewhere(minority))
	var all []struct {
		ID   string `json:"secret_id"`
		Safe struct {
			Answer string `json:"answer"`
		} `json:"safe_to_revoke"`
	}
	_, list, _ := strings.Cut(out, "\n[\n") // warnings are before it, and the error behind
	list, _, _ = strings.Cut(list, "\n]\n")
	if err := json.Unmarshal([]byte("["+list+"]"), &all); err != nil || failed != 1 || len(all) != 1 || all[0].Safe.Answer == "yes" {
		t.Errorf("as JSON: exit %d, %v, %+v\n%s", failed, err, all, out)
	}
	if out, now := rotator(t, "status", "--config", onBus(0)); now != code || strings.Contains(out, "quorum") {
		t.Errorf("on the side of the majority: exit %d, was %d\n%s", now, code, out)
	}
	cluster.Heal()
}

// awaitLeaderless waits until a server knows of no leader of a stream.
func awaitLeaderless(t *testing.T, nc *nats.Conn, stream string) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the server knows that it has no leader", func() error {
		s, err := js.Stream(t.Context(), stream)
		if err != nil {
			return err
		}
		if c := s.CachedInfo().Cluster; c != nil && c.Leader != "" {
			return fmt.Errorf("stream %s is led by %s", stream, c.Leader)
		}
		return nil
	})
}
