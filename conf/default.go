package conf

import (
	"time"

	"portico/internal/units"
)

// LetsEncrypt is the directory of the default certificate authority.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Default returns the configuration of an empty file.
func Default() Config {
	return Config{
		Dir: defaultDir,
		Proxy: Proxy{
			HTTP:    ":80",
			HTTPS:   ":443",
			Engine:  "auto",
			IOUring: "auto",
			Retries: 2,
			Recent:  1000,
			Timeouts: ProxyTimeouts{
				Header:   seconds(10),
				Idle:     seconds(60),
				Body:     seconds(30),
				Connect:  seconds(5),
				Response: seconds(60),
				Tunnel:   seconds(3600),
				Tunnels:  units.Duration(12 * time.Hour),
				Drain:    seconds(30),
			},
			Limits: ProxyLimits{
				Header:         16 << 10,
				Line:           8 << 10,
				Fields:         100,
				ResponseHeader: 64 << 10,
			},
			Connections: ProxyConnections{Idle: 64, IdleTimeout: seconds(30)},
		},
		Admin:   Admin{Address: ":7443"},
		Catalog: Catalog{Address: ":7445", Prefix: "portico/"},
		Gossip:  Gossip{Address: ":7946"},
		Agent:   Agent{Address: ":7444", Weight: 100, DiskReserve: 1 << 30, Ports: "20000-29999", LogSize: 10 << 20, CommandTimeout: seconds(300)},
		Upload: Upload{
			Archive:  2 << 30,
			Unpacked: 8 << 30,
			File:     2 << 30,
			Files:    200_000,
		},
		TLS: TLS{ACME: LetsEncrypt, Tickets: units.Duration(12 * time.Hour)},
		Log: Log{Level: "info", Format: "text", AccessFormat: "json"},
	}
}

func seconds(n int) units.Duration { return units.Duration(time.Duration(n) * time.Second) }
