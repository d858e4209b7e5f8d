#!/bin/sh
# peers installs what tests/bench measures against: HAProxy and nginx from the distribution, a C compiler for the bare relay, and
# Caddy through the Go module proxy (leave it out with NO_CADDY=1). Nothing is started, and no service is enabled.
set -eu
if command -v apt-get >/dev/null; then
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends haproxy nginx gcc libc6-dev
elif command -v dnf >/dev/null; then
    dnf install -y haproxy nginx gcc glibc-devel
elif command -v apk >/dev/null; then
    apk add haproxy nginx gcc musl-dev
else
    echo "install haproxy, nginx and gcc by hand" >&2
    exit 1
fi
# Pinned, so that figures can be compared; takes a few minutes to build.
[ -n "${NO_CADDY:-}" ] || go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9
