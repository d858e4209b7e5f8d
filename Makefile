# make            build ./portico
# make test       install what the tests need, then run all of them (-race)
# make lint       vet and staticcheck
# make cross      compile for the other systems
# make bench      benchmarks beside the code
# make bench-peers  portico beside HAProxy, nginx and Caddy, in turns
# make fuzz       every fuzz target for FUZZTIME each
# make soak       the long end-to-end run: 30 minutes, or PORTICO_SOAK_FOR

GO          ?= go
FUZZTIME    ?= 30s
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.6.1
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS      = -s -w -X main.version=$(VERSION)
UNIT         = $(shell $(GO) list ./... | grep -v '^portico/tests')
CROSS        = linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: build test unit e2e lint cross bench bench-peers fuzz soak tools

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o portico ./cmd/portico

test: tools unit e2e

tools:
	sh tests/tools.sh

unit:
	$(GO) vet ./...
	$(GO) test -race -timeout 10m $(UNIT)
	PORTICO_TEST_ENGINE=auto $(GO) test -timeout 10m ./proxy

e2e:
	$(GO) test -timeout 15m ./tests/...

lint:
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

cross:
	@for t in $(CROSS); do echo "compile for $$t"; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/portico || exit 1; done

bench:
	$(GO) test -run '^$$' -bench . -benchmem $(UNIT)

bench-peers:
	sh tests/bench/peers.sh
	$(GO) run ./tests/bench

fuzz:
	@for p in $(UNIT); do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	  echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

soak:
	PORTICO_SOAK=1 $(GO) test -timeout 24h -run Soak -v ./tests/
