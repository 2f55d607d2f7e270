# What a service needs that reads its own secrets, here those under
# tradepulse/. It cannot see pending versions.
path "secret/data/tradepulse/*" {
  capabilities = ["read"]
}

path "secret/metadata/tradepulse/*" {
  capabilities = ["read"]
}

# A service that accepts the previous token from its start sees here whether it
# is about to be retired. With "rollout: prepare-then-activate" a service loads
# the next version before it is promoted, and has to see it:
#
# path "secret/data/rotator-state/tradepulse/*" {
#   capabilities = ["read"]
# }
