package vault

import (
	"cmp"
	"fmt"
)

// Access is how a server is reached and logged in to, as programs have it
// configured: their own type has the same fields and is converted to this one.
type Access struct {
	Address, Namespace, CA, Mount, Prefix, StatePrefix string
	// Method is token, approle, kubernetes or jwt; the other fields are of its
	// login. The method token without a token takes that of the environment.
	Method, AuthMount, Role, RoleID, TokenFile string
	SecretID, Token                            string `json:"-"`
	// ReadSecretID and ReadToken return what is valid now; nil means SecretID and
	// Token for ever.
	ReadSecretID, ReadToken func() (string, error) `json:"-"`
}

// Config returns the configuration of a driver that is reached so. The variables
// of the environment are found with lookup.
func (a Access) Config(lookup Lookup) (Config, error) {
	c := Config{Lookup: lookup, Address: a.Address, Namespace: a.Namespace, CACert: a.CA, Mount: a.Mount, Prefix: a.Prefix, StatePrefix: a.StatePrefix}
	switch a.Method {
	case "token":
		c.Auth = EnvironmentToken(lookup)
		if a.Token != "" {
			c.Auth = Token{Token: a.Token, Read: a.ReadToken}
		}
	case "approle":
		c.Auth = AppRole{Mount: a.AuthMount, RoleID: a.RoleID, SecretID: a.SecretID, Read: a.ReadSecretID}
	case "jwt":
		c.Auth = JWT{Mount: a.AuthMount, Role: a.Role, File: a.TokenFile}
	case "kubernetes":
		c.Auth = JWT{Mount: cmp.Or(a.AuthMount, "kubernetes"), Role: a.Role, File: cmp.Or(a.TokenFile, KubernetesTokenFile)}
	default:
		return Config{}, fmt.Errorf("vault: auth: there is no method %q", a.Method)
	}
	return c, nil
}
