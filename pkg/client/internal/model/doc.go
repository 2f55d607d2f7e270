// Package model is empty: its tests are an explicit-state model of the proof that
// a version may be retired. It lies below pkg/client because it drives the client's
// fence as well as the rules of pkg/rollout. docs/model.md describes its worlds.
package model
