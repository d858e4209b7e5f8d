package api

import (
	"time"

	"portico/membership/catalog"
)

// Whoami is the answer of GET /v1/whoami.
type Whoami struct {
	Account string              `json:"account"`
	Role    catalog.AccountRole `json:"role"`
	Sites   []string            `json:"sites,omitempty"`
	Cluster string              `json:"cluster"`
	Version string              `json:"version"`
}

// AccountInfo is an account without its password.
type AccountInfo struct {
	Name     string              `json:"name"`
	Role     catalog.AccountRole `json:"role"`
	Sites    []string            `json:"sites,omitempty"`
	Created  time.Time           `json:"created"`
	Disabled bool                `json:"disabled,omitempty"`
	Login    bool                `json:"login"` // has a password
}

// AccountRequest is the body of POST /v1/accounts: it makes an account or
// changes the fields that are set.
type AccountRequest struct {
	Name     string              `json:"name"`
	Role     catalog.AccountRole `json:"role,omitempty"`
	Sites    *[]string           `json:"sites,omitempty"`
	Password string              `json:"password,omitempty"`
	Disabled *bool               `json:"disabled,omitempty"`

	// Confirm is the caller's own password. It is needed where the caller's token or login
	// ends by itself: an account lasts.
	Confirm string `json:"confirm,omitempty"`
}

// LoginRequest is the body of POST /v1/login.
type LoginRequest struct {
	Account  string `json:"account"`
	Password string `json:"password"`
	Label    string `json:"label,omitempty"`
	TTL      string `json:"ttl,omitempty"` // default 30d
}

// TokenRequest is the body of POST /v1/tokens.
type TokenRequest struct {
	Account string `json:"account,omitempty"` // default: the caller's own
	Label   string `json:"label,omitempty"`
	TTL     string `json:"ttl,omitempty"` // "90d"; empty: as long as the token or login that asks
}

// TokenInfo is a token without its secret.
type TokenInfo struct {
	ID      string    `json:"id"`
	Account string    `json:"account"`
	Label   string    `json:"label,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Parent  string    `json:"parent,omitempty"` // the token that made it, with which it ends
}

// TokenAnswer is a new token: the only time that its text is shown.
type TokenAnswer struct {
	Token string `json:"token"`
	TokenInfo
}

// EndedTokens is the answer of DELETE /v1/tokens/{token}.
type EndedTokens struct {
	Ended []string `json:"ended"` // the token, and those that it made
}
