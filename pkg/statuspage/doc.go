// Package statuspage is the page that a program shows at /: what needs a person,
// which old versions may be revoked, what each rollout waits for, and what rotates
// next. It is an [http.Handler] that other programs can embed, also below a prefix
// with [http.StripPrefix].
//
// All viewers share one [Snapshot], which [Page.Run] takes at a bounded rate, only
// while there are viewers, and with a deadline. What could not be read in time is
// shown as unknown, and the page says from when it is.
//
// The page is read only unless [Config.Acts] is set. Then it links to forms, each of
// which shows the command that does the same and asks for the admin token, a name and
// a reason. No session exists: the token is checked at each act.
//
// The page shows no value of a secret, loads nothing from elsewhere
// and works without a script. It authenticates no viewer: put a proxy that does in
// front of it where the address can be reached by others.
package statuspage
