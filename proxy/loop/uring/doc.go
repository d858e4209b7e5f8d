// Package uring hands many sends or receives to the kernel in one system call, by io_uring. It exists on Linux alone.
package uring
