package conf

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"portico/internal/nearest"
)

// Load reads a configuration: the defaults, over them the file (its bytes, and
// its name for messages; empty bytes are an empty file), over it the PORTICO_…
// variables of environ, which has the form of os.Environ.
//
// The variable of a setting is its path in upper case with underscores:
// proxy.timeouts.header is PORTICO_PROXY_TIMEOUTS_HEADER. Lists are separated
// by commas. An empty variable counts as set.
//
// Load is a pure function. Its error is a Mistakes with everything that is
// wrong; the Config is then not to be used.
func Load(file []byte, name string, environ []string) (Config, error) {
	c := Default()
	doc, mistakes := decode(name, file, &c)
	if doc == nil {
		return Config{}, mistakes
	}
	from := map[string]string{} // path to the variable that set it
	mistakes = append(mistakes, c.environ(environ, from)...)
	mistakes = append(mistakes, located(c.check(), mistakes, doc, from)...)
	if len(mistakes) > 0 {
		return Config{}, mistakes.sorted()
	}
	return c, nil
}

// located gives what check found its place, leaving out settings that were
// refused before: their value is not what somebody wrote.
func located(found, before Mistakes, doc *document, from map[string]string) Mistakes {
	refused := map[string]bool{}
	for _, m := range before {
		refused[m.Key] = true
	}
	var mistakes Mistakes
	for _, m := range found {
		covered := false
		for p := m.Key; p != "" && !covered; p = parent(p) {
			covered = refused[p]
		}
		if covered {
			continue
		}
		if env := from[m.Key]; env != "" {
			m.Source = env
		} else {
			m = doc.mistake(m.Key, m.Message)
		}
		mistakes = append(mistakes, m)
	}
	return mistakes
}

// envName returns the variable of a path.
func envName(path string) string {
	return "PORTICO_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// environ lays variables over c and notes in from which setting came from
// which.
func (c *Config) environ(environ []string, from map[string]string) Mistakes {
	var mistakes Mistakes
	keys := Keys()
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "PORTICO_") {
			continue
		}
		i := slices.IndexFunc(keys, func(k Key) bool { return k.Env == name })
		if i < 0 {
			if message, refused := unknownVariable(name, keys); refused {
				mistakes = append(mistakes, Mistake{Source: name, Message: message})
			}
			continue
		}
		from[keys[i].Path] = name
		if err := c.Set(keys[i].Path, value); err != nil {
			if inner := errors.Unwrap(err); inner != nil {
				err = inner // the variable's name says it all
			}
			mistakes = append(mistakes, Mistake{Source: name, Key: keys[i].Path, Message: err.Error()})
		}
	}
	return mistakes
}

// Kubernetes sets such variables for a service named "portico" or
// "portico-proxy"; they are not ours to judge.
var serviceVariable = regexp.MustCompile(`_SERVICE_(HOST|PORT(_.*)?)$|_PORT(_[0-9]+_(TCP|UDP).*)?$`)

// unknownVariable decides about a PORTICO_ variable that is no setting. Those
// of a section are refused, and those that look like a slip; others belong to
// the client commands or to site processes.
func unknownVariable(name string, keys []Key) (string, bool) {
	if serviceVariable.MatchString(name) || slices.Contains(otherVariables, name) {
		return "", false
	}
	all := make([]string, len(keys))
	section := false
	for i, k := range keys {
		all[i] = k.Env
		if first, _, nested := strings.Cut(k.Path, "."); nested {
			section = section || strings.HasPrefix(name, envName(first)+"_")
		}
	}
	if near, ok := nearest.Word(name, all); ok && (section || nearest.Distance(name, near) <= 2) {
		return "unknown variable: did you mean " + near + "?", true
	}
	return "unknown variable: see the configuration reference for the settings of this section", section
}

// otherVariables are read by the client commands and given to site processes.
var otherVariables = []string{
	"PORTICO_ADDR", "PORTICO_TOKEN", "PORTICO_FINGERPRINT", "PORTICO_CONFIG",
	"PORTICO_SITE", "PORTICO_RELEASE", "PORTICO_RELEASE_DIR", "PORTICO_DATA_DIR",
	"PORTICO_INSTANCE", "PORTICO_MEMBER",
}
