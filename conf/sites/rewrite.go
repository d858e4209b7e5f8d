package sites

// Rewrite names what of an answer holds addresses that can be turned into the visitor's.
type Rewrite string

// What can be turned.
const (
	RewriteLocation        Rewrite = "location"
	RewriteContentLocation Rewrite = "content-location"
	RewriteRefresh         Rewrite = "refresh"
	RewriteLink            Rewrite = "link"
	RewriteCookiePath      Rewrite = "cookie-path"
	RewriteCookieDomain    Rewrite = "cookie-domain"
)

// Rewrites are all of these.
func Rewrites() []Rewrite {
	return []Rewrite{RewriteLocation, RewriteContentLocation, RewriteRefresh, RewriteLink, RewriteCookiePath, RewriteCookieDomain}
}
