package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// soakEnv makes the test binary an instance of the soak, see TestMain.
const soakEnv = "ROTATOR_SOAK_INSTANCE"

// What the instances of the soak are configured with. An agent has the lease of the
// client.
const (
	soakLease = time.Second
	soakGrace = time.Second
	soakFence = 2 * time.Second
	soakPoll  = 10 * time.Second
)

// soakOrder is what an instance is told.
type soakOrder struct {
	URL      string
	Service  string
	Instance string
	Signer   []byte
	Backend  service
	Specs    []secret.Spec
	// File makes it a program without a client: a token is what the file holds.
	File string
}

// soakAnswer is what an instance says of one check, in one line. A request is a line,
// too: the id of a secret and a token.
type soakAnswer struct {
	// Began and Ended are the time before the check and before the answer leaves, in
	// nanoseconds on the clock that all processes of the machine share.
	Began int64 `json:"began"`
	Ended int64 `json:"ended"`
	// Use is which token it was, "fenced" for a process that cannot tell.
	Use string `json:"use"`
}

const soakFenced = "fenced"

func (a soakAnswer) accepted() bool {
	return a.Use == "current" || a.Use == "previous" || a.Use == "staged"
}

// soakChecker says which token it was given.
type soakChecker func(ctx context.Context, id, token string) (use string)

// soakInstance is the process: it answers checks until it is asked to end.
func soakInstance(text string) int {
	var o soakOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	serve := o.serveClient
	if o.File != "" {
		serve = func(ctx context.Context) error { return serveChecks(ctx, o.checkFile) }
	}
	if err := serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// checkFile reads the file at each use, which needs no reload.
func (o soakOrder) checkFile(_ context.Context, _, token string) string {
	b, err := os.ReadFile(o.File)
	switch {
	case err != nil:
		return err.Error()
	case string(b) == token:
		return "current"
	default:
		return "rejected"
	}
}

func (o soakOrder) serveClient(ctx context.Context) error {
	nc, err := nats.Connect(o.URL, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.IgnoreDiscoveredServers())
	if err != nil {
		return err
	}
	defer nc.Close()
	m, err := o.manager(ctx, nc)
	if err != nil {
		return err
	}
	auths := make(map[string]*client.TokenAuthenticator, len(o.Specs))
	for _, spec := range o.Specs {
		auth, err := client.NewTokenAuthenticator(ctx, m, spec.ID, "soak", time.Hour)
		if err != nil {
			return err
		}
		auths[string(spec.ID)] = auth
	}
	err = serveChecks(ctx, func(ctx context.Context, id, token string) string {
		use, err := auths[id].Check(ctx, token)
		switch {
		case errors.Is(err, client.ErrFence):
			return soakFenced
		case err != nil:
			return err.Error()
		}
		return string(use)
	})
	return errors.Join(err, m.Close(context.WithoutCancel(ctx)))
}

func (o soakOrder) manager(ctx context.Context, nc *nats.Conn) (*client.Manager, error) {
	signer, trusted, err := (keys{seed: o.Signer}).open()
	if err != nil {
		return nil, err
	}
	bus, err := events.New(nc, events.Config{Source: "/test/" + o.Instance, Signer: signer, Verifier: trusted})
	if err != nil {
		return nil, err
	}
	d, err := o.Backend.open(ctx, nc, nil)
	if err != nil {
		return nil, err
	}
	st, err := store.New("embedded", d, &store.Options{Timeout: time.Second, Circuit: store.Circuit{OpenFor: soakLease}})
	if err != nil {
		return nil, err
	}
	c, err := manage(o.Specs, st)
	if err != nil {
		return nil, err
	}
	all := make([]secret.ID, len(o.Specs))
	for i, spec := range o.Specs {
		all[i] = spec.ID
	}
	return client.New(ctx, client.Config{
		Service: o.Service, Instance: o.Instance, Source: c.source, IDs: all, CheckedAtUse: all, Bus: bus, Lease: soakLease, PollInterval: soakPoll,
	})
}

// serveChecks answers checks until ctx ends.
func serveChecks(ctx context.Context, check soakChecker) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return nil //nolint:nilerr // it was closed
		}
		go answerChecks(ctx, c, check)
	}
}

func answerChecks(ctx context.Context, c net.Conn, check soakChecker) {
	defer c.Close()
	out := json.NewEncoder(c)
	for in := bufio.NewScanner(c); in.Scan(); {
		id, token, _ := strings.Cut(in.Text(), " ")
		var a soakAnswer
		a.Began = time.Now().UnixNano()
		a.Use = check(ctx, id, token)
		a.Ended = time.Now().UnixNano()
		if out.Encode(a) != nil {
			return
		}
	}
}

// soakPython is an instance that has the client in clients/python. Its arguments are
// service, instance, lease, fence and the interval of its polls in seconds, and the
// secrets.
const soakPython = `
import asyncio, json, logging, signal, sys, time
from datetime import timedelta
from tradepulse_rotator import Manager, TokenAuthenticator, bus_from_env, source_from_env
from tradepulse_rotator.errors import FenceError

async def check(auth, token):
    began, use = time.time_ns(), "fenced"
    try:
        await auth.confirm()
        began = time.time_ns()
        use = auth.check(token).value
    except FenceError:
        pass
    return {"use": use, "began": began, "ended": time.time_ns()}

async def main(service, instance, lease, fence, poll, *ids):
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    lease, fence, poll = (timedelta(seconds=float(s)) for s in (lease, fence, poll))
    async with Manager(service=service, instance=instance, source=source_from_env(ids), bus=bus_from_env(), lease=lease, fence=fence,
                       poll_interval=poll, checked_at_use=ids) as manager:
        auths = {i: await TokenAuthenticator.open(manager, i, overlap=timedelta(hours=1)) for i in ids}

        async def answer(reader, writer):
            try:
                while line := await reader.readline():
                    secret_id, token = line.decode().split()
                    writer.write(json.dumps(await check(auths[secret_id], token)).encode() + b"\n")
                    await writer.drain()
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        print(f"{host}:{port}", flush=True)
        await ended.wait()

logging.basicConfig(level=logging.INFO)
asyncio.run(main(*sys.argv[1:]))
`
