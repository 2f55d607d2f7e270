// Package view prints what pkg/inspect knows as text for a terminal: the tables of
// status and plan, and the lines below them.
//
// It decides nothing, reads nothing and knows no flags.
package view
