package frontdoor

import (
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

// adopt takes the listening sockets that the service manager has for this proxy: those of
// socket units, or those that the process before this one stored with it. They are named as in the log of the
// start: http, https, admin.
func (p *Proxy) adopt() {
	for _, file := range activation.Files(true) {
		err := p.sockets.Keep(file.Name(), file)
		_ = file.Close()
		if err != nil {
			p.log.Warn("socket of the service manager not used", "error", err)
			continue
		}
		p.adopted = true
		p.log.Info("listening socket of the service manager", "listener", file.Name())
	}
}

// LeaveSockets leaves the listening sockets with the service manager, so that they stay open
// while it restarts this proxy.
func (p *Proxy) LeaveSockets() {
	notify := os.Getenv("NOTIFY_SOCKET")
	if notify == "" {
		return
	}
	if err := p.sockets.Store(notify, "http", "https", "admin"); err != nil {
		p.log.Debug("listening sockets not left with the service manager", "error", err)
	}
}

// notify tells the service manager, if there is one.
func (p *Proxy) notify(state string) {
	if p.options.Notify != nil {
		p.options.Notify(state)
	}
}
