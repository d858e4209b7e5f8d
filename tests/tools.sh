#!/bin/sh
# tools.sh installs what the tests need beside Go: real peers to test against.
# It uses the system's package manager where it may (root, or sudo without a
# password) and otherwise says what is missing and which tests that leaves out.
# It never starts a service.
set -u

# program:package:what is left out without it
TOOLS='
gcc:gcc:the race detector does not watch the tests
haproxy:haproxy:the exported haproxy.cfg is not checked with HAProxy
php:php-cli:the PHP site is not run
node:nodejs:the Node site is not run
chromium:chromium:the stats page is not opened in a browser
ip:iproute2:hosts in network namespaces are not cut off
systemctl:systemd:the example units are not started
linux.uml:user-mode-linux:the system clock is not set, and the limits of control groups are not tried where this machine has none
h2load:nghttp2-client:programs that speak HTTP/2 are not tried
nghttpd:nghttp2-server:a server that speaks HTTP/2 is not tried
curl:curl:programs that speak HTTP/2 are not tried
zip:zip:archives made by zip(1) are not tried
'
# packages that put files in place instead of a program
FILES='
/usr/include/stdlib.h:libc6-dev:the race detector does not watch the tests
/usr/share/tomcat10/bin/catalina.sh:tomcat10:the Tomcat site is not run
/usr/share/tomcat10-admin/manager/WEB-INF/web.xml:tomcat10-admin:the Tomcat site is not run
/usr/share/tomcat10-examples/examples/WEB-INF/web.xml:tomcat10-examples:the Tomcat site is not run
/usr/share/doc/openjdk-17-doc/api/index.html:openjdk-17-doc:the large static site is not served
'

missing_packages() {
	for line in $(printf '%s' "$TOOLS" | cut -d: -f1,2); do
		command -v "${line%%:*}" >/dev/null 2>&1 || printf '%s\n' "${line##*:}"
	done
	for line in $(printf '%s' "$FILES" | cut -d: -f1,2); do
		[ -e "${line%%:*}" ] || printf '%s\n' "${line##*:}"
	done
}

report_missing() {
	printf '%s%s' "$TOOLS" "$FILES" | while IFS=: read -r probe package left_out; do
		[ -n "$probe" ] || continue
		case $probe in
		/*) [ -e "$probe" ] && continue ;;
		*) command -v "$probe" >/dev/null 2>&1 && continue ;;
		esac
		echo "left out: $left_out (install the package $package)"
	done
}

packages=$(missing_packages | sort -u | tr '\n' ' ')
[ -n "$packages" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root='sudo -n'; else as_root=no; fi
fi

if [ "$as_root" != no ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing for the tests: $packages"
	# Services that a package brings stay down: a policy of exit 101 tells
	# the package's scripts not to start them.
	policy=/usr/sbin/policy-rc.d
	made=
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null && $as_root chmod 755 $policy && made=yes
	fi
	wait_lock='-o DPkg::Lock::Timeout=300'
	# shellcheck disable=SC2086
	{
		$as_root apt-get $wait_lock update -qq &&
			$as_root env DEBIAN_FRONTEND=noninteractive apt-get $wait_lock install -y -qq --no-install-recommends $packages >/dev/null
	} || echo "apt-get could not install all of: $packages"
	[ -z "$made" ] || $as_root rm -f $policy
fi

report_missing
if [ "${CI:-}" = true ] && [ -n "$(missing_packages)" ]; then
	echo "CI=true: every tool is needed" >&2
	exit 1
fi
exit 0
