package repocheck_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var targetDrivers = []string{"pkg/target/postgres", "pkg/target/mysql", "pkg/target/valkey", "pkg/target/awsiam", "pkg/target/hook"}

var drivers = []string{"pkg/store/awssm/...", "pkg/store/vault/...", "pkg/store/natskv/...", "pkg/store/env/..."}

var kits = []string{"pkg/store/storetest/...", "pkg/target/targettest/...", "pkg/events/eventstest/...", "internal/serverstest/...", "internal/waittest/...", "pkg/client/clienttest/..."}

const natsServer = "github.com/nats-io/nats-server/v2/..."

var arrows = []arrow{
	{
		reason: "pkg/secret is imported by everybody, so it brings nothing along but one cron parser",
		from:   []string{"pkg/secret/..."}, scope: direct,
		only: []string{"pkg/secret/...", "github.com/netresearch/go-cron"},
	},
	{
		reason: "what is managed is one answer for every program, so it depends on no store and on no bus",
		from:   []string{"pkg/catalog/..."}, scope: direct,
		only: []string{"pkg/secret"},
	},
	{
		reason: "the scheduler says what is due and does not know who acts on it",
		from:   []string{"pkg/scheduler/..."}, scope: anyhow,
		never: []string{"pkg/rotation/...", "pkg/notify/...", "pkg/client/..."},
	},
	{
		reason: "a rotation does not know who asked for it or who listens",
		from:   []string{"pkg/rotation/..."}, scope: anyhow,
		never: []string{"pkg/scheduler/...", "pkg/notify/...", "pkg/client/..."},
	},
	{
		reason: "the notifier tells and listens; it neither decides nor rotates",
		from:   []string{"pkg/notify/..."}, scope: anyhow,
		never: []string{"pkg/scheduler/...", "pkg/rotation/...", "pkg/client/..."},
	},
	{
		reason: "the rules of a rollout are pure: they speak in wire types, and read no bus and no store",
		from:   []string{"pkg/rollout/..."}, scope: direct,
		only: []string{"pkg/secret", "pkg/events"},
	},
	{
		reason: "transport decides nothing about rollouts",
		from:   []string{"pkg/events/..."}, scope: anyhow,
		never: []string{"pkg/rollout/..."},
	},
	{
		reason: "a service that imports the client does not link the server side",
		from:   []string{"pkg/client/..."}, scope: anyhow,
		never: []string{"pkg/scheduler/...", "pkg/rotation/...", "pkg/notify/...", "pkg/catalog/..."},
	},
	{
		reason: "the reload machine of a service is pure: it reads no clock, no store and no bus, so that Python can run its vectors",
		from:   []string{"pkg/client/internal/reload"}, scope: direct,
		only: []string{"pkg/secret"},
	},
	{
		reason: "the fence of a service is pure, so that the model of the proof runs it",
		from:   []string{"pkg/client/internal/fence"}, scope: direct,
		only: []string{"pkg/secret"},
	},
	{
		reason: "the gate runs in front of other people's tests: it reads where it is told, and brings no SDK and no bus along",
		from:   []string{"pkg/gate/..."}, scope: direct,
		only: []string{"pkg/secret", "pkg/store", "golang.org/x/sync/..."},
	},
	{
		reason: "the bus is a hint: it never asks a store or a target, and does not know what is managed",
		from:   []string{"pkg/events/..."}, scope: anyhow,
		never: []string{"pkg/store/...", "pkg/target/...", "pkg/catalog/..."},
	},
	{
		reason: "the store is the truth: it never asks the bus or a target, and keeps secrets whether they are managed or not",
		from:   []string{"pkg/store/..."}, scope: anyhow,
		never: []string{"pkg/events/...", "pkg/target/...", "pkg/catalog/..."},
	},
	{
		reason: "a target makes values valid in one place: it knows neither the store nor the bus",
		from:   []string{"pkg/target/..."}, scope: anyhow,
		never: []string{"pkg/events/...", "pkg/store/..."},
	},
	{
		reason: "the seam to targets brings nothing along",
		from:   []string{"pkg/target"}, scope: direct,
		only: []string{"pkg/secret"},
	},
	{
		reason: "the read model puts together what others decide: it knows no driver, and no role but the rules of the scheduler",
		from:   []string{"pkg/inspect/..."}, scope: direct,
		only: []string{"pkg/secret", "pkg/catalog", "pkg/store", "pkg/events", "pkg/rollout", "pkg/scheduler"},
	},
	{
		reason: "the read model is for programs that show it: nothing is decided by what it shows",
		from:   []string{"pkg/...", "internal/..."}, except: []string{"pkg/inspect/...", "pkg/statuspage/..."}, scope: linked,
		never: []string{"pkg/inspect/..."},
	},
	{
		reason: "the status page shows the read model, and reads nothing itself",
		from:   []string{"pkg/statuspage/..."}, scope: direct,
		only: []string{"pkg/secret", "pkg/events", "pkg/rollout", "pkg/scheduler", "pkg/inspect"},
	},
	{
		reason: "the status page is for programs: nothing is decided by what it shows",
		from:   []string{"pkg/...", "internal/..."}, except: []string{"pkg/statuspage/..."}, scope: linked,
		never: []string{"pkg/statuspage/..."},
	},
	{
		reason: "what is heard of readers is kept and counted: it knows no store, no driver and no role",
		from:   []string{"pkg/readers/..."}, scope: direct,
		only: []string{"pkg/secret", "pkg/catalog", "pkg/events", "pkg/rollout", "internal/backoff", "internal/telemetry", "go.opentelemetry.io/otel/...", "golang.org/x/sync/errgroup"},
	},
	{
		reason: "EventBridge is a way in and out: it carries events and knows neither stores nor who acts on them",
		from:   []string{"pkg/eventbridge/..."}, scope: direct,
		only: []string{
			"pkg/secret", "pkg/events", "internal/backoff", "internal/telemetry", "github.com/aws/aws-sdk-go-v2/...", "github.com/aws/smithy-go/...", "go.opentelemetry.io/otel/...", "golang.org/x/sync/errgroup",
		},
	},
	{
		reason: "settings of connections are shared by programs and services: they open the bus, and bring the SDK of no store along",
		from:   []string{"pkg/settings/..."}, scope: direct,
		only: []string{"pkg/secret", "pkg/events"},
	},
	{
		reason: "a service on NATS alone links the SDK of no store",
		from:   []string{"pkg/settings/...", "pkg/client/setup", "pkg/client/setup/natskv"}, scope: linked,
		never: []string{"github.com/aws/...", "github.com/hashicorp/vault/..."},
	},
	{
		reason: "the configuration of programs and that of services share pkg/settings, and do not know each other",
		from:   []string{"cmd/internal/config/...", "cmd/internal/wire/..."}, scope: linked,
		never: []string{"pkg/client/..."},
	},
	{
		reason: "a driver is told where its service is in a type of its own",
		from:   drivers, scope: anyhow,
		never: []string{"pkg/settings/..."},
	},
	{
		reason: "programs choose whether there is an EventBridge",
		from:   []string{"pkg/...", "internal/..."}, except: []string{"pkg/eventbridge/..."}, scope: linked,
		never: []string{"pkg/eventbridge/..."},
	},
	{
		reason: "what drivers have in common lives in pkg/store, so a driver knows its service and nothing else",
		from:   []string{"pkg/store/awssm/..."}, scope: direct,
		only: []string{
			"pkg/secret", "pkg/store", "pkg/store/awssm/...",
			"github.com/aws/aws-sdk-go-v2/...", "github.com/aws/smithy-go/...", "golang.org/x/sync/...", "golang.org/x/time/rate",
		},
	},
	{
		reason: "what drivers have in common lives in pkg/store, so a driver knows its service and nothing else",
		from:   []string{"pkg/store/vault/..."}, scope: direct,
		only: []string{"pkg/secret", "pkg/store", "pkg/store/vault/...", "github.com/hashicorp/vault/api/...", "golang.org/x/sync/..."},
	},
	{
		reason: "what drivers have in common lives in pkg/store, so a driver knows its service and nothing else",
		from:   []string{"pkg/store/natskv/..."}, scope: direct,
		only: []string{
			"pkg/secret", "pkg/store", "pkg/store/natskv/...", "internal/attempt", "internal/backoff", "internal/newfile",
			"github.com/nats-io/nats.go/...", "github.com/tink-crypto/tink-go/v2/...",
		},
	},
	{
		reason: "what drivers have in common lives in pkg/store, so a driver knows its service and nothing else",
		from:   []string{"pkg/store/env/..."}, scope: direct,
		only: []string{"pkg/secret", "pkg/store"},
	},
	{
		reason: "what drivers have in common lives in pkg/target, so a driver knows its server and nothing else",
		from:   []string{"pkg/target/postgres"}, scope: direct,
		only: []string{"pkg/secret", "pkg/target", "pkg/target/internal/logins", "github.com/jackc/pgx/v5/...", "golang.org/x/text/unicode/norm"},
	},
	{
		reason: "what drivers have in common lives in pkg/target, so a driver knows its server and nothing else",
		from:   []string{"pkg/target/mysql"}, scope: direct,
		only: []string{"pkg/secret", "pkg/target", "pkg/target/internal/logins", "github.com/go-sql-driver/mysql"},
	},
	{
		reason: "what drivers have in common lives in pkg/target, so a driver knows its server and nothing else",
		from:   []string{"pkg/target/valkey"}, scope: direct,
		only: []string{"pkg/secret", "pkg/target", "pkg/target/internal/logins", "github.com/redis/go-redis/v9/..."},
	},
	{
		reason: "what drivers have in common lives in pkg/target, so a driver knows its server and nothing else",
		from:   []string{"pkg/target/awsiam"}, scope: direct,
		only: []string{"pkg/secret", "pkg/target", "github.com/aws/aws-sdk-go-v2/...", "github.com/aws/smithy-go/..."},
	},
	{
		reason: "what drivers have in common lives in pkg/target, so a driver knows its server and nothing else",
		from:   []string{"pkg/target/hook"}, scope: direct,
		only: []string{"pkg/secret", "pkg/target"},
	},
	{
		reason: "programs choose the targets, so that no program links the driver of a database that it does not use",
		from:   []string{"pkg/...", "internal/..."}, except: slices.Concat(targetDrivers, kits), scope: linked,
		never: append(slices.Clip(targetDrivers), "github.com/jackc/pgx/v5/...", "github.com/go-sql-driver/mysql/...", "github.com/redis/go-redis/..."),
	},
	{
		reason: "programs choose the stores, so that no program links the SDK of a store that it does not use",
		from:   []string{"pkg/...", "internal/..."}, except: slices.Concat(drivers, []string{"pkg/client/setup/..."}), scope: linked,
		never: drivers,
	},
	{
		reason: "a service links the stores that it passes to setup.Open, and the environment",
		from:   []string{"pkg/client/setup"}, scope: linked,
		never: []string{"pkg/store/awssm/...", "pkg/store/vault/...", "pkg/store/natskv/..."},
	},
	{
		reason: "a provider brings its own store along and no other",
		from:   []string{"pkg/client/setup/aws"}, scope: linked,
		never: []string{"pkg/store/vault/...", "pkg/store/natskv/..."},
	},
	{
		reason: "a provider brings its own store along and no other",
		from:   []string{"pkg/client/setup/vault"}, scope: linked,
		never: []string{"pkg/store/awssm/...", "pkg/store/natskv/..."},
	},
	{
		reason: "a provider brings its own store along and no other",
		from:   []string{"pkg/client/setup/natskv"}, scope: linked,
		never: []string{"pkg/store/awssm/...", "pkg/store/vault/..."},
	},
	{
		reason: "an embedded server is for programs that want one, never for a service or a library",
		from:   []string{"pkg/...", "internal/..."}, except: kits, scope: linked,
		never: []string{natsServer},
	},
	{
		reason: "tests take their server from eventstest; natskv cannot, because a store does not know the bus",
		from:   []string{"pkg/...", "internal/..."}, except: []string{"pkg/events/eventstest/...", "pkg/store/natskv/..."},
		scope: withTests,
		never: []string{natsServer},
	},
	{
		reason: "test kits are not part of any program or library",
		from:   []string{"cmd/...", "pkg/...", "internal/..."}, except: kits, scope: linked,
		never: slices.Concat(kits, []string{"testing", "go.uber.org/goleak/...", "pgregory.net/rapid/..."}),
	},
	{
		reason: "libraries know neither the programs nor the tests of the whole",
		from:   []string{"pkg/..."}, scope: withTests,
		never: []string{"cmd/...", "integration/..."},
	},
}

