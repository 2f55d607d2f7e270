# What pkg/store/vault needs, for a KV version 2 engine under secret/. Put the
# path of your secrets in place of "secret/data/*" and its like; a test takes
# each capability away in turn to see that it is missed.

# Read and write the secrets.
path "secret/data/*" {
  capabilities = ["create", "read", "update"]
}

# Their versions and custom metadata, and which there are.
path "secret/metadata/*" {
  capabilities = ["read", "list"]
}

# Pending versions wait here: only rotator may read it.
path "secret/data/rotator-state/*" {
  capabilities = ["read", "update"]
}

# Before the first of them; "update" when that was interrupted.
path "secret/metadata/rotator-state/*" {
  capabilities = ["create", "update"]
}

# Retire previous versions; destroy only for secrets with "retire: destroy".
path "secret/delete/*" {
  capabilities = ["update"]
}

path "secret/destroy/*" {
  capabilities = ["update"]
}
