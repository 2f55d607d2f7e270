package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// format is a kind of text that the schema names and this package checks.
type format struct {
	name   string
	check  func(string) error
	remedy string
}

// formats returns every format of the schema. A check that could meet a secret
// by mistake does not repeat the text in its error.
func formats() []format {
	return []format{
		{"duration", checkText(new(Duration)), "write a number with a unit, such as 30d, 12h or 1h30m"},
		{"duration-or-none", checkText(new(DurationOrNone)), "write a number with a unit, such as 30d, 12h or 1h30m, or none"},
		{"moment", checkMoment, "write it as 2026-12-20 for the beginning of a day in UTC, or as 2026-12-20T18:00:00+01:00"},
		{"sync-interval", checkSync, "use always, default, or a duration such as 10s"},
		{"listen", checkListen, "write host:port, such as 127.0.0.1:8080, or none"},
		{"address", checkAddress, "write host:port, such as db.example:5432"},
		{"hook-url", checkHookURL, "write https://host/path, or http:// for a hook on this machine"},
		{"audit-address", checkAuditAddress, "write a port of loopback, such as 127.0.0.1:9099, or the path of a socket"},
		{"nats-url", checkNATSURL, "write nats://host:4222, and several with commas between"},
		{"subject-prefix", checkPrefix, "use up to four words of letters, digits, _ and - with dots between"},
		{"confirm", checkConfirm, "write manual, or after and a time, such as after 14d"},
		{"token", checkToken, ""}, // these two say themselves what to use
		{"secret-id", checkID, ""},
		{"event-source", checkEventSource, "write something like tradepulse.rotator"},
		{"queue-url", checkQueueURL, "write it as SQS shows it: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"},
		{"file", checkFile, "name a file that holds it"},
		{"trusted-key", checkTrustedKey, "name a file with a public key, or its roles and the file, such as notifier=/etc/rotator/notifier.pub"},
		{"file-mode", checkMode, `write it in quotes, as "0400", or "0440" for a group too`},
		{"env-name", checkEnvName, "name a variable, such as ROTATOR_MASTER_KEY_BASE64, not its value"},
	}
}

func checkText(to interface{ UnmarshalText([]byte) error }) func(string) error {
	return func(s string) error { return to.UnmarshalText([]byte(s)) }
}

func checkSync(s string) error {
	if s == "always" || s == "default" {
		return nil
	}
	return new(Duration).UnmarshalText([]byte(s))
}

func checkListen(s string) error {
	if s == "none" {
		return nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%s is not host:port", quote(s))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return fmt.Errorf("%s is not a port", quote(port))
	}
	return nil
}

func checkAddress(s string) error {
	host, _, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return fmt.Errorf("%s is not host:port", quote(s))
	}
	return checkListen(s)
}

func checkNATSURL(s string) error {
	for one := range strings.SplitSeq(s, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || u.Host == "":
			return errors.New("it is not a URL")
		case u.User != nil:
			return errors.New("there are credentials in the URL, use nats.credentials")
		case u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss":
			return fmt.Errorf("the scheme %s is not one of NATS", quote(u.Scheme))
		case u.RawQuery != "" || u.Fragment != "":
			return errors.New("there is more than host and port in the URL")
		}
	}
	return nil
}

func checkPrefix(s string) error {
	_, err := events.NewNames(s)
	return err
}

func checkToken(s string) error {
	if len(s) > maxToken {
		return fmt.Errorf("%s is longer than %d characters", quote(s), maxToken)
	}
	return events.ValidToken(s)
}

func checkID(s string) error { return secret.ID(s).Validate() }

const (
	maxToken    = 64
	maxFileName = 4096
)

// nkeySeed matches the private half of an nkey, which people paste for the name
// of its file.
var nkeySeed = regexp.MustCompile(`^S[A-Z2-7]{57}$`)

func checkTrustedKey(s string) error {
	_, file, err := events.ParseTrustedKey(s)
	if err != nil {
		return err
	}
	return checkFile(file)
}

func checkFile(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errors.New("it is empty")
	case strings.Contains(s, "-----BEGIN") || nkeySeed.MatchString(s):
		return errors.New("this is the secret itself, not the name of its file")
	case len(s) > maxFileName || strings.ContainsAny(s, "\x00\n\r"):
		return errors.New("this cannot be the name of a file")
	}
	return nil
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

func checkEnvName(s string) error {
	if !envName.MatchString(s) {
		return errors.New("this cannot be the name of an environment variable")
	}
	return nil
}
