package catalog

import "crypto/tls"

// TLSForTests is how the store would connect.
func (o *Outside) TLSForTests() (*tls.Config, error) { return o.tls() }
