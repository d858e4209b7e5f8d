# deploy/activate.sh of the site's archive: asks switch-site for this release and waits until it is served.
printf '%s\n' "$PORTICO_RELEASE_DIR" >"$PORTICO_DATA_DIR/switch/wanted"
until [ "$(cat "/run/switch-site/$PORTICO_SITE" 2>/dev/null)" = "$PORTICO_RELEASE_DIR" ]; do sleep 0.2; done
