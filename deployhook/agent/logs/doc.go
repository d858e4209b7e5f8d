// Package logs keeps what the processes of sites write: it opens a log for each instance, cuts those that
// grow past their limit, knows when a line was written, and sends logs to whoever may ask.
package logs
