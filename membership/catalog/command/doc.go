// Package command holds the commands that change the catalog, and what they go by: who is let in, which host a site may
// have, what a deploy, a drain, a report or a fresh key makes of the records. Each is a function of a change, pure and
// deterministic: time, keys and ids are given to it, and it may run several times.
package command
