package command

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"portico/conf/sites"
	"portico/deployhook/agent/folders"
)

// passedOn are the variables of the agent that a site inherits. Everything else,
// the agent's own settings and secrets first of all, stays out.
var passedOn = []string{"PATH", "LANG", "LC_ALL", "TZ"}

// passedOnWindows are those without which programs do not start there.
var passedOnWindows = []string{
	"SystemRoot", "SystemDrive", "ComSpec", "PATHEXT", "windir", "ProgramData", "ProgramFiles",
	"ProgramFiles(x86)", "CommonProgramFiles", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "OS",
}

// defaultPath is used where the agent has no PATH, as under some service managers.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environment is what a process of a site finds in its environment. What the
// agent says wins over the site's settings.
type Environment struct {
	Member                    string
	Site, Release, ReleaseDir string
	Instance                  string // empty for commands that are no instance
	Port                      int    // 0: none
	Folders                   folders.Site
	User                      string
	Settings                  sites.Settings
}

// Vars are the variables by name.
func (e Environment) Vars() map[string]string {
	v := make(map[string]string)
	names := passedOn
	if runtime.GOOS == "windows" {
		names = slices.Concat(passedOn, passedOnWindows)
	}
	for _, name := range names {
		if s := os.Getenv(name); s != "" {
			v[name] = s
		}
	}
	if v["PATH"] == "" && runtime.GOOS != "windows" {
		v["PATH"] = defaultPath
	}
	tmp := e.Folders.Tmp()
	for name, s := range map[string]string{
		"HOME": e.Folders.Home(), "USER": e.User, "LOGNAME": e.User,
		"TMPDIR": tmp, "TMP": tmp, "TEMP": tmp,
	} {
		v[name] = s
	}
	for name, s := range e.Settings.Env {
		if validVariable(name) {
			v[name] = strings.ReplaceAll(s, "\x00", "")
		}
	}
	v["PORTICO_MEMBER"] = e.Member
	v["PORTICO_SITE"] = e.Site
	v["PORTICO_RELEASE"] = e.Release
	v["PORTICO_RELEASE_DIR"] = e.ReleaseDir
	v["PORTICO_DATA_DIR"] = e.Folders.Data()
	if e.Instance != "" {
		v["PORTICO_INSTANCE"] = e.Instance
	}
	if e.Port != 0 {
		v["PORT"] = strconv.Itoa(e.Port)
	}
	return v
}

// validVariable reports whether a site may set the variable. Names that begin
// with PORTICO_ are the agent's.
func validVariable(name string) bool {
	return name != "" && !strings.ContainsAny(name, "=\x00") && !strings.HasPrefix(strings.ToUpper(name), "PORTICO_")
}

// List writes variables down as processes get them.
func List(vars map[string]string) []string {
	out := make([]string, 0, len(vars))
	for name, s := range vars {
		out = append(out, name+"="+s)
	}
	slices.Sort(out)
	return out
}

// Expand replaces $NAME and ${NAME} in arguments by what the process finds in
// its environment; "$$" is a dollar sign, a name that is not set is empty.
func Expand(args []string, vars map[string]string) []string {
	out := make([]string, len(args))
	for i, s := range args {
		out[i] = os.Expand(s, func(name string) string {
			if name == "$" {
				return "$"
			}
			return vars[name]
		})
	}
	return out
}
