package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// examples are what --help shows of each command that has no other: lines that can be pasted and
// then changed. A test reads them as command lines.
var examples = map[string]string{
	"up": `
portico up
portico up --servers 3 --http 127.0.0.1:9080`,
	"proxy": `
portico proxy
portico proxy --config /etc/portico/portico.toml
portico proxy --http 127.0.0.1:8080 --https 127.0.0.1:8443 --set tls.acme=`,
	"agent": `
portico agent --join front:7443 --fingerprint sha256:7ce19e42…
portico agent --join front:7443 --fingerprint sha256:7ce19e42… --code-file /etc/portico/invite --zone room-2`,
	"agent stop": `
portico agent stop
portico agent stop --sites --dir /var/lib/portico`,
	"check": `
portico check
portico check ./portico.toml`,

	"deploy": `
portico deploy shop ./folder --host shop.example.com
portico deploy shop site.zip --dry-run
portico deploy shop ./folder --no-pin --yes --json`,
	"sites": `
portico sites
portico sites show shop
portico sites set shop session.idle=1h`,
	"sites show": `
portico sites show shop`,
	"releases": `
portico releases shop`,
	"rollback": `
portico rollback shop
portico rollback shop 9f2c41d07b3e --dry-run`,
	"remove": `
portico remove shop --dry-run
portico remove shop --yes`,
	"logs": `
portico logs shop --lines 20
portico logs shop -f --member server-1`,
	"deploys": `
portico deploys
portico deploys shop`,
	"hosts": `
portico hosts
portico hosts share shop.example.com blog`,
	"hosts share": `
portico hosts share shop.example.com blog
portico hosts share '*.example.com' shop`,
	"hosts unshare": `
portico hosts unshare shop.example.com blog`,
	"hosts move": `
portico hosts move shop.example.com new-shop`,
	"deploys cancel": `
portico deploys cancel shop`,

	"members": `
portico members
portico members --turned-away`,
	"members forget": `
portico members forget server-1`,
	"invite": `
portico invite
portico invite --quiet --expires 10m`,
	"invite list": `
portico invite list`,
	"invite remove": `
portico invite remove 06h053fc8f1wyzc37qrv90xdsg`,
	"accept": `
portico accept server-1`,
	"refuse": `
portico refuse server-1 --reason "not one of ours"`,
	"revoke": `
portico revoke server-1 --dry-run
portico revoke server-1 --reason "sold" --yes`,
	"ready": `
portico ready server-1
portico ready shop/fx3k`,
	"maint": `
portico maint server-1 --dry-run
portico maint shop/fx3k --yes`,

	"stats": `
portico stats
portico stats --csv`,
	"top": `
portico top
portico top --every 5s`,
	"sessions end": `
portico sessions end shop 8f3b2c1d00a94e57
portico sessions end shop "$COOKIE" --yes`,
	"sessions move": `
portico sessions move shop 8f3b2c1d00a94e57`,
	"export": `
portico export haproxy`,
	"export haproxy": `
portico export haproxy
portico export haproxy --out /etc/haproxy/portico --watch --reload "systemctl reload haproxy"`,
	"audit": `
portico audit --limit 20`,

	"login": `
portico login front:7443 --fingerprint sha256:7ce19e42… --account anna
portico login front:7443 --fingerprint sha256:7ce19e42… --token-file ./token`,
	"account": `
portico account
portico account add anna --role operator --password`,
	"account add": `
portico account add anna --role operator --password
portico account add ci --role deployer --site shop`,
	"account set": `
portico account set anna --role admin
portico account set ci --disabled`,
	"account remove": `
portico account remove ci`,
	"token": `
portico token
portico token add --account ci --label pipeline --expires 90d`,
	"token add": `
portico token add --account ci --label pipeline --expires 90d`,
	"token remove": `
portico token remove 06h053fc8f1wyzc37qrv90xdsg`,
	"keys": `
portico keys`,
	"keys rotate": `
portico keys rotate session`,
	"backup": `
portico backup --out cluster.backup`,
	"restore": `
portico restore cluster.backup --dir /var/lib/portico --key catalog.key`,
	"version": `
portico version`,
}

// addExamples gives the examples to the commands below root.
func addExamples(root *cobra.Command) {
	for _, c := range root.Commands() {
		name := strings.TrimPrefix(c.CommandPath(), root.Root().Name()+" ")
		if c.Example == "" {
			c.Example = strings.TrimPrefix(strings.ReplaceAll(examples[name], "\n", "\n  "), "\n")
		}
		addExamples(c)
	}
}
