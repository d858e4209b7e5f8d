package main

import (
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// squatted counts the bytes that came to a port that is not this site's.
var squatted atomic.Int64

func init() {
	// Takes a port that is another's, and answers there. With hide no /proc shows
	// who holds it: the descriptors are in a table of one thread's own.
	http.HandleFunc("/squat", func(w http.ResponseWriter, r *http.Request) {
		port, _ := strconv.Atoi(r.FormValue("port"))
		six := r.FormValue("six") != ""
		done := make(chan error, 1)
		go squat(port, six, r.FormValue("hide") != "", done)
		if r.FormValue("later") != "" {
			return // it goes on until it has the port
		}
		select {
		case err := <-done:
			if err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
		case <-time.After(30 * time.Second):
			http.Error(w, "the port stays taken", http.StatusConflict)
			return
		}
		fmt.Fprint(w, "squatting")
	})
	// Keeps the log from being cut: whoever opens it is refused at once or waits.
	http.HandleFunc("/lease", func(w http.ResponseWriter, _ *http.Request) {
		go func() {
			for {
				_ = lease(syscall.F_WRLCK)
				time.Sleep(20 * time.Millisecond)
				_ = lease(syscall.F_UNLCK)
			}
		}()
	})
	// Reserves room for the log beyond its end, where its size does not show it.
	http.HandleFunc("/reserve", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
		const keepSize = 1
		if err := syscall.Fallocate(1, keepSize, 0, n); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	http.HandleFunc("/squatted", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, squatted.Load()) })
}

// lease takes or gives back the lease on the log.
func lease(how uintptr) error {
	const setLease = 1024
	if _, _, err := syscall.Syscall(syscall.SYS_FCNTL, 1, setLease, how); err != 0 {
		return err
	}
	return nil
}

func squat(port int, six, hide bool, done chan<- error) {
	runtime.LockOSThread()
	if hide {
		if err := syscall.Unshare(syscall.CLONE_FILES); err != nil {
			done <- err
			return
		}
	}
	family, addr := syscall.AF_INET, syscall.Sockaddr(&syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if six {
		family, addr = syscall.AF_INET6, &syscall.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err != nil {
		done <- err
		return
	}
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	for syscall.Bind(fd, addr) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	if err := syscall.Listen(fd, 64); err != nil {
		done <- err
		return
	}
	done <- nil
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nstolen"
	for {
		c, _, err := syscall.Accept(fd)
		if err != nil {
			continue
		}
		var b [4096]byte
		n, _ := syscall.Read(c, b[:])
		squatted.Add(int64(max(n, 0)))
		if n > 0 {
			_, _ = syscall.Write(c, []byte(answer))
		}
		_ = syscall.Close(c)
	}
}
