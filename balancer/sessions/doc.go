// Package sessions is the table of live sessions of all pools: who was where, and when
// last. It only counts and lists: without it every cookie still leads to its instance. What
// has sessions is its Owner; nothing here knows what that is.
package sessions
