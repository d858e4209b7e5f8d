// Command server is the application that the agent's tests install: it tells
// about itself and misbehaves on request.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	port := flag.String("port", os.Getenv("PORT"), "")
	host := flag.String("host", "127.0.0.1", "")
	fail := flag.Bool("fail", false, "end at once")
	deaf := flag.Bool("deaf", false, "do not end on SIGTERM")
	sick := flag.Bool("sick", false, "answer 503 to every check")
	mute := flag.Bool("mute", false, "never listen")
	child := flag.Bool("child", false, "leave a process in another session")
	bare := flag.Bool("bare", false, "give that process an empty environment")
	flag.Parse()
	fmt.Println("starting", os.Getenv("PORTICO_INSTANCE"))
	if *fail {
		fmt.Fprintln(os.Stderr, "cannot open the database")
		os.Exit(3)
	}
	if *deaf {
		signal.Ignore(syscall.SIGTERM)
	}
	if *child {
		cmd := exec.Command("/bin/sleep", "300")
		cmd.SysProcAttr = detached()
		if *bare {
			cmd.Env = []string{"A=b"}
		}
		if err := cmd.Start(); err != nil {
			log.Fatal(err)
		}
		fmt.Println("child", cmd.Process.Pid)
	}
	if *mute {
		for {
			time.Sleep(time.Hour) // an application that hangs, until it is killed
		}
	}
	var count atomic.Int64
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if *sick {
			http.Error(w, "database is away", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-Host", r.Host)
		w.Header().Set("X-Forwarded", r.Header.Get("X-Forwarded-For"))
		fmt.Fprintf(w, "%s %s %d pid %d", os.Getenv("PORTICO_INSTANCE"), os.Getenv("VERSION"), count.Add(1), os.Getpid())
	})
	http.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) {
		dir, _ := os.Getwd()
		status, _ := os.ReadFile("/proc/self/status")
		limits, _ := os.ReadFile("/proc/self/limits")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"env": os.Environ(), "args": os.Args, "dir": dir, "uid": os.Getuid(), "gid": os.Getgid(),
			"status": string(status), "limits": string(limits),
		})
	})
	http.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(r.FormValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		_, _ = w.Write(b)
	})
	http.HandleFunc("/list", func(w http.ResponseWriter, r *http.Request) {
		list, err := os.ReadDir(r.FormValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		fmt.Fprint(w, len(list))
	})
	http.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(r.FormValue("path"), []byte(r.FormValue("text")), 0o666); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
	// Writes a file of that many bytes into a data folder, in small steps; with many, empty files beside it.
	http.HandleFunc("/fill", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("bytes"))
		f, err := os.Create(r.FormValue("path"))
		for b := make([]byte, 64<<10); err == nil && n > 0; n -= len(b) {
			_, err = f.Write(b)
		}
		many, _ := strconv.Atoi(r.FormValue("many"))
		for i := 0; err == nil && i < many; i++ {
			err = os.WriteFile(r.FormValue("path")+strconv.Itoa(i), nil, 0o600)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInsufficientStorage)
		}
	})
	http.HandleFunc("/exit", func(_ http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		os.Exit(code)
	})
	http.HandleFunc("/log", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("bytes"))
		line := strings.Repeat("x", 99) + "\n"
		for ; n > 0; n -= len(line) {
			fmt.Print(line)
		}
		fmt.Println("last line")
	})
	// Starts at most max processes: it is a test of the limit, not of the machine.
	http.HandleFunc("/fork", func(w http.ResponseWriter, r *http.Request) {
		most, _ := strconv.Atoi(r.FormValue("max"))
		started := 0
		for range most {
			if exec.Command("/bin/sleep", "60").Start() != nil {
				break
			}
			started++
		}
		fmt.Fprint(w, started)
	})
	http.HandleFunc("/alloc", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("bytes"))
		b := make([]byte, n)
		for i := 0; i < n; i += 4096 {
			b[i] = 1
		}
		fmt.Fprint(w, len(b))
	})
	// Three events; the answer waits for a request of /next after each.
	next := make(chan struct{})
	http.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = rc.Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	http.HandleFunc("/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case next <- struct{}{}:
		case <-r.Context().Done():
		}
	})
	http.HandleFunc("/trailer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "4")
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	})
	http.HandleFunc("/upgrade", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		lines := bufio.NewScanner(rw)
		for lines.Scan() {
			fmt.Fprintf(conn, "echo %s\n", lines.Text())
		}
	})
	l, err := net.Listen("tcp", net.JoinHostPort(*host, *port))
	if err != nil {
		log.Fatal(err)
	}
	// The process stays, but nobody can connect any more: an application that hangs while it ends.
	http.HandleFunc("/unlisten", func(http.ResponseWriter, *http.Request) { _ = l.Close() })
	err = http.Serve(l, nil)
	if !errors.Is(err, net.ErrClosed) {
		log.Fatal(err)
	}
	for {
		time.Sleep(time.Hour)
	}
}
