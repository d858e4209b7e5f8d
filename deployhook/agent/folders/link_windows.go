package folders

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// linkFolder makes a symbolic link, or a junction where the account may not
// make links, which is the rule on Windows. A junction is absolute.
func linkFolder(root *os.Root, target, name string) error {
	err := root.Symlink(target, name)
	if err == nil {
		return nil
	}
	// root is DIGEST.tmp, which lies as deep as DIGEST will.
	at := filepath.Join(root.Name(), name)
	abs := filepath.Join(filepath.Dir(at), target)
	if strings.ContainsAny(at+abs, `"%`) {
		return err
	}
	out, jerr := exec.Command("cmd", "/c", "mklink", "/J", at, abs).CombinedOutput()
	if jerr != nil {
		return errors.Join(err, fmt.Errorf("junction: %w: %s", jerr, out))
	}
	return nil
}
