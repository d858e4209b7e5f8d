package main

import (
	"bytes"
	"fmt"
	"os"
)

// host is under which visitors find a site.
func host(site int) string { return fmt.Sprintf("site%d.test", site) }

// siteText is a site as the configuration file has it.
func (b *bench) siteText(site int) []byte {
	var t bytes.Buffer
	fmt.Fprintf(&t, "\n[[site]]\nname = \"site%d\"\nhosts = [%q]\n[site.health]\npath = \"/\"\ninterval = %q\n[site.tls]\nmode = \"off\"\nredirect = \"off\"\n", site, host(site), b.interval)
	for j := range b.instances {
		fmt.Fprintf(&t, "[[site.upstream]]\nname = \"i%d\"\naddr = %q\n", j, b.origin.addr(site, j))
	}
	return t.Bytes()
}

// sitesFile is a configuration file that sites are added to.
type sitesFile struct {
	b    *bench
	path string
	text []byte
	next int // the first site that is not in it
}

func (b *bench) newSitesFile(path string, sites int) (*sitesFile, error) {
	f := &sitesFile{b: b, path: path}
	for range sites {
		f.text = append(f.text, b.siteText(f.next)...)
		f.next++
	}
	return f, f.write()
}

// add writes the file with one site more, and returns which.
func (f *sitesFile) add() (int, error) {
	f.text = append(f.text, f.b.siteText(f.next)...)
	f.next++
	return f.next - 1, f.write()
}

// write never shows a half file to a proxy that reads meanwhile.
func (f *sitesFile) write() error {
	if err := os.WriteFile(f.path+".new", f.text, 0o600); err != nil {
		return err
	}
	return os.Rename(f.path+".new", f.path)
}
