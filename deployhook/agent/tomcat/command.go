package tomcat

import (
	"fmt"
	"path/filepath"
	"strings"
)

// opens are the packages of the JDK that Tomcat looks into. They go by the environment,
// which a Java that is too old to know the option does not read.
const opens = "--add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.lang.reflect=ALL-UNNAMED " +
	"--add-opens=java.base/java.io=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED " +
	"--add-opens=java.base/java.util.concurrent=ALL-UNNAMED --add-opens=java.rmi/sun.rmi.transport=ALL-UNNAMED"

// heapShare is how much of a site's memory, in percent, the heap gets: threads, code and
// buffers need the rest.
const heapShare = 60

// Command returns the command line of a site's Tomcat, and adds to vars, which are the site's
// environment, what it needs. JAVA_OPTS and CATALINA_OPTS in vars are options of the JVM, with
// quotes as in a shell. memory is the most that the process may have, in bytes, 0: no limit; the
// heap gets its share of it, unless the options say how large it is.
func (h Home) Command(java, base string, memory int64, vars map[string]string) ([]string, error) {
	args := []string{
		java,
		"-Djava.util.logging.config.file=" + filepath.Join(base, "conf", "logging.properties"),
		"-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager",
		"-Djava.protocol.handler.pkgs=org.apache.catalina.webresources",
	}
	sized := false
	for _, name := range []string{"JAVA_OPTS", "CATALINA_OPTS"} {
		options, err := split(vars[name])
		if err != nil {
			return nil, fmt.Errorf("env.%s: %w", name, err)
		}
		for _, o := range options {
			sized = sized || strings.HasPrefix(o, "-Xmx") || strings.HasPrefix(o, "-XX:MaxRAM") || strings.HasPrefix(o, "-XX:MaxHeapSize")
		}
		args = append(args, options...)
	}
	if memory > 0 && !sized {
		args = append(args, fmt.Sprintf("-Xmx%dk", memory/100*heapShare>>10))
	}
	vars["JDK_JAVA_OPTIONS"] = strings.TrimSpace(opens + " " + vars["JDK_JAVA_OPTIONS"])
	vars["CATALINA_HOME"], vars["CATALINA_BASE"] = h.Dir, base
	bin := filepath.Join(h.Dir, "bin")
	return append(args,
		"-Dcatalina.base="+base, "-Dcatalina.home="+h.Dir, "-Djava.io.tmpdir="+filepath.Join(base, "temp"),
		"-classpath", filepath.Join(bin, "bootstrap.jar")+string(filepath.ListSeparator)+filepath.Join(bin, "tomcat-juli.jar"),
		"org.apache.catalina.startup.Bootstrap", "start"), nil
}

// split takes a line of options apart at spaces, as a shell would: 'single' and "double"
// quotes keep what is between them together, and a backslash the character after it.
func split(line string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	open, escaped := false, false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, open = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("%q ends within quotes", line)
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}
