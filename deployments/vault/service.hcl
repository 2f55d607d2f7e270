# What a service needs that reads its own secrets, here those under
# tradepulse/. It cannot see pending versions.
path "secret/data/tradepulse/*" {
  capabilities = ["read"]
}

path "secret/metadata/tradepulse/*" {
  capabilities = ["read"]
}
