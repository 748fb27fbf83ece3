//! Options of Unbound that are not taken, each with what to do.

/// Options that ask for nothing that has to be written down here, by their beginnings.
pub(super) const NOTHING_TO_DO: [(&str, &str); 52] = [
    ("verbosity", "`log` and `errors` write the log"),
    ("statistics-", "`prometheus` has the counters"),
    ("extended-statistics", "`prometheus` has the counters"),
    ("num-threads", "a worker runs on each core"),
    ("so-", "sockets are set up by the server"),
    ("msg-buffer-size", "buffers are the server's"),
    ("msg-cache-slabs", "each worker has a cache without locks"),
    ("rrset-cache-slabs", "each worker has a cache without locks"),
    ("infra-", "upstreams are probed by `forward`"),
    ("key-cache-", "replies are not validated"),
    ("neg-cache-size", "`denial` of `cache`"),
    (
        "outgoing-",
        "source ports are random, and sockets are limited",
    ),
    (
        "incoming-num-tcp",
        "connections are shared by client, and limited",
    ),
    (
        "num-queries-per-thread",
        "the number of waiting queries is limited",
    ),
    ("do-ip4", "both families are served"),
    ("do-ip6", "both families are served"),
    ("do-udp", "UDP and TCP are served"),
    ("do-tcp", "UDP and TCP are served"),
    ("do-daemonize", "it stays in the foreground"),
    ("chroot", "the service manager confines it"),
    ("username", "the service manager chooses the user"),
    ("directory", "files are written beside the Corefile"),
    ("logfile", "the log goes to standard output"),
    ("use-syslog", "the log goes to standard output"),
    ("log-time-ascii", "the log has times"),
    ("log-servfail", "`errors` logs failures"),
    (
        "log-tag-queryreply",
        "`log` writes queries with their responses",
    ),
    ("pidfile", "-pidfile on the command line"),
    ("root-hints", "nothing is resolved from the root"),
    ("hide-", "`chaos` is off unless it is written"),
    ("identity", "`chaos` is off unless it is written"),
    ("version", "`chaos` is off unless it is written"),
    ("harden-", "nothing is resolved from the root"),
    ("aggressive-nsec", "replies are not validated"),
    ("qname-minimisation", "nothing is resolved from the root"),
    ("use-caps-for-id", "`0x20` of `forward`"),
    ("prefetch-key", "replies are not validated"),
    ("rrset-roundrobin", "`loadbalance`"),
    ("minimal-responses", "`minimal`"),
    ("val-", "replies are not validated"),
    ("module-config", "plugins are chosen by the Corefile"),
    ("target-fetch-policy", "nothing is resolved from the root"),
    ("edns-buffer-size", "`bufsize` sets it; the default is 1232"),
    ("max-udp-size", "`bufsize` sets it; the default is 1232"),
    ("tcp-idle-timeout", "`timeouts`"),
    ("edns-tcp-", "`timeouts`"),
    ("jostle-timeout", "the number of waiting queries is limited"),
    ("delay-close", "sockets are the server's"),
    ("unwanted-reply-threshold", "unexpected replies are dropped"),
    ("serve-expired-", "`serve_stale` of `cache`"),
    ("tls-cert-bundle", "the system's authorities are trusted"),
    (
        "stream-wait-size",
        "connections are shared by client, and limited",
    ),
];

/// Options without an equivalent, and what to do; by their beginnings.
pub(super) const UNKNOWN_HERE: [(&str, &str); 17] = [
    (
        "private-address",
        "private addresses in replies of upstreams are not refused",
    ),
    (
        "private-domain",
        "private addresses in replies of upstreams are not refused",
    ),
    ("tls-", "write `tls CERT KEY` in a server block of `tls://`"),
    ("https-", "write a server block of `https://`"),
    ("http-", "write a server block of `https://`"),
    (
        "auto-trust-anchor-file",
        "replies are not validated: name an upstream that validates",
    ),
    (
        "trust-anchor",
        "replies are not validated: name an upstream that validates",
    ),
    (
        "trusted-keys-file",
        "replies are not validated: name an upstream that validates",
    ),
    (
        "domain-insecure",
        "replies are not validated: name an upstream that validates",
    ),
    ("ratelimit", "there is no limit by rate"),
    ("ip-ratelimit", "`rrl` limits responses by client network"),
    ("access-control-", "write server blocks with `view`"),
    ("define-tag", "write server blocks with `view`"),
    ("local-zone-", "write server blocks with `view`"),
    ("dns64-", "write `dns64`"),
    ("response-ip", "no reply is changed by its address"),
    ("interface-", "write server blocks with `bind` and `acl`"),
];

/// Clauses that have no equivalent.
pub(super) const CLAUSES: [(&str, &str); 8] = [
    ("auth-zone", "copy its zone file and write `file`"),
    ("view", "write server blocks with `view`"),
    ("rpz", "there are no response policy zones"),
    ("python", "there are no modules in Python"),
    ("dynlib", "there are no modules"),
    ("cachedb", "the cache is in memory only"),
    ("dnscrypt", "DNSCrypt is not supported"),
    ("dnstap", "no dnstap frames are written"),
];
