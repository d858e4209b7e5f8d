# Two stages: a static binary, then an image with nothing else in it but the
# certificates of public authorities and a user without rights.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /portico ./cmd/portico \
 && mkdir -p /rootfs/var/lib/portico /rootfs/etc/portico /rootfs/tmp \
 && chmod 1777 /rootfs/tmp \
 && cp conf/example.toml /rootfs/etc/portico/example.toml

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /rootfs/ /
COPY --from=build /portico /portico
USER 65532:65532
VOLUME /var/lib/portico
# Ports under 1024 need no right inside a container's own network namespace
# (net.ipv4.ip_unprivileged_port_start is 0 there).
EXPOSE 80 443 443/udp 7443 7444 7946 7946/udp
ENTRYPOINT ["/portico"]
CMD ["proxy"]
