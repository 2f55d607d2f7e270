package settings

import (
	"cmp"
	"fmt"
	"strings"
)

// AWS is how a service of AWS is reached. What is not set comes from where every
// AWS program finds it.
type AWS struct {
	// Region of the service. Without it the one of the environment or the profile.
	Region string `json:"region,omitzero"`
	// Profile of the shared configuration files. Without it the standard chain:
	// environment, files, web identity, container, instance.
	Profile string `json:"profile,omitzero"`
	// Role to assume with those credentials, in another account or for fewer
	// rights.
	AssumeRole string `json:"assume_role,omitzero"`
	// What the trust policy of that role may ask for.
	ExternalID string `json:"external_id,omitzero"`
	// URL in place of the region's endpoint, such as that of a VPC or of an
	// emulator.
	Endpoint string `json:"endpoint,omitzero"`
}

// Vault is how a KV version 2 engine of Vault or OpenBao is reached.
type Vault struct {
	// URL of the server. Without it BAO_ADDR, else VAULT_ADDR.
	Address string `json:"address,omitzero"`
	// Namespace of Vault Enterprise or OpenBao. Without it
	// BAO_NAMESPACE, else VAULT_NAMESPACE.
	Namespace string `json:"namespace,omitzero"`
	// PEM file of the authorities that are believed. Without it BAO_CACERT, else
	// VAULT_CACERT, else those of the system.
	CA string `json:"ca,omitzero" jsonschema:"format=file"`
	// Where the engine is mounted.
	Mount string `json:"mount,omitzero" default:"secret"`
	// Prefix of the path of every secret. No other path is read or written.
	Prefix string `json:"prefix,omitzero"`
	// Where in the mount pending versions are kept. Only rotator, and services
	// that verify with a pending version, may read there.
	StatePrefix string `json:"state_prefix,omitzero" default:"rotator-state"`
	// How to log in.
	Auth VaultAuth `json:"auth,omitzero"`
}

// VaultAuth says how to log in to Vault.
type VaultAuth struct {
	// The method: token, approle, kubernetes or jwt. Without it approle when
	// VAULT_ROLE_ID and VAULT_SECRET_ID are set and token is not, else token.
	Method string `json:"method,omitzero" jsonschema:"enum=token,enum=approle,enum=kubernetes,enum=jwt"`
	// Where the method is mounted. Without it the method's own name.
	Mount string `json:"mount,omitzero"`
	// Role of kubernetes and jwt.
	Role string `json:"role,omitzero"`
	// Role id of approle. Without it VAULT_ROLE_ID.
	RoleID string `json:"role_id,omitzero"`
	// Secret id of approle. Without it VAULT_SECRET_ID.
	SecretID Ref `json:"secret_id,omitzero"`
	// The token of the method token. Without it BAO_TOKEN, else
	// VAULT_TOKEN.
	Token Ref `json:"token,omitzero" variable:"-"` // its file would share a variable with token_file
	// File with the signed token of kubernetes or jwt. Without it, for kubernetes,
	// that of the pod's service account.
	TokenFile string `json:"token_file,omitzero" jsonschema:"format=file"`
}

// The variables that are read when a setting of [VaultAuth] is missing.
const (
	roleIDVariable   = "VAULT_ROLE_ID"
	secretIDVariable = "VAULT_SECRET_ID"
)

// Complete returns the settings with the method that is in force, and references
// to the variables that stand in for what is missing. The error names each setting
// that the method needs and that is missing all the same.
func (a VaultAuth) Complete(lookup func(string) (string, bool)) (VaultAuth, error) {
	set := func(name string) bool { v, ok := lookup(name); return ok && v != "" }
	if a.Method == "" {
		a.Method = "token"
		if a.Token.IsZero() && (a.RoleID != "" || set(roleIDVariable)) && (!a.SecretID.IsZero() || set(secretIDVariable)) {
			a.Method = "approle"
		}
	}
	var missing []string
	need := func(key string, there bool) {
		if !there {
			missing = append(missing, key)
		}
	}
	switch a.Method {
	case "token":
	case "approle":
		id, _ := lookup(roleIDVariable)
		a.RoleID = cmp.Or(a.RoleID, strings.TrimSpace(id))
		if a.SecretID.IsZero() && set(secretIDVariable) {
			a.SecretID = Ref{Env: secretIDVariable}
		}
		need("role_id or "+roleIDVariable, a.RoleID != "")
		need("secret_id or "+secretIDVariable, !a.SecretID.IsZero())
	case "kubernetes":
		need("role", a.Role != "")
	case "jwt":
		need("role", a.Role != "")
		need("token_file", a.TokenFile != "")
	default:
		return a, fmt.Errorf("method: %q is none of token, approle, kubernetes, jwt", a.Method)
	}
	if len(missing) > 0 {
		return a, fmt.Errorf("the method %s needs %s", a.Method, strings.Join(missing, ", and "))
	}
	return a, nil
}

// VaultAccess is a [Vault] whose secrets have been read.
type VaultAccess struct {
	Address, Namespace, CA, Mount, Prefix, StatePrefix string
	// Method is one of [VaultAuth]; the other fields are of its login.
	Method, AuthMount, Role, RoleID, TokenFile string
	SecretID, Token                            string `json:"-"`
	// ReadSecretID and ReadToken return what the files hold now; nil without a file.
	ReadSecretID, ReadToken func() (string, error) `json:"-"`
}

// Access reads the secrets of the login, so that a mistake is an error.
func (v Vault) Access(lookup func(string) (string, bool)) (VaultAccess, error) {
	auth, err := v.Auth.Complete(lookup)
	if err != nil {
		return VaultAccess{}, fmt.Errorf("auth: %w", err)
	}
	a := VaultAccess{
		Address: v.Address, Namespace: v.Namespace, CA: v.CA, Mount: v.Mount, Prefix: v.Prefix, StatePrefix: v.StatePrefix,
		Method: auth.Method, AuthMount: auth.Mount, Role: auth.Role, RoleID: auth.RoleID, TokenFile: auth.TokenFile,
	}
	for _, s := range []struct {
		key, method string
		ref         Ref
		to          *string
		reread      *func() (string, error)
	}{
		{"secret_id", "approle", auth.SecretID, &a.SecretID, &a.ReadSecretID},
		{"token", "token", auth.Token, &a.Token, &a.ReadToken},
	} {
		if s.ref.IsZero() || s.method != auth.Method {
			continue
		}
		val, err := s.ref.Read(lookup)
		if err != nil {
			return VaultAccess{}, fmt.Errorf("auth.%s: %w", s.key, err)
		}
		*s.to, *s.reread = string(val.Reveal()), s.ref.rereads(lookup)
	}
	return a, nil
}
