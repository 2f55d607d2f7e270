package vault

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/hashicorp/vault/api"
)

// Lookup finds a variable of the environment, as [os.LookupEnv] does.
type Lookup func(name string) (value string, ok bool)

// variable returns what BAO_name or VAULT_name says, and which of the two. The
// rule is that of the bao command: BAO_name wins over VAULT_name, also when it is
// empty. An empty BAO_TOKEN does not win, since bao then looks for a token
// elsewhere. White space around a value does not count: a variable that is set
// from a file often ends in a line break.
func (l Lookup) variable(name string) (value, from string) {
	bao, vault := "BAO_"+name, "VAULT_"+name
	if v, ok := l(bao); ok && (name != "TOKEN" || strings.TrimSpace(v) != "") {
		return strings.TrimSpace(v), bao
	}
	v, _ := l(vault)
	return strings.TrimSpace(v), vault
}

// environment is what the variables say of a server.
type environment struct {
	address, agent, namespace, token, proxy string
	tls                                     api.TLSConfig
}

// unread are the variables that the API of Vault reads as VAULT_ only.
var unread = []string{"SRV_LOOKUP", "DISABLE_REDIRECTS"}

// environment reads the variables. Its errors name the variable and hold no value.
func (l Lookup) environment() (environment, error) {
	var e environment
	var proxy, older, bytes, skip string
	for name, to := range map[string]*string{
		"ADDR": &e.address, "AGENT_ADDR": &e.agent, "NAMESPACE": &e.namespace, "TOKEN": &e.token,
		"PROXY_ADDR": &proxy, "HTTP_PROXY": &older,
		"CACERT": &e.tls.CACert, "CACERT_BYTES": &bytes, "CAPATH": &e.tls.CAPath,
		"CLIENT_CERT": &e.tls.ClientCert, "CLIENT_KEY": &e.tls.ClientKey,
		"TLS_SERVER_NAME": &e.tls.TLSServerName, "SKIP_VERIFY": &skip,
	} {
		value, from := l.variable(name)
		if name != "CACERT_BYTES" && strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return e, fmt.Errorf("vault: %s: it contains a control character", from)
		}
		*to = value
	}
	for _, name := range unread {
		if v, ok := l("BAO_" + name); ok && v != "" {
			return e, fmt.Errorf("vault: BAO_%s is not supported: set VAULT_%s", name, name)
		}
	}
	if e.proxy = proxy; proxy == "" {
		e.proxy = older
	}
	e.tls.CACertBytes = []byte(bytes)
	return e, e.skipVerify(l, skip)
}

func (e *environment) skipVerify(l Lookup, text string) (err error) {
	if text == "" {
		return nil
	}
	if e.tls.Insecure, err = strconv.ParseBool(text); err != nil {
		_, from := l.variable("SKIP_VERIFY")
		return fmt.Errorf("vault: %s: want true or false", from)
	}
	return nil
}

// apply makes ac what the variables say. The API has read those of Vault before,
// and of them only what another variable or a setting replaces must not stay.
func (e *environment) apply(ac *api.Config) error {
	ac.Address, ac.AgentAddress = api.DefaultAddress, e.agent
	if e.address != "" {
		ac.Address = e.address
	}
	t, ok := ac.HttpClient.Transport.(*http.Transport)
	if !ok {
		return fmt.Errorf("vault: a transport of type %T", ac.HttpClient.Transport)
	}
	tls := t.TLSClientConfig
	tls.RootCAs, tls.ServerName, tls.GetClientCertificate, tls.InsecureSkipVerify = nil, "", nil, false
	if err := ac.ConfigureTLS(&e.tls); err != nil {
		return fmt.Errorf("vault: TLS: %w", err)
	}
	if e.tls.ClientCert != "" {
		tls.GetClientCertificate = clientCertificate(e.tls.ClientCert, e.tls.ClientKey)
	}
	if e.proxy == "" {
		t.Proxy = http.ProxyFromEnvironment
		return nil
	}
	proxy, err := url.Parse(e.proxy)
	if err != nil {
		return errors.New("vault: PROXY_ADDR or HTTP_PROXY, with BAO_ or VAULT_ before it: want a URL")
	}
	t.Proxy = http.ProxyURL(proxy)
	return nil
}
