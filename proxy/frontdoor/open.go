package frontdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"portico/balancer/seal"
	"portico/certs"
	"portico/conf"
	"portico/deployhook"
	"portico/deployhook/objects"
	"portico/internal/pause"
	"portico/membership"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy"
	"portico/proxy/admin"
)

// openWork opens what belongs to the catalog, all but the traffic.
func (p *Proxy) openWork(ctx context.Context) error {
	return p.open(ctx, p.openGossip, p.openAdmission, p.openDeployer, p.openAdmin, p.leaveAccess)
}

// descriptorsWait is between two tries to open what there were no descriptors for.
const descriptorsWait = time.Second

// openWorkBesideTraffic is openWork while visitors are served already, who may have taken every
// descriptor: a process that ended for that would send all of them away.
func (p *Proxy) openWorkBesideTraffic(ctx context.Context) error {
	for {
		err := p.openWork(ctx)
		if !outOfDescriptors(err) {
			return err
		}
		p.log.Error("out of descriptors: visitors are served, everything else waits until some are free",
			"remedy", "raise LimitNOFILE of the unit (ulimit -n)", "error", err)
		p.stopWork()
		p.forgetWork()
		if err := pause.For(ctx, descriptorsWait); err != nil {
			return err
		}
	}
}

// outOfDescriptors goes by the words as well: not every library keeps the error itself.
func outOfDescriptors(err error) bool {
	return err != nil && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || strings.Contains(err.Error(), syscall.EMFILE.Error()))
}

// forgetWork forgets what stopWork has closed.
func (p *Proxy) forgetWork() {
	p.listener, p.deployer, p.admission, p.gossip, p.working = nil, nil, nil, nil, nil
}

func (p *Proxy) open(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *Proxy) path(parts ...string) string {
	return filepath.Join(append([]string{p.conf.Dir}, parts...)...)
}

func (p *Proxy) openCatalog(ctx context.Context) error {
	peers, err := p.catalogPeers(ctx)
	if err != nil {
		return err
	}
	if p.sealKey, err = catalog.LoadKey(p.path("identity", "catalog.key")); err != nil {
		return err
	}
	p.catalog, err = catalog.Open(ctx, catalog.Options{
		Dir: p.path("catalog"), Name: p.conf.Proxy.Name, Key: p.sealKey, Peers: peers, Logger: p.log.With("part", "catalog"),
		Outside: outsideCatalog(p.conf.Catalog),
	})
	return err
}

// outsideCatalog is the etcd that the configuration names, nil for the embedded one.
func outsideCatalog(c conf.Catalog) *catalog.Outside {
	if len(c.Endpoints) == 0 {
		return nil
	}
	return &catalog.Outside{Endpoints: c.Endpoints, CA: c.CA, Cert: c.Cert, Key: c.Key, Prefix: c.Prefix}
}

func (p *Proxy) openWeb(context.Context) error {
	keys, err := sessionKeys(p.catalog)
	if err != nil {
		return err
	}
	if p.access, err = openAccessLog(p.conf.Log); err != nil {
		return err
	}
	p.web, err = proxy.New(proxy.Options{
		Conf: p.conf.Proxy, Keys: keys,
		TLS: p.certs.TLSConfig(), HasCertificate: p.certs.HasCertificate, Challenge: p.certs.HTTPChallengeHandler,
		AgentTLS:  func(member string) *tls.Config { return p.identity.ClientConfig(catalog.RoleServer, member, p.check()) },
		AccessLog: p.access, Listen: p.sockets.Listen, Logger: p.log.With("part", "proxy"), Moved: p.relocated,
	})
	if err != nil {
		return err
	}
	p.web.SetStatic(*p.sites.Load())
	p.web.Update(p.catalog.View())
	if err := p.restoreSessions(time.Now()); err != nil {
		p.log.Warn("saved sessions not restored: they are counted anew", "error", err)
	}
	if p.predecessor == nil { // nobody is left who could tell what became of a move
		p.web.Balancer().SettleFormer()
	}
	return p.web.Listen()
}

