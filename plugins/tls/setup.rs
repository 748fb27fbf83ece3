//! Reads `tls` lines.

use std::path::PathBuf;
use std::sync::Arc;

use chain::inspect::Inspect;
use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use chain::tls::Tls;
use corefile::{Diagnostic, Directive, Line, Severity, Span, nearest};
use rustls::server::NoServerSessionStorage;
use rustls::{KeyLog, NoKeyLog, ServerConfig};

use super::clients::{ClientAuth, Clients};
use super::files::{Identity, Pair, Paths};
use super::key_log::KeyLogFile;

/// `tls` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "tls",
    parse,
    handler: false,
};

const OPTIONS: [&str; 2] = ["client_auth", "keylog"];
const SHAPE: &str = "tls CERT KEY [CA]";

/// What the line says.
#[derive(Debug)]
pub(super) struct Options {
    paths: Paths,
    pub(super) auth: ClientAuth,
    key_log: Option<(PathBuf, Span)>,
    span: Span,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    read(parse).map(|options| Box::new(options) as Box<dyn Setup>)
}

/// Reads the directive; it stands once in a block.
pub(super) fn read(parse: &mut Parse<'_>) -> Option<Options> {
    let directives = parse.directives;
    let (&first, rest) = directives.split_first()?;
    for again in rest {
        parse.report.push(
            Diagnostic::error("CF0120", "TLS already configured for this server instance")
                .at(again.name.span, "used again here")
                .beside(first.name.span, "first used here"),
        );
    }
    let lines = first.block.as_ref().map_or(&[][..], |block| &block.lines);
    let acme = lines.iter().find_map(|line| {
        let word = line.words.first()?;
        (word.text == "acme").then_some(word)
    });
    if let Some(acme) = acme {
        parse.report.push(
            Diagnostic::error(
                "CF0901",
                "`acme` of `tls`: CoreDNS has this option, nameplate does not yet",
            )
            .at(acme.span, "not implemented here")
            .help("get the certificate with an ACME client and name its files: they are watched"),
        );
        return None;
    }
    let enough = parse.at_least(first, 2, SHAPE);
    parse.at_most(first, 3);
    let mut options = Options {
        paths: Paths {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            authorities: None,
        },
        auth: ClientAuth::default(),
        key_log: None,
        span: first.name.span,
    };
    for line in lines {
        option(parse, first, line, &mut options);
    }
    if !enough {
        return None;
    }
    let mut words = first.args.iter().map(|word| PathBuf::from(&word.text));
    options.paths = Paths {
        certificate: words.next()?,
        key: words.next()?,
        authorities: words.next(),
    };
    Some(options)
}

fn option(parse: &mut Parse<'_>, directive: &Directive, line: &Line, options: &mut Options) {
    let Some(name) = line.words.first() else {
        return;
    };
    match name.text.as_str() {
        "client_auth" => {
            if !parse.arguments(line, 1..=1, "client_auth TYPE") {
                return;
            }
            let word = &line.words[1];
            let words = ClientAuth::WORDS.map(|(word, _)| word);
            match ClientAuth::WORDS
                .iter()
                .find(|(known, _)| *known == word.text)
            {
                Some((_, auth)) => options.auth = *auth,
                None => {
                    let diagnostic = Diagnostic::error(
                        "CF0211",
                        format!("unknown authentication type '{}'", word.text),
                    )
                    .at(word.span, "not a type of client authentication");
                    parse.report.push(match nearest(&word.text, words) {
                        Some(near) => diagnostic
                            .help("a similar type exists")
                            .replace(word.span, near),
                        None => diagnostic.note(format!("its types are {}", words.join(", "))),
                    });
                }
            }
        }
        "keylog" => {
            if parse.arguments(line, 1..=1, "keylog FILE") {
                let file = &line.words[1];
                options.key_log = Some((PathBuf::from(&file.text), file.span));
            }
        }
        _ => parse.unknown_option(directive, line, &OPTIONS),
    }
}

impl Options {
    /// The files, completed.
    fn paths(&self, complete: impl Fn(&str) -> PathBuf) -> Paths {
        let fix = |path: &PathBuf| complete(&path.to_string_lossy());
        Paths {
            certificate: fix(&self.paths.certificate),
            key: fix(&self.paths.key),
            authorities: self.paths.authorities.as_ref().map(fix),
        }
    }

    /// The configuration of listeners; ALPN is each one's own.
    fn config(
        &self,
        identity: &Arc<Identity>,
        key_log: Arc<dyn KeyLog>,
    ) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match self.auth {
            ClientAuth::NoCert => builder.with_no_client_auth(),
            auth => builder.with_client_cert_verifier(Arc::new(Clients {
                auth,
                identity: identity.clone(),
                algorithms,
            })),
        };
        let mut config = builder.with_cert_resolver(identity.clone());
        // Sessions are resumed by tickets alone: what clients ask us to remember, they keep.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // A client whose certificate is verified shows it each time: authorities may change, and it may expire.
        if !self.auth.verifies() {
            config.ticketer = identity.tickets();
            config.send_tls13_tickets = 1;
        }
        config.key_log = key_log;
        Ok(config)
    }
}

impl Setup for Options {
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        let paths = self.paths(|path| inspect.path(path));
        if let Err(wrong) = Pair::check(paths, self.auth) {
            inspect.tell(Severity::Error, wrong, self.span);
        }
        // Its file is made when the server starts; its folder has to be there.
        if let Some((log, span)) = &self.key_log {
            let path = inspect.path(&log.to_string_lossy());
            let missing = path.parent().filter(|folder| !folder.is_dir());
            let why = match missing {
                Some(folder) => format!("there is no folder {}", folder.display()),
                None if path.is_dir() => "it is a folder".to_owned(),
                None => return,
            };
            let message = format!("unable to open keylog file {}: {why}", path.display());
            inspect.tell(Severity::Error, message, *span);
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let paths = self.paths(|path| build.path(path));
        let key_log: Arc<dyn KeyLog> = match &self.key_log {
            None => Arc::new(NoKeyLog {}),
            Some((path, _)) => {
                let path = build.path(&path.to_string_lossy());
                let opened = KeyLogFile::open(&path).map_err(|error| {
                    BuildError::new(format!(
                        "unable to open keylog file {}: {error}",
                        path.display()
                    ))
                })?;
                tracing::warn!(
                    target: "plugin/tls",
                    "The keys of all sessions are written to {}: anyone who can read it can decrypt the connections",
                    path.display()
                );
                Arc::new(opened)
            }
        };
        let (identity, work) = Pair::load(paths, self.auth).map_err(BuildError::new)?;
        let config = self
            .config(&identity, key_log)
            .map_err(|error| BuildError::new(error.to_string()))?;
        build.config.tls = Some(Tls {
            config: Arc::new(config),
            certificate: identity,
            clients: self.auth.word(),
        });
        build.spawn(work);
        Ok(())
    }
}
