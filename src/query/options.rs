//! The command line, in dig's words.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use corefile::nearest;
use wire::{Class, NameBuf, Type};

/// How a reply is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// As dig does.
    Full,
    /// The data of the answer.
    Short,
    /// JSON.
    Json,
}

/// The parts of a full reply that are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parts {
    pub(crate) cmd: bool,
    pub(crate) comments: bool,
    pub(crate) question: bool,
    pub(crate) answer: bool,
    pub(crate) authority: bool,
    pub(crate) additional: bool,
    pub(crate) stats: bool,
}

impl Parts {
    fn all(on: bool) -> Self {
        Self {
            cmd: on,
            comments: on,
            question: on,
            answer: on,
            authority: on,
            additional: on,
            stats: on,
        }
    }
}

/// How a server is spoken to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    /// UDP, and TCP where that is asked for or needed.
    Plain,
    /// TCP.
    Tcp,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS, with this path.
    Https(String),
    /// DNS over QUIC.
    Quic,
}

impl Scheme {
    /// Its name before `://`; empty for the one that needs none.
    fn name(&self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https(_) => "https",
            Self::Quic => "quic",
        }
    }

    /// The port where nobody says another one.
    fn port(&self) -> u16 {
        match self {
            Self::Plain | Self::Tcp => 53,
            Self::Tls | Self::Quic => 853,
            Self::Https(_) => 443,
        }
    }
}

/// The path of DNS over HTTPS, where none is said.
const PATH: &str = "/dns-query";

/// A server, as it is written behind `@`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    pub(crate) scheme: Scheme,
    /// An address or a host's name.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) address: SocketAddr,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, separator) = match self.scheme.name() {
            "" => ("", ""),
            name => (name, "://"),
        };
        write!(
            f,
            "{scheme}{separator}{}#{}({})",
            self.address.ip(),
            self.port,
            self.host
        )
    }
}

/// What is asked, of whom and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) name: NameBuf,
    pub(crate) qtype: Type,
    pub(crate) class: Class,
    at: Vec<String>,
    port: Option<u16>,
    family: Option<bool>,
    pub(crate) tcp: bool,
    /// How servers are spoken to that are written without a scheme.
    scheme: Scheme,
    pub(crate) ignore: bool,
    pub(crate) recurse: bool,
    pub(crate) dnssec: bool,
    pub(crate) checking_disabled: bool,
    pub(crate) authenticated: bool,
    pub(crate) authoritative: bool,
    pub(crate) nsid: bool,
    pub(crate) edns: bool,
    pub(crate) size: u16,
    pub(crate) time: Duration,
    pub(crate) tries: u8,
    pub(crate) tls_ca: Option<String>,
    pub(crate) tls_hostname: Option<String>,
    /// Whether any certificate is good.
    pub(crate) insecure: bool,
    pub(crate) shape: Shape,
    pub(crate) parts: Parts,
    pub(crate) compare: bool,
    pub(crate) help: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: NameBuf::root(),
            qtype: Type::NS,
            class: Class::IN,
            at: Vec::new(),
            port: None,
            family: None,
            tcp: false,
            scheme: Scheme::Plain,
            ignore: false,
            recurse: true,
            dnssec: false,
            checking_disabled: false,
            authenticated: true,
            authoritative: false,
            nsid: false,
            edns: true,
            size: 1_232,
            time: Duration::from_secs(5),
            tries: 3,
            tls_ca: None,
            tls_hostname: None,
            insecure: false,
            shape: Shape::Full,
            parts: Parts::all(true),
            compare: false,
            help: false,
        }
    }
}

/// What was said of the question.
#[derive(Default)]
struct Question {
    name: Option<NameBuf>,
    qtype: Option<Type>,
    class: Option<Class>,
}

impl Question {
    fn set_name(&mut self, text: &str) -> Result<(), String> {
        if let Some(name) = &self.name {
            return Err(format!(
                "{text}: neither a type nor a class, and the name is {name}: one name at a time"
            ));
        }
        let whole = match text.ends_with('.') {
            true => text.to_owned(),
            false => format!("{text}."),
        };
        let name = whole.parse::<NameBuf>();
        self.name = Some(name.map_err(|error| format!("{text}: not a domain name: {error}"))?);
        Ok(())
    }

    /// A bare word: a type, a class or a name, as dig reads it.
    fn word(&mut self, text: &str) -> Result<(), String> {
        if self.qtype.is_none()
            && let Ok(qtype) = text.parse::<Type>()
        {
            self.qtype = Some(qtype);
            return Ok(());
        }
        if self.class.is_none()
            && let Ok(class) = text.parse::<Class>()
        {
            self.class = Some(class);
            return Ok(());
        }
        self.set_name(text)
    }
}

