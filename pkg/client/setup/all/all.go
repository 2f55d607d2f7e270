// Package all has every provider of package setup, for a service whose operator
// chooses the store. A service with one store in mind imports that provider
// alone, and links no other.
package all

import (
	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/client/setup/aws"
	"github.com/tradepulse/rotator/pkg/client/setup/natskv"
	"github.com/tradepulse/rotator/pkg/client/setup/vault"
)

// Providers returns aws, vault and natskv.
func Providers() []setup.Provider {
	return []setup.Provider{aws.Provider(), vault.Provider(), natskv.Provider()}
}
