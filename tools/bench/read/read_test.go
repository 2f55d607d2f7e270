// Package read compares a cached read with the caching client that AWS offers
// for Secrets Manager.
package read

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

const (
	secrets = 100
	value   = "a value of thirty-two characters"
)

// service answers the two calls that the cache makes.
type service struct {
	secretcache.SecretsManagerAPIClient
}

func (service) DescribeSecret(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error) {
	return &secretsmanager.DescribeSecretOutput{VersionIdsToStages: map[string][]string{"7": {"AWSCURRENT"}, "6": {"AWSPREVIOUS"}}}, nil
}

func (service) GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	return &secretsmanager.GetSecretValueOutput{SecretString: aws.String(value), VersionId: aws.String("7")}, nil
}

func name(i int) string { return fmt.Sprintf("secret-%03d", i%secrets) }

// manager returns a Manager that holds the secrets.
func manager(b *testing.B) *client.Manager {
	b.Helper()
	quiet := slog.New(slog.DiscardHandler)
	mem := storetest.NewMem(nil)
	var specs []secret.Spec
	var ids []secret.ID
	for i := range secrets {
		v, err := mem.Put(b.Context(), name(i), store.Write{Token: "7", Value: secret.NewValue([]byte(value)), Create: true})
		if err != nil {
			b.Fatal(err)
		}
		if err := mem.Promote(b.Context(), name(i), "", v.ID); err != nil {
			b.Fatal(err)
		}
		specs, ids = append(specs, secret.Spec{ID: secret.ID(name(i)), Store: "mem"}), append(ids, secret.ID(name(i)))
	}
	st, err := store.New("mem", mem, &store.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	source, err := client.FromSpecs([]*store.Store{st}, specs)
	if err != nil {
		b.Fatal(err)
	}
	m, err := client.New(b.Context(), client.Config{Service: "bench", Source: source, IDs: ids, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return m
}

// BenchmarkCachedRead reads 100 secrets, by name on one goroutine and on two, in
// turn with the cache of AWS, so that both see the same machine. Figures are
// medians of turns.
func BenchmarkCachedRead(b *testing.B) {
	m := manager(b)
	cache, err := secretcache.New(func(c *secretcache.Cache) { c.Client = service{} })
	if err != nil {
		b.Fatal(err)
	}
	var names [secrets]string
	var ids [secrets]secret.ID
	var handles [secrets]*client.Handle
	for i := range secrets {
		names[i], ids[i] = name(i), secret.ID(name(i))
		handles[i] = m.Secret(ids[i])
	}
	theirs := func(i int) {
		if s, err := cache.GetSecretString(names[i%secrets]); err != nil || len(s) != len(value) {
			b.Error("the cache has no value: ", err)
		}
	}
	byName := func(i int) { sinks(b, m.Secret(ids[i%secrets]).Get()) }
	byHandle := func(i int) { sinks(b, handles[i%secrets].Get()) }
	var aws1, name1, handle1, aws2, name2 []time.Duration
	for b.Loop() {
		aws1, name1, handle1 = append(aws1, timed(1, theirs)), append(name1, timed(1, byName)), append(handle1, timed(1, byHandle))
		aws2, name2 = append(aws2, timed(2, theirs)), append(name2, timed(2, byName))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(aws1)/turn, "ns/aws-cache")
	b.ReportMetric(median(name1)/turn, "ns/by-name")
	b.ReportMetric(median(handle1)/turn, "ns/handle")
	b.ReportMetric(median(aws1)/median(name1), "times-faster-by-name")
	b.ReportMetric(median(aws1)/median(handle1), "times-faster-by-handle")
	b.ReportMetric(median(aws2)/median(name2), "times-faster-by-name-on-2")
}

func sinks(b *testing.B, c *client.Current) {
	if c.Value.Len() != len(value) {
		b.Error("the manager has no value")
	}
}

// turn is how many reads a goroutine makes before it is the next one's turn.
const turn = 2_000

func timed(goroutines int, read func(int)) time.Duration {
	var wg sync.WaitGroup
	begin := time.Now()
	for range goroutines {
		wg.Go(func() {
			for i := range turn {
				read(i)
			}
		})
	}
	wg.Wait()
	return time.Since(begin)
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds())
}