// check looks every peer up in the current view, so that revocation takes
// effect with the next handshake and the next request.
func (p *Proxy) check() certs.Check { return certs.CheckView(p.catalog.View) }

func (p *Proxy) openGossip(ctx context.Context) error {
	keys, err := command.GossipKeys(p.catalog)
	if err != nil {
		return err
	}
	p.gossip, err = membership.New(ctx, membership.Options{
		Name: p.conf.Proxy.Name, Role: catalog.RoleProxy, ID: p.identity.ID(), Fingerprint: p.identity.Fingerprint(), Version: p.options.Version,
		Bind: p.conf.Gossip.Address, Advertise: p.conf.Gossip.Advertise, Keys: keys, Dir: p.path("gossip"),
		Seeds: p.seeds, Admit: p.admits, Logger: p.log.With("part", "gossip"),
	})
	return err
}

// openAdmission makes the side of this proxy that takes knocks.
func (p *Proxy) openAdmission(context.Context) error {
	p.admission = membership.NewAdmission(membership.AdmissionOptions{
		Catalog: p.catalog, Authority: p.authority, Name: p.conf.Proxy.Name, Version: p.options.Version,
		Loopback: isLoopback(p.conf.Admin.Address), Member: certs.MemberOf(p.catalog.View),
		SetKeys: p.gossip.SetKeys, Forget: p.gossip.Forget, SealKey: p.sealKey, Revoking: p.revoking, Logger: p.log.With("part", "admission"),
	})
	return nil
}

// seeds are the gossip addresses of the other accepted members.
func (p *Proxy) seeds() []string {
	var addrs []string
	for _, m := range p.catalog.View().Members {
		if m.Admission == catalog.Accepted && m.Name != p.conf.Proxy.Name && m.Gossip != "" {
			addrs = append(addrs, m.Gossip)
		}
	}
	return addrs
}

func (p *Proxy) admits(name, fingerprint string) bool {
	m := p.catalog.View().Members[name]
	return m != nil && m.Admission == catalog.Accepted && m.Fingerprint == fingerprint
}

func (p *Proxy) openDeployer(context.Context) error {
	p.peers = newPeerClients(func(name string) *tls.Config { return p.identity.ClientConfig(catalog.RoleProxy, name, p.check()) })
	var err error
	if p.objects, err = objects.Open(p.path("objects")); err != nil {
		return err
	}
	p.deployer, err = deployhook.New(deployhook.Options{
		Catalog: p.catalog, Objects: p.objects, Dir: p.conf.Dir, Name: p.conf.Proxy.Name, Upload: p.conf.Upload,
		Logger: p.log.With("part", "deploy"),
		Actor:  func(ctx context.Context) string { return admin.ActorFrom(ctx).Account },
		Load:   p.load, InRotation: p.web.InRotation, Alive: p.alive, Agent: p.agentClient,
		Peer: p.peers.client, AnswerPeer: p.answerPeer,
		Loss: p.loss, MoveQuiet: p.moveQuiet, Failed: p.web.Failed, Leaving: p.web.MemberLeaves,
	})
	return err
}

// alive is gossip's hint about a member; one that gossip never saw gets the benefit of the doubt.
func (p *Proxy) alive(member string) bool {
	for _, n := range p.gossip.Members() {
		if n.Name == member {
			return n.Status == membership.StatusAlive
		}
	}
	return true
}

// agentClient reaches a service of a member's agent; the server name says which.
func (p *Proxy) agentClient(m catalog.Member, service string) (*http.Client, string, error) {
	if m.Addr == "" {
		return nil, "", fmt.Errorf("member %s has told no address", m.Name)
	}
	config := p.identity.ClientConfig(catalog.RoleServer, m.Name, p.check())
	config.ServerName = service
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}, "https://" + m.Addr, nil
}

// sessionKeys returns the keys that seal the cookies.
func sessionKeys(c *catalog.Catalog) ([]seal.Key, error) {
	data, err := c.Secret(command.SecretSession)
	if err != nil {
		return nil, fmt.Errorf("read session keys: %w", err)
	}
	return seal.DecodeKeys(data)
}
