package apiclient

import (
	"context"

	"portico/proxy/admin/api"
)

// Whoami returns whose token this is.
func (c *Client) Whoami(ctx context.Context) (api.Whoami, error) {
	return ask[api.Whoami](ctx, c, "GET", "/v1/whoami", nil, nil)
}

// Login turns an account's password into a token.
func (c *Client) Login(ctx context.Context, r api.LoginRequest) (api.TokenAnswer, error) {
	return ask[api.TokenAnswer](ctx, c, "POST", "/v1/login", nil, r)
}

// Accounts returns all accounts.
func (c *Client) Accounts(ctx context.Context) ([]api.AccountInfo, error) {
	return ask[[]api.AccountInfo](ctx, c, "GET", "/v1/accounts", nil, nil)
}

// PutAccount makes or changes an account.
func (c *Client) PutAccount(ctx context.Context, r api.AccountRequest) (api.AccountInfo, error) {
	return ask[api.AccountInfo](ctx, c, "POST", "/v1/accounts", nil, r)
}

// DeleteAccount removes an account and its tokens.
func (c *Client) DeleteAccount(ctx context.Context, name string) error {
	return c.call(ctx, "DELETE", "/v1/accounts/"+segment(name), nil, nil, nil)
}

// Tokens returns the tokens that the caller may see.
func (c *Client) Tokens(ctx context.Context) ([]api.TokenInfo, error) {
	return ask[[]api.TokenInfo](ctx, c, "GET", "/v1/tokens", nil, nil)
}

// NewToken makes a token.
func (c *Client) NewToken(ctx context.Context, r api.TokenRequest) (api.TokenAnswer, error) {
	return ask[api.TokenAnswer](ctx, c, "POST", "/v1/tokens", nil, r)
}

// DeleteToken ends a token at once, and those that it made.
func (c *Client) DeleteToken(ctx context.Context, id string) (api.EndedTokens, error) {
	return ask[api.EndedTokens](ctx, c, "DELETE", "/v1/tokens/"+segment(id), nil, nil)
}
