// Package command turns the words of a site's command into what is started: the program that they mean on
// this machine, its arguments and its environment.
package command
