//! Options of dnsmasq that are not taken, each with what to do.

/// Options about things that a DNS server does not do, by the beginning of their names.
pub(super) const NO_DNS: [(&str, &str); 10] = [
    (
        "dhcp-",
        "nameplate has no DHCP: keep dnsmasq for it, with port=0",
    ),
    (
        "tftp-",
        "nameplate has no TFTP: keep dnsmasq for it, with port=0",
    ),
    (
        "enable-tftp",
        "nameplate has no TFTP: keep dnsmasq for it, with port=0",
    ),
    (
        "pxe-",
        "nameplate has no PXE: keep dnsmasq for it, with port=0",
    ),
    (
        "enable-ra",
        "nameplate sends no router advertisements: keep dnsmasq or radvd for them",
    ),
    (
        "ra-param",
        "nameplate sends no router advertisements: keep dnsmasq or radvd for them",
    ),
    (
        "bootp-",
        "nameplate has no BOOTP: keep dnsmasq for it, with port=0",
    ),
    (
        "read-ethers",
        "nameplate has no DHCP: keep dnsmasq for it, with port=0",
    ),
    (
        "script-",
        "nameplate has no DHCP: keep dnsmasq for it, with port=0",
    ),
    (
        "leasefile-",
        "nameplate has no DHCP: keep dnsmasq for it, with port=0",
    ),
];

/// Options without an equivalent, and what to do.
pub(super) const UNKNOWN_HERE: [(&str, &str); 27] = [
    ("ipset", "no addresses are added to sets of the firewall"),
    ("nftset", "no addresses are added to sets of the firewall"),
    ("connmark-allowlist", "no such filter"),
    (
        "interface-name",
        "write the interface's addresses into the hosts file",
    ),
    ("dynamic-host", "write the addresses into the hosts file"),
    (
        "synth-domain",
        "write a `template` that makes the addresses from the names",
    ),
    (
        "localise-queries",
        "write a server block with `view` for each network",
    ),
    ("alias", "write `rewrite … answer` for the addresses"),
    (
        "bogus-nxdomain",
        "no reply is turned into NXDOMAIN by its address",
    ),
    ("ignore-address", "no reply is ignored by its address"),
    (
        "filter-AAAA",
        "write `template IN AAAA . { rcode NOERROR }`; it hides local AAAA records, too",
    ),
    (
        "filter-A",
        "write `template IN A . { rcode NOERROR }`; it hides local A records, too",
    ),
    ("filter-rr", "write a `template` for the type"),
    ("add-mac", "clients are not identified to upstreams"),
    ("strip-mac", "clients are not identified to upstreams"),
    ("add-subnet", "clients are not identified to upstreams"),
    ("add-cpe-id", "clients are not identified to upstreams"),
    ("umbrella", "clients are not identified to upstreams"),
    (
        "stop-dns-rebind",
        "private addresses in replies of upstreams are not refused",
    ),
    (
        "rebind-domain-ok",
        "private addresses in replies of upstreams are not refused",
    ),
    (
        "rebind-localhost-ok",
        "private addresses in replies of upstreams are not refused",
    ),
    (
        "dnssec",
        "replies are not validated: name an upstream that validates",
    ),
    (
        "trust-anchor",
        "replies are not validated: name an upstream that validates",
    ),
    (
        "dnssec-check-unsigned",
        "replies are not validated: name an upstream that validates",
    ),
    (
        "all-servers",
        "write `fanout` instead of `forward`: it asks all upstreams at once",
    ),
    (
        "local-service",
        "every client is answered: write an `acl` with the networks that may ask",
    ),
    ("auth-server", "write a zone file and `file` for the domain"),
];

/// Options that ask for nothing that has to be written down here.
pub(super) const NOTHING_TO_DO: [(&str, &str); 34] = [
    ("user", "the service manager chooses the user"),
    ("group", "the service manager chooses the group"),
    ("pid-file", "-pidfile on the command line"),
    ("keep-in-foreground", "it stays in the foreground"),
    ("no-daemon", "it stays in the foreground"),
    ("bind-interfaces", "`bind` opens a socket for each address"),
    (
        "bind-dynamic",
        "`bind` opens a socket for each address; later ones come with a reload",
    ),
    ("no-poll", "resolv.conf is read at start"),
    ("query-port", "source ports are random"),
    ("min-port", "source ports are random"),
    ("max-port", "source ports are random"),
    ("port-limit", "source ports are random"),
    ("edns-packet-max", "`bufsize` sets it; the default is 1232"),
    (
        "dns-forward-max",
        "the number of waiting queries is limited by the server",
    ),
    (
        "max-tcp-connections",
        "connections are shared by client, and limited",
    ),
    ("log-facility", "the log goes to standard output"),
    ("log-async", "writing the log never blocks"),
    ("log-debug", "the directive `debug`"),
    (
        "clear-on-reload",
        "a changed file replaces what was served of it",
    ),
    ("no-round-robin", "records are in the order of the file"),
    ("dns-loop-detect", "the directive `loop`"),
    ("dnssec-timestamp", "replies are not validated"),
    ("dnssec-no-timecheck", "replies are not validated"),
    ("proxy-dnssec", "the AD bit of upstreams is passed on"),
    ("use-stale-cache", "`serve_stale` of `cache`"),
    ("fast-dns-retry", "lost datagrams are sent again"),
    ("enable-dbus", "changes are edits of files"),
    ("enable-ubus", "changes are edits of files"),
    ("conntrack", "marks are not passed on"),
    ("dumpfile", "no packets are dumped"),
    ("dumpmask", "no packets are dumped"),
    ("no-ident", "`chaos` is off unless it is written"),
    ("quiet-dhcp", "nameplate has no DHCP"),
    ("auth-ttl", "there is no auth-server"),
];
