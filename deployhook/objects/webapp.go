package objects

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// WebApplication says how the files of a release become a WAR for Tomcat: war is
// the one .war at the top, or "" when the files are a web application themselves
// (WEB-INF, or JSP pages) and are packed. The error says why they are neither.
func WebApplication(files []File) (war string, err error) {
	wars, unpacked := 0, false
	for _, f := range files {
		if path.Dir(f.Path) == "." && strings.EqualFold(path.Ext(f.Path), ".war") {
			war = f.Path
			wars++
		}
		unpacked = unpacked || strings.HasPrefix(f.Path, "WEB-INF/") || strings.EqualFold(path.Ext(f.Path), ".jsp")
	}
	switch {
	case wars == 1:
		return war, nil
	case wars > 1:
		return "", fmt.Errorf("there are %d .war files at the top: deploy each as a site of its own", wars)
	case !unpacked:
		return "", errors.New("this is no web application: there is neither a .war file at the top, nor WEB-INF, nor a JSP page")
	}
	return "", nil
}
