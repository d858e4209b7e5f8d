package main

import (
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

// adopt takes the listening sockets that the service manager has for this proxy: those of
// socket units, or those that the process before this one stored with it. They are named as in the log of the
// start: http, https, admin.
func (f *frontDoor) adopt() {
	for _, file := range activation.Files(true) {
		err := f.sockets.Keep(file.Name(), file)
		_ = file.Close()
		if err != nil {
			f.log.Warn("socket of the service manager not used", "error", err)
			continue
		}
		f.adopted = true
		f.log.Info("listening socket of the service manager", "listener", file.Name())
	}
}

// store leaves the listening sockets with the service manager, so that they stay open
// while it restarts this proxy.
func (f *frontDoor) store() {
	notify := os.Getenv("NOTIFY_SOCKET")
	if notify == "" {
		return
	}
	if err := f.sockets.Store(notify, "http", "https", "admin"); err != nil {
		f.log.Debug("listening sockets not left with the service manager", "error", err)
	}
}
