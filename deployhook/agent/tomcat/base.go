package tomcat

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Site is what a Tomcat of one site is to serve.
type Site struct {
	Base    string // CATALINA_BASE: made by Make, must not be there, in a folder that only its maker may write
	App     string // absolute path of the WAR, or of the folder of the web application
	War     bool   // App is a WAR
	Context string // context path, "/" for the root
	Port    int    // of 127.0.0.1
	Links   bool   // the folder has links to data folders, which Tomcat is to follow
}

// own are the folders in a base that the site writes: what Tomcat unpacks and compiles.
// Everything else, conf first of all, the site can read only.
var own = []string{"webapps", "work", "temp", "logs"}

// Make makes the folder with which Tomcat serves a site: one connector on loopback, the site
// as only application, no Manager, no shutdown port, logs to the console. give hands a file or
// folder to the site, to read or to write.
func (h Home) Make(s Site, give func(name string, write bool) error) error {
	web, err := h.configuration("web.xml")
	if err != nil {
		return err
	}
	if web, err = hideManifest(web); err != nil {
		return err
	}
	if err := os.Mkdir(s.Base, 0o700); err != nil {
		return fmt.Errorf("tomcat base: %w", err)
	}
	files := map[string][]byte{
		"server.xml":         []byte(fmt.Sprintf(serverXML, s.Port)),
		"web.xml":            web,
		"context.xml":        []byte(fmt.Sprintf(contextXML, s.Links)),
		"logging.properties": []byte(loggingProperties),
	}
	if b, err := h.configuration("catalina.properties"); err == nil { // else the one in bootstrap.jar
		files["catalina.properties"] = b
	}
	conf := filepath.Join(s.Base, "conf")
	// Tomcat looks for descriptors of applications there, and complains where it cannot make it.
	descriptors := filepath.Join(conf, "Catalina", "localhost")
	errs := []error{os.Mkdir(conf, 0o700), os.Mkdir(filepath.Join(s.Base, "lib"), 0o700), os.MkdirAll(descriptors, 0o700)}
	for name, b := range files {
		errs = append(errs, os.WriteFile(filepath.Join(conf, name), b, 0o600), give(filepath.Join(conf, name), false))
	}
	errs = append(errs, h.linkCompiler(s.Base), give(descriptors, false), give(filepath.Dir(descriptors), false), give(conf, false), give(filepath.Join(s.Base, "lib"), false))
	for _, dir := range own {
		errs = append(errs, os.Mkdir(filepath.Join(s.Base, dir), 0o700))
	}
	errs = append(errs, os.Symlink(s.App, filepath.Join(s.Base, "webapps", appName(s))))
	for _, dir := range own {
		errs = append(errs, give(filepath.Join(s.Base, dir), true))
	}
	errs = append(errs, give(s.Base, false))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tomcat base: %w", err)
	}
	return nil
}

// appName is how Tomcat writes a context path as the name of a file in webapps.
func appName(s Site) string {
	name := strings.ReplaceAll(strings.Trim(path.Clean(s.Context), "/"), "/", "#")
	if name == "" || name == "." {
		name = "ROOT"
	}
	if s.War {
		name += ".war"
	}
	return name
}

// linkCompiler puts the compiler of JSP pages where Tomcat finds it: Debian keeps it with
// the other Java libraries, and its own start script adds it.
func (h Home) linkCompiler(base string) error {
	for _, pattern := range []string{"ecj*.jar", "eclipse-jdt-core*.jar"} {
		if have, _ := filepath.Glob(filepath.Join(h.Dir, "lib", pattern)); len(have) > 0 {
			return nil
		}
	}
	for _, name := range []string{"eclipse-jdt-core.jar", "ecj.jar"} {
		jar := filepath.Join("/usr/share/java", name)
		if _, err := os.Stat(jar); err == nil {
			return os.Symlink(jar, filepath.Join(base, "lib", name))
		}
	}
	return nil // JSP pages that were compiled before need none
}

// hideManifest adds to Tomcat's web.xml that nobody gets the site's portico.toml, which
// lies in the folder of the application.
func hideManifest(web []byte) ([]byte, error) {
	end := bytes.LastIndex(web, []byte("</web-app>"))
	if end < 0 {
		return nil, errors.New("tomcat's web.xml has no </web-app>")
	}
	return bytes.Join([][]byte{web[:end], []byte(hidden), web[end:]}, nil), nil
}

const hidden = `
  <security-constraint>
    <web-resource-collection>
      <web-resource-name>portico</web-resource-name>
      <url-pattern>/portico.toml</url-pattern>
    </web-resource-collection>
    <auth-constraint/>
  </security-constraint>
`

// serverXML has no shutdown port, no AJP, no Manager and no user database. Connections live
// longer than the proxies keep idle ones, so that it is they who close. RemoteIpValve takes the
// visitor's address and scheme from the fields that the proxies set.
const serverXML = `<?xml version="1.0" encoding="UTF-8"?>
<Server port="-1">
  <Listener className="org.apache.catalina.core.JreMemoryLeakPreventionListener"/>
  <Service name="Catalina">
    <Connector address="127.0.0.1" port="%d" protocol="HTTP/1.1" keepAliveTimeout="300000" maxKeepAliveRequests="-1"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" unpackWARs="true" autoDeploy="false">
        <Valve className="org.apache.catalina.valves.RemoteIpValve" internalProxies="127\.0\.0\.1" protocolHeader="X-Forwarded-Proto"/>
        <Valve className="org.apache.catalina.valves.ErrorReportValve" showReport="false" showServerInfo="false"/>
      </Host>
    </Engine>
  </Service>
</Server>
`

// contextXML writes no sessions to disk: a base lives as long as its process.
const contextXML = `<?xml version="1.0" encoding="UTF-8"?>
<Context>
  <Manager pathname=""/>
  <Resources allowLinking="%t"/>
</Context>
`

const loggingProperties = `handlers = java.util.logging.ConsoleHandler
.handlers = java.util.logging.ConsoleHandler
.level = INFO
java.util.logging.ConsoleHandler.level = ALL
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
java.util.logging.ConsoleHandler.encoding = UTF-8
`
