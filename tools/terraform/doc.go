// Package terraform checks the Terraform modules of deployments/ as far as that
// goes without Terraform, its providers and an account: syntax, format, every
// reference, functions, and the arguments of each resource against [types],
// which is kept by hand from the documentation of the AWS provider.
//
// It does not know which values an argument takes, does not evaluate a module,
// and cannot see what `terraform validate` and `terraform plan` see: run those
// before you apply.
package terraform
