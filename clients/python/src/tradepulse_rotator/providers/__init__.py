"""Stores: the environment, AWS Secrets Manager, Vault and OpenBao. They only read."""