impl Options {
    /// Reads the words behind `query`.
    pub(crate) fn read(words: &[String]) -> Result<Self, String> {
        let mut out = Self::default();
        let mut question = Question::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if let Some(server) = word.strip_prefix('@') {
                out.at.push(server.to_owned());
            } else if let Some(flag) = word.strip_prefix('+') {
                out.flag(flag)?;
            } else if word.starts_with('-') && word.len() > 1 {
                out.option(word, &mut words, &mut question)?;
            } else {
                question.word(word)?;
            }
        }
        let only_a_name = question.name.is_some();
        out.name = question.name.unwrap_or(NameBuf::root());
        out.qtype = question.qtype.unwrap_or(match only_a_name {
            true => Type::A,
            false => Type::NS,
        });
        out.class = question.class.unwrap_or(Class::IN);
        if matches!(out.qtype, Type::AXFR | Type::IXFR) {
            return Err(format!(
                "{}: zone transfers have many messages, which `nameplate query` does not support; use dig or kdig",
                out.qtype
            ));
        }
        if !out.help && out.compare && out.at.len() != 2 {
            return Err("--compare needs two servers: --compare @A @B".to_owned());
        }
        if !out.compare && out.at.len() > 1 {
            return Err(format!("@{}: one server, or two with --compare", out.at[1]));
        }
        Ok(out)
    }

    fn option<'a>(
        &mut self,
        word: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        question: &mut Question,
    ) -> Result<(), String> {
        match word {
            "-h" | "--help" => self.help = true,
            "-4" => self.family = Some(true),
            "-6" => self.family = Some(false),
            "--json" => self.shape = Shape::Json,
            "--compare" => self.compare = true,
            "--insecure" => self.insecure = true,
            "--ca" => {
                let file = rest.next().cloned().ok_or("--ca needs a file")?;
                self.tls_ca = Some(file);
            }
            _ => {
                let letter = word.get(..2).unwrap_or(word);
                // `-p53` is `-p 53`.
                let glued = word.get(2..).filter(|glued| !glued.is_empty());
                if word.starts_with("--") || !["-x", "-p", "-q", "-t", "-c"].contains(&letter) {
                    return Err(unknown(word, "option"));
                }
                let value = match glued {
                    Some(glued) => glued.to_owned(),
                    None => rest
                        .next()
                        .cloned()
                        .ok_or_else(|| format!("{letter} needs a value"))?,
                };
                let wrong = |what: &str| format!("{letter} {value}: not {what}");
                match letter {
                    "-x" => {
                        let ip: IpAddr = value.parse().map_err(|_| wrong("an address"))?;
                        question.set_name(&reverse(ip))?;
                        question.qtype.get_or_insert(Type::PTR);
                    }
                    "-p" => self.port = Some(value.parse().map_err(|_| wrong("a port"))?),
                    "-q" => question.set_name(&value)?,
                    "-t" => question.qtype = Some(value.parse().map_err(|_| wrong("a type"))?),
                    _ => question.class = Some(value.parse().map_err(|_| wrong("a class"))?),
                }
            }
        }
        Ok(())
    }

    /// Reads what stands behind `+`.
    fn flag(&mut self, flag: &str) -> Result<(), String> {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let (name, on) = match name.strip_prefix("no") {
            Some(name) => (name, false),
            None => (name, true),
        };
        let number = |what: &str| -> Result<u32, String> {
            let value = value.unwrap_or_default();
            value
                .parse()
                .map_err(|_| format!("+{name}={value}: not {what}"))
        };
        match (name, value) {
            ("short", None) => {
                self.shape = match on {
                    true => Shape::Short,
                    false => Shape::Full,
                }
            }
            ("tcp" | "vc", None) => self.tcp = on,
            ("ignore", None) => self.ignore = on,
            ("rec" | "recurse", None) => self.recurse = on,
            ("dnssec" | "do", None) => self.dnssec = on,
            ("cd" | "cdflag" | "cdflg", None) => self.checking_disabled = on,
            ("ad" | "adflag", None) => self.authenticated = on,
            ("aa" | "aaonly" | "aaflag", None) => self.authoritative = on,
            ("nsid", None) => self.nsid = on,
            ("edns", None) => self.edns = on,
            ("edns", Some("0")) => self.edns = true,
            ("bufsize", Some(_)) => {
                self.size = u16::try_from(number("a size")?)
                    .map_err(|_| format!("+{flag}: not a size from 0 to 65535"))?;
            }
            ("time" | "timeout", Some(_)) => {
                self.time = Duration::from_secs(number("a number of seconds")?.max(1).into());
            }
            ("tries", Some(_)) => {
                self.tries = u8::try_from(number("a number")?.max(1)).unwrap_or(u8::MAX);
            }
            ("retry", Some(_)) => {
                self.tries = u8::try_from(number("a number")? + 1).unwrap_or(u8::MAX);
            }
            ("tls", None) => self.scheme = on_or_plain(on, Scheme::Tls),
            ("quic", None) => self.scheme = on_or_plain(on, Scheme::Quic),
            ("https", path) => {
                let path = path.unwrap_or(PATH).trim_start_matches('/');
                self.scheme = on_or_plain(on, Scheme::Https(format!("/{path}")));
            }
            ("insecure", None) => self.insecure = on,
            ("tls-ca", Some(file)) => self.tls_ca = Some(file.to_owned()),
            ("tls-hostname", Some(name)) => self.tls_hostname = Some(name.to_owned()),
            ("all", None) => self.parts = Parts::all(on),
            ("answer", None) => self.parts.answer = on,
            ("question", None) => self.parts.question = on,
            ("authority", None) => self.parts.authority = on,
            ("additional", None) => self.parts.additional = on,
            ("comments", None) => self.parts.comments = on,
            ("cmd", None) => self.parts.cmd = on,
            ("stats", None) => self.parts.stats = on,
            _ => return Err(unknown(&format!("+{flag}"), "flag")),
        }
        Ok(())
    }

    /// The servers to ask, with their addresses.
    pub(crate) fn servers(&self) -> Result<Vec<Server>, String> {
        if self.at.is_empty() {
            let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            let mut out = Vec::new();
            for ip in nameservers(&text) {
                if self.family.is_none_or(|four| ip.is_ipv4() == four) {
                    let port = self.port.unwrap_or(self.scheme.port());
                    out.push(Server {
                        scheme: self.scheme.clone(),
                        host: ip.to_string(),
                        port,
                        address: SocketAddr::new(ip, port),
                    });
                }
            }
            return match out.is_empty() {
                true => Err("/etc/resolv.conf names no server; name one: @192.0.2.53".to_owned()),
                false => Ok(out),
            };
        }
        let mut out = Vec::new();
        for at in &self.at {
            out.push(self.server(at)?);
        }
        Ok(out)
    }

    /// Reads `[SCHEME://]HOST[:PORT][/PATH]`.
    fn server(&self, at: &str) -> Result<Server, String> {
        let (scheme, rest) = match at.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, at),
        };
        let (place, path) = match rest.split_once('/') {
            Some((place, path)) => (place, Some(format!("/{path}"))),
            None => (rest, None),
        };
        let scheme = match scheme {
            None => self.scheme.clone(),
            Some("udp" | "dns") => Scheme::Plain,
            Some("tcp") => Scheme::Tcp,
            Some("tls") => Scheme::Tls,
            Some("https") => Scheme::Https(PATH.to_owned()),
            Some("quic") => Scheme::Quic,
            Some(other) => {
                return Err(
                    match nearest(other, ["dns", "udp", "tcp", "tls", "https", "quic"]) {
                        Some(near) => {
                            format!("@{at}: unknown scheme {other}; {near}:// is similar")
                        }
                        None => {
                            format!(
                                "@{at}: unknown scheme {other}: only dns, udp, tcp, tls, https and quic"
                            )
                        }
                    },
                );
            }
        };
        let scheme = match (scheme, path) {
            (scheme, None) => scheme,
            (Scheme::Https(_), Some(path)) => Scheme::Https(path),
            (_, Some(path)) => return Err(format!("@{at}: only https has a path, such as {path}")),
        };
        let (host, port) = split_port(place).ok_or_else(|| format!("@{at}: not a server"))?;
        let port = port.or(self.port).unwrap_or(scheme.port());
        let found = (host, port).to_socket_addrs().map_err(|error| {
            format!("@{at}: cannot find {host}: {error}; an address needs no look-up")
        })?;
        let mut fitting = found.filter(|one| self.family.is_none_or(|four| one.is_ipv4() == four));
        let address = fitting
            .next()
            .ok_or_else(|| format!("@{at}: no address of this family"))?;
        Ok(Server {
            scheme,
            host: host.to_owned(),
            port,
            address,
        })
    }
}

