package config

import (
	"fmt"
	"slices"
)

// adminToken checks that the secret of http.admin_token is one, of a single node.
func (k *checker) adminToken() {
	id, at := k.cfg.HTTP.AdminToken, []string{"http", "admin_token"}
	if id == "" || !k.whole(at...) {
		return
	}
	if !k.cfg.SingleNode() {
		k.report(at, "acts on the status page need the rights of an operator, which the programs of a cluster do not have", "remove it, and use the command line")
		return
	}
	if !slices.ContainsFunc(k.cfg.Secrets, func(s Secret) bool { return s.ID == id }) {
		k.report(at, fmt.Sprintf("secrets has no %s", id), "add the secret, or name one that is there")
	}
}
