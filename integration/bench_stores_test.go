package integration

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/hashicorp/vault/api"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// together does n things, some at once, and returns how long they took.
func together(b *testing.B, atOnce, n int, do func(i int) error) time.Duration {
	b.Helper()
	var g errgroup.Group
	g.SetLimit(atOnce)
	begin := time.Now()
	for i := range n {
		g.Go(func() error { return do(i) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(begin)
}

// rawVault writes to the KV engine with the client of its vendor and nothing
// around it.
func rawVault(b *testing.B, bao *serverstest.Bao) func(path string) error {
	b.Helper()
	c, err := api.NewClient(&api.Config{Address: bao.URL})
	if err != nil {
		b.Fatal(err)
	}
	c.SetToken(bao.Root)
	body := map[string]any{"data": map[string]any{"value": "Forty-Characters-That-Are-Random-Enough!"}}
	return func(path string) error {
		_, err := c.Logical().WriteWithContext(b.Context(), "secret/data/"+path, body)
		return err
	}
}

// BenchmarkRotationsOnVault measures rotations on an OpenBao server with raft
// storage, each of two reads, two writes and what the bus has to do, and beside
// them plain writes to the same engine. The ratio is to half of those: a store
// that did nothing but the two writes would reach 1.
func BenchmarkRotationsOnVault(b *testing.B) {
	for _, workers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			const n = 128
			bao := serverstest.StartSealedBao(b)
			var specs []secret.Spec
			for _, id := range ids("RATE", n) {
				specs = append(specs, secret.Spec{ID: id, Store: "embedded", TTL: time.Hour})
			}
			s := newSite(b, startBroker(b, false), specs...)
			s.backend = service{Kind: "vault", URL: bao.URL, Token: bao.Root}
			s.seed()
			nc := s.broker.connect()
			b.Cleanup(nc.Close)
			c := s.catalog(nc)
			bus := s.bus(nc, "bench")
			r, err := rotation.New(rotation.Config{Catalog: c, Stores: c.stores, Bus: bus, Timers: bus, Source: "/bench", Logger: s.log})
			if err != nil {
				b.Fatal(err)
			}
			versions := make([]secret.VersionID, n)
			for i, spec := range specs {
				versions[i] = describe(b, c, spec.ID).Current().ID
			}
			raw := rawVault(b, bao)
			var whole, writes time.Duration
			rounds := 0
			for b.Loop() {
				whole += together(b, workers, n, func(i int) error {
					_, err := r.Rotate(b.Context(), rotation.Try{Request: rotation.Request{Secret: specs[i].ID, Store: specs[i].Store, From: versions[i], Reason: events.ReasonManual}})
					return err
				})
				writes += together(b, workers, 2*n, func(i int) error { return raw(fmt.Sprint("raw/", i%n)) })
				rounds++
				for i, spec := range specs {
					versions[i] = describe(b, c, spec.ID).Current().ID
				}
			}
			done := float64(rounds * n)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(done/whole.Seconds(), "rotations/s")
			b.ReportMetric(2*done/writes.Seconds(), "raw-writes/s")
			b.ReportMetric(writes.Seconds()/whole.Seconds(), "of-two-raw-writes")
		})
	}
}

// BenchmarkWritesOfStores measures writing a version of a new secret to the
// embedded store, whose server syncs each write before it acknowledges it, and
// beside it a plain write to an OpenBao server with raft storage.
func BenchmarkWritesOfStores(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			const n = 512
			raw := rawVault(b, serverstest.StartSealedBao(b))
			nc := startBrokerWith(b, &broker{always: true}).connect()
			b.Cleanup(nc.Close)
			js, err := jetstream.New(nc)
			if err != nil {
				b.Fatal(err)
			}
			d, err := natskv.Open(b.Context(), natskv.Config{JS: js, MasterKey: make([]byte, natskv.MasterKeySize)})
			if err != nil {
				b.Fatal(err)
			}
			st, err := store.New("embedded", d, nil)
			if err != nil {
				b.Fatal(err)
			}
			value := secret.NewValue([]byte("Forty-Characters-That-Are-Random-Enough!"))
			var embedded, raft time.Duration
			rounds := 0
			for b.Loop() {
				embedded += together(b, writers, n, func(i int) error {
					path := fmt.Sprintf("bench/%d/%d", rounds, i)
					_, err := st.Put(b.Context(), path, store.Write{Token: secret.NewToken(secret.ID(path), "", "", 0), Value: value, Create: true})
					return err
				})
				raft += together(b, writers, n, func(i int) error { return raw(fmt.Sprintf("bench/%d/%d", rounds, i)) })
				rounds++
			}
			done := float64(rounds * n)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(done/embedded.Seconds(), "embedded/s")
			b.ReportMetric(done/raft.Seconds(), "raft/s")
			b.ReportMetric(raft.Seconds()/embedded.Seconds(), "of-raft")
		})
	}
}

// BenchmarkBreachDrill rotates a thousand secrets of AWS as fast as the quota of
// 50 writes a second lets a worker, which is 40 s for two writes each. A proxy
// throttles what is beyond the quota.
func BenchmarkBreachDrill(b *testing.B) {
	const n, quota = 1000, 50
	for b.Loop() {
		b.StopTimer()
		moto := serverstest.StartMoto(b)
		front := serverstest.StartProxy(b, moto.URL)
		var throttled atomic.Int64
		writes := func(call string) bool {
			return call == "PutSecretValue" || call == "UpdateSecretVersionStage" || call == "CreateSecret"
		}
		front.Inject(-1, writes, serverstest.Quota(quota, quota, func() { throttled.Add(1) }))
		var specs []secret.Spec
		for _, id := range ids("BREACH", n) {
			specs = append(specs, secret.Spec{ID: id, Store: "embedded", TTL: 30 * 24 * time.Hour})
		}
		s := newSite(b, startBroker(b, false), specs...)
		s.backend = service{Kind: "aws", URL: front.URL}
		nc := s.broker.connect()
		bus := s.bus(nc, "bench")
		direct := sm.New(sm.Options{Region: "eu-central-1", BaseEndpoint: &moto.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
		together(b, 16, n, func(i int) error {
			out, err := direct.CreateSecret(b.Context(), &sm.CreateSecretInput{Name: aws.String(specs[i].StorePath()), SecretString: aws.String("Leaked-Value-0000!")})
			if err != nil {
				return err
			}
			e := manual(specs[i], secret.VersionID(*out.VersionId))
			e.Data.Reason = events.ReasonEmergency
			return bus.RotateNow(b.Context(), e)
		})
		front.Take()
		b.StartTimer()
		begin := time.Now()
		work := s.run("worker", s.worker(16))
		waittest.Until(b, "the queue of rotations is empty", func() error {
			waiting, err := bus.Waiting(b.Context(), events.WorkerConsumer)
			if err == nil && waiting > 0 {
				err = fmt.Errorf("%d wait", waiting)
			}
			return err
		})
		took := time.Since(begin)
		b.StopTimer()
		work.stop()
		for _, spec := range specs {
			if last, err := bus.Last(b.Context(), events.TypeRotated, spec.ID); err != nil || last.Seq == 0 {
				b.Fatalf("%s was not rotated: %v", spec.ID, err)
			}
		}
		calls := len(front.Take())
		nc.Close()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(2*n/float64(quota)/took.Seconds(), "of-quota")
		b.ReportMetric(float64(throttled.Load()), "throttled")
		b.ReportMetric(float64(calls)/n, "calls/rotation")
		b.StartTimer()
	}
}