/// What `+FLAG` stands for, or what `+noFLAG` does.
fn on_or_plain(on: bool, scheme: Scheme) -> Scheme {
    match on {
        true => scheme,
        false => Scheme::Plain,
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or a bare IPv6 address.
fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match place.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, Some(port.parse().ok()?))),
        _ => (!place.is_empty()).then_some((place, None)),
    }
}

/// The servers that a resolv.conf names.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split(['#', ';']).next());
    lines
        .filter_map(|line| {
            let mut words = line?.split_whitespace();
            match words.next() {
                Some("nameserver") => words.next()?.split('%').next()?.parse().ok(),
                _ => None,
            }
        })
        .collect()
}

/// The name under which the PTR records of an address are.
fn reverse(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(ip) => {
            let mut out = String::new();
            for octet in ip.octets().iter().rev() {
                out.push_str(&format!("{:x}.{:x}.", octet & 0xF, octet >> 4));
            }
            out + "ip6.arpa."
        }
    }
}

/// What to say of a word that is no option and no flag; the help knows them all.
fn unknown(word: &str, what: &str) -> String {
    let known = crate::HELP
        .split([' ', ',', '=', '\n'])
        .filter(|known| known.starts_with('+') || known.starts_with("--"));
    let (bare, negated) = match word.strip_prefix("+no") {
        Some(rest) => (format!("+{rest}"), "+no"),
        None => (word.to_owned(), ""),
    };
    let bare = bare.split('=').next().unwrap_or(&bare);
    match corefile::nearest(bare, known) {
        Some(near) if negated.is_empty() => format!("{word}: no such {what}; is it {near}?"),
        Some(near) => format!(
            "{word}: no such {what}; is it {negated}{}?",
            near.trim_start_matches('+')
        ),
        None => format!("{word}: no such {what}"),
    }
}
