# The image: one static binary, and nothing else. `deploy/image` makes the same without docker, and tries it.
FROM rust:1.95-bookworm AS build
RUN apt-get -qq update && apt-get -qq --no-install-recommends install libcap2-bin
WORKDIR /src
COPY . .
# Stripped, since the profile keeps line tables. The capability is the file's, because Kubernetes gives a user other than root
# no ambient ones; deploy/README.md has the whole story.
RUN deploy/dist \
    && ! readelf --program-headers target/dist/nameplate | grep -q INTERP \
    && mkdir /image \
    && strip --output-file=/image/nameplate target/dist/nameplate \
    && setcap cap_net_bind_service=+ep /image/nameplate \
    && ln -s nameplate /image/coredns

FROM scratch
# With a link from CoreDNS's path, for manifests that name its program.
COPY --from=build /image/ /
# By number, so that `runAsNonRoot` can be checked; the number is CoreDNS's.
USER 65532:65532
WORKDIR /
EXPOSE 53 53/udp
ENTRYPOINT ["/nameplate"]
