// Package config reads the one YAML file of the two programs.
//
// It is strict and complete: an unknown key is an error, and all that
// is wrong with a file is said at once, each [Problem] with the line, what to
// do about it, and never with a value that might be a secret. Secrets stand in
// the file as references only ([Ref]). Environment variables override single
// settings.
//
// The schema that the file is checked against (schema.json), the copy of it for
// editors and the reference for people are generated from the types here, their
// tags and their comments: write a field's comment for the operator who edits the file.
//
// The package opens no connection, reads no secret before it is asked to
// ([Ref.Read]) and does not look whether files that a configuration names
// exist: a configuration may be checked on another machine than the one that
// runs it.
package config

//go:generate go -C gen run .
