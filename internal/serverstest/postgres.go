package serverstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresVariable names the directory of the programs of another PostgreSQL server
// than the newest that the system has.
const PostgresVariable = "ROTATOR_TEST_POSTGRES"

// Postgres is a running PostgreSQL server that logs every statement, wants SCRAM of
// every client on TCP, and refuses a password that is the user's name.
type Postgres struct {
	// Host and Port are where it listens, with and without TLS.
	Host string
	Port int
	// User and Password are those of a superuser.
	User, Password string
	// CA is a file with the authority of the server's certificate.
	CA string

	process *process
}

// StartPostgres starts a server with empty data.
func StartPostgres(t testing.TB) *Postgres {
	t.Helper()
	dir, err := os.MkdirTemp("", "postgres") //nolint:usetesting // only root could enter a directory of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	p := &Postgres{Host: "127.0.0.1", Port: FreePort(t), User: "postgres", Password: "super." + rand.Text(), CA: filepath.Join(dir, "server.pem")}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data, password := filepath.Join(dir, "data"), filepath.Join(dir, "password")
	write(t, password, []byte(p.Password))
	certificate(t, p.CA, filepath.Join(dir, "server.key"))
	own(t, dir)
	initdb := postgresCommand(t, "initdb", "--pgdata="+data, "--username="+p.User, "--pwfile="+password, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	args := []string{"-D", data}
	for name, value := range map[string]string{
		"listen_addresses": p.Host, "port": fmt.Sprint(p.Port), "unix_socket_directories": dir, "fsync": "off", "ssl": "on", "ssl_cert_file": p.CA,
		"ssl_key_file": filepath.Join(dir, "server.key"), "log_statement": "all", "log_min_error_statement": "debug5", "log_connections": "on",
		"shared_preload_libraries": "passwordcheck", "shared_buffers": "16MB", "max_connections": "100",
	} {
		args = append(args, "-c", name+"="+value)
	}
	p.process = run(t, postgresCommand(t, "postgres", args...))
	p.await()
	return p
}

func (p *Postgres) await() {
	p.process.t.Helper()
	deadline := time.Now().Add(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := p.connect(p.process.t.Context(), "postgres")
		if err == nil {
			_ = conn.Close(context.WithoutCancel(p.process.t.Context()))
			return
		}
		select {
		case <-p.process.done:
			p.process.t.Fatalf("postgres has ended:\n%s", p.process.out)
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			p.process.t.Fatalf("postgres does not answer: %v\n%s", err, p.process.out)
		}
	}
}

// Log returns what the server has logged so far.
func (p *Postgres) Log() string { return p.process.out.String() }

// Exec runs statements as the superuser, one after the other.
func (p *Postgres) Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	conn, err := p.connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func (p *Postgres) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return PostgresLogin(ctx, net.JoinHostPort(p.Host, fmt.Sprint(p.Port)), p.User, p.Password, database)
}

// PostgresLogin opens a session without TLS.
func PostgresLogin(ctx context.Context, address, user, password, database string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig("host=localhost sslmode=disable")
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Sscan(port, &c.Port); err != nil {
		return nil, err
	}
	c.Host, c.User, c.Password, c.Database, c.ConnectTimeout = host, user, password, database, startTimeout
	return pgx.ConnectConfig(ctx, c)
}

// postgresCommand returns a program of PostgreSQL, run as another user than root,
// which it refuses.
func postgresCommand(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(filepath.Join(postgresPrograms(t), name), args...)
	cmd.Dir = "/"
	unprivileged(cmd)
	return cmd
}

func postgresPrograms(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(PostgresVariable); dir != "" {
		return dir
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) > 0 {
		return filepath.Dir(slices.Max(found))
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		t.Fatalf("there is no PostgreSQL server: install the package postgresql of the system, or name the directory of its programs in %s", PostgresVariable)
	}
	return filepath.Dir(path)
}

func write(t testing.TB, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate writes a certificate for 127.0.0.1 that signed itself, and its key.
func certificate(t testing.TB, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// TLS returns the configuration of a client that trusts the server.
func (p *Postgres) TLS(t testing.TB) *tls.Config {
	t.Helper()
	b, err := os.ReadFile(p.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}
}