func TestPackagesImportOnlyAlongTheArrows(t *testing.T) {
	all := packages(t)
	for _, a := range arrows {
		matched := a.matches(all)
		for _, from := range a.from {
			if folder, _ := strings.CutSuffix(from, "/..."); holdsGo(t, folder) && !slices.ContainsFunc(matched, func(p pkg) bool {
				return matches(from, p.ImportPath)
			}) {
				t.Errorf("%s has Go files, but the arrow from %q matches no package", folder, from)
			}
		}
		for _, violation := range a.violations(all) {
			t.Errorf("%s\n\twhy not: %s", violation, a.reason)
		}
		t.Logf("%v, %d packages: %s", a.from, len(matched), a.reason)
	}
}

// packages lists every package of the module, and every package that these or their tests import in turn. One that
// does not compile is listed too: its imports are known, and the compiler's complaint is not ours.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	all := map[string]pkg{}
	list := output(t, "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,TestImports,XTestImports,Deps", "./...", "std")
	for dec := json.NewDecoder(bytes.NewReader(list)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		all[p.ImportPath] = p
	}
}

// holdsGo reports whether there are Go files in a folder of the repository, or below it.
func holdsGo(t *testing.T, folder string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(folder)), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			found = true
			return fs.SkipAll
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("look for Go files: %v", err)
	}
	return found
}
