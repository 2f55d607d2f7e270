package serverstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the server's own format
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MariaDB is a running MariaDB server that logs every statement.
type MariaDB struct {
	// Address is where it listens, with and without TLS.
	Address string
	// User and Password are those of an account with every right.
	User, Password string
	// CA is a file with the authority of the server's certificate.
	CA string

	process *process
	log     string
}

// StartMariaDB starts a server with empty data.
func StartMariaDB(t testing.TB) *MariaDB {
	t.Helper()
	dir, err := os.MkdirTemp("", "mariadb") //nolint:usetesting // only root could enter a directory of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := FreePort(t)
	m := &MariaDB{Address: fmt.Sprintf("127.0.0.1:%d", port), User: "root", Password: "root." + rand.Text(), CA: filepath.Join(dir, "server.pem"), log: filepath.Join(dir, "general.log")}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	certificate(t, m.CA, filepath.Join(dir, "server.key"))
	write(t, m.log, nil)
	own(t, dir)
	args := []string{"--no-defaults", "--datadir=" + data, "--innodb-log-file-size=4M", "--innodb-data-file-path=ibdata1:4M:autoextend", "--innodb-temp-data-file-path=ibtmp1:4M:autoextend", "--tmpdir=" + dir}
	bootstrap := mariadbd(t, append(args, "--bootstrap")...)
	bootstrap.Stdin = m.system(t)
	if out, err := bootstrap.CombinedOutput(); err != nil {
		t.Fatalf("bootstrap: %v\n%s", err, out)
	}
	m.process = run(t, mariadbd(t, append(args, "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", port), "--socket="+filepath.Join(dir, "socket"), "--skip-name-resolve",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=8M", "--general-log", "--general-log-file="+m.log,
		"--ssl-cert="+m.CA, "--ssl-key="+filepath.Join(dir, "server.key"))...))
	m.await()
	return m
}

// system returns the statements that make the system tables, one on each line, and
// give the first account its password.
func (m *MariaDB) system(t testing.TB) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	out.WriteString("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n")
	for _, name := range []string{"mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"} {
		b, err := os.ReadFile(filepath.Join("/usr/share/mysql", name))
		if err != nil {
			t.Fatalf("%v: install the package mariadb-server-core of the system", err)
		}
		out.Write(b)
	}
	inner := sha1.Sum([]byte(m.Password))                                                                                                                                                 //nolint:gosec // the server's own format
	fmt.Fprintf(&out, "\nUPDATE global_priv SET Priv = JSON_SET(Priv, '$.plugin', 'mysql_native_password', '$.authentication_string', '*%X') WHERE User = 'root';\n", sha1.Sum(inner[:])) //nolint:gosec // likewise
	return &out
}

func mariadbd(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("mariadbd")
	if err != nil {
		path = "/usr/sbin/mariadbd"
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("there is no MariaDB server: install the package mariadb-server-core of the system")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	unprivileged(cmd)
	return cmd
}

func (m *MariaDB) await() {
	m.process.t.Helper()
	deadline := time.Now().Add(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := MariaDBLogin(m.process.t.Context(), m.Address, m.User, m.Password)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-m.process.done:
			m.process.t.Fatalf("mariadbd has ended:\n%s", m.process.out)
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			m.process.t.Fatalf("mariadbd does not answer: %v\n%s", err, m.process.out)
		}
	}
}

// Log returns what the server has logged so far.
func (m *MariaDB) Log() string {
	b, err := os.ReadFile(m.log)
	if err != nil {
		m.process.t.Error(err)
	}
	return m.process.out.String() + string(b)
}

// Exec runs statements as the first account, one after the other.
func (m *MariaDB) Exec(t testing.TB, statements ...string) {
	t.Helper()
	conn, err := MariaDBLogin(t.Context(), m.Address, m.User, m.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// MariaDBConn is one session.
type MariaDBConn struct {
	db   *sql.DB
	conn *sql.Conn
	// Client is the address of the client.
	Client string
}

// MariaDBLogin opens a session without TLS.
func MariaDBLogin(ctx context.Context, address, user, password string) (*MariaDBConn, error) {
	out := &MariaDBConn{}
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.Logger = user, password, "tcp", address, &mysql.NopLogger{}
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			out.Client = conn.LocalAddr().String()
		}
		return conn, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	out.db = sql.OpenDB(connector)
	if out.conn, err = out.db.Conn(ctx); err != nil {
		_ = out.db.Close()
		return nil, err
	}
	return out, nil
}

// Exec runs a statement.
func (c *MariaDBConn) Exec(ctx context.Context, statement string) (sql.Result, error) {
	return c.conn.ExecContext(ctx, statement)
}

// Close ends the session.
func (c *MariaDBConn) Close() error {
	_ = c.conn.Close() // the connection ends with the pool
	return c.db.Close()
}

// TLS returns the configuration of a client that trusts the server.
func (m *MariaDB) TLS(t testing.TB) *tls.Config {
	t.Helper()
	b, err := os.ReadFile(m.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}
}

// Text returns what a query of one column and one row answers.
func (c *MariaDBConn) Text(t testing.TB, query string) string {
	t.Helper()
	var out string
	if err := c.conn.QueryRowContext(t.Context(), query).Scan(&out); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}
