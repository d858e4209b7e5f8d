# make            build ./portico
# make test       install what the tests need, then run all of them (-race)
# make lint       vet and staticcheck
# make types      check for the other systems, without compiling
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
UNIT         = $(shell $(GO) list ./... | grep -v '^portico/tests$$')
# The race detector needs a C compiler; without one the tests run without it.
HAS_CC       = $(shell printf '\043include <stdlib.h>\n' | gcc -x c -c -o /dev/null - 2>/dev/null && echo yes)
RACE         = $(if $(HAS_CC),-race)
BUILT        = $(if $(HAS_CC),,PORTICO_TEST_RACE=0)
CROSS        = linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# Tests that the race detector makes do less, see internal/race.
WITHOUT_RACE = '^(TestMemory|TestAllocs|TestSimulation|TestRush|TestLargeTableComesTogether|TestEnginesAllocateNothing|TestManyRecordsStartQuickly|TestSecondDeployShipsOnlyWhatChanged|TestTurnsAreShort|TestLongTurnsAreSeen)$$'

# A program with the race detector waits a second at its end for goroutines that
# still run; the tests start hundreds, and stop what they start.
export GORACE ?= atexit_sleep_ms=20

.PHONY: build test compile race plain plain-std plain-conn unit e2e lint types cross bench bench-peers fuzz soak tools

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o portico ./cmd/portico

test: tools compile race plain

tools:
	sh tests/tools.sh

# One after the other: two go commands at a time would compile the same twice.
compile:
	$(GO) build $(RACE) ./cmd/... ./tests/...
	$(GO) vet ./...

# The end-to-end tests wait more than they compute: they run beside the others.
race:
	$(BUILT) PORTICO_TEST_ENGINE=auto $(GO) test $(RACE) -vet=off -p 3 -parallel 4 -timeout 15m ./tests $(UNIT)

# The data path is tested with its other engines at the same time: it waits much.
plain:
	$(MAKE) --no-print-directory --output-sync -j2 plain-std plain-conn
	$(GO) test -vet=off -timeout 10m -run $(WITHOUT_RACE) ./balancer ./deployhook ./membership/catalog ./proxy/loop

plain-std plain-conn:
	PORTICO_TEST_ENGINE=$(@:plain-%=%) $(GO) test -vet=off -timeout 10m ./proxy

unit:
	PORTICO_TEST_ENGINE=auto $(GO) test $(RACE) -timeout 10m $(UNIT)

e2e:
	$(BUILT) $(GO) test -parallel 4 -timeout 15m ./tests

lint:
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

types:
	$(GO) run ./tests/types $(CROSS)

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
