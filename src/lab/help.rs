//! Examples behind the help of each verb.

use clap::Command;

/// A verb, and its examples. The first is the program's own.
const EXAMPLES: [(&str, &str); 24] = [
    (
        "",
        "  nameplate-lab check lab.toml                    show mistakes in the file\n  \
         sudo nameplate-lab apply lab.toml               make the lab\n  \
         sudo nameplate-lab exec web -- dig db.lab.test  run a command in the namespace `web`\n  \
         sudo nameplate-lab down lab.toml                remove the lab",
    ),
    (
        "plan",
        "  nameplate-lab plan lab.toml\n  nameplate-lab plan lab.toml --json",
    ),
    (
        "apply",
        "  sudo nameplate-lab apply lab.toml\n  sudo nameplate-lab apply lab.toml --only web,db --verbose\n  sudo nameplate-lab apply lab.toml --persist     keep the host's forwarding after a reboot",
    ),
    (
        "down",
        "  sudo nameplate-lab down lab.toml\n  sudo nameplate-lab down --all",
    ),
    (
        "status",
        "  nameplate-lab status lab.toml\n  nameplate-lab status --all --json\n  nameplate-lab status lab.toml --routes --listen",
    ),
    (
        "trace",
        "  sudo nameplate-lab trace web db\n  sudo nameplate-lab trace web 192.0.2.53 lab.toml",
    ),
    (
        "capture",
        "  sudo nameplate-lab capture web:eth0 >web.pcap\n  sudo nameplate-lab capture web --count 10 | tcpdump -r -",
    ),
    ("ls", "  nameplate-lab ls\n  nameplate-lab ls --json"),
    (
        "exec",
        "  sudo nameplate-lab exec web -- curl http://db.lab.test\n  sudo nameplate-lab exec --no-dns web -- ip address\n  sudo nameplate-lab exec --all --lab lab.toml -- ip route",
    ),
    (
        "up",
        "  sudo nameplate-lab up lab.toml\n  sudo nameplate-lab up --serve lab.toml          with its own DNS server",
    ),
    ("start", "  sudo nameplate-lab start web"),
    ("stop", "  sudo nameplate-lab stop web db"),
    ("restart", "  sudo nameplate-lab restart web"),
    (
        "logs",
        "  sudo nameplate-lab logs web\n  sudo nameplate-lab logs --follow --lines 10",
    ),
    (
        "graph",
        "  nameplate-lab graph lab.toml\n  nameplate-lab graph lab.toml --format dot | dot -Tsvg >lab.svg\n  sudo nameplate-lab graph lab.toml --live >lab.svg",
    ),
    (
        "import",
        "  nameplate-lab import compose compose.yaml >lab.toml\n  nameplate-lab import containerlab demo.clab.yml >lab.toml",
    ),
    (
        "check",
        "  nameplate-lab check lab.toml\n  sudo nameplate-lab check lab.toml --probe\n  nameplate-lab check --explain LAB0003",
    ),
    (
        "show",
        "  nameplate-lab show lab.toml                     as a shell script\n  nameplate-lab show lab.toml --hosts\n  nameplate-lab show lab.toml --static-route      the routes that a router outside needs",
    ),
    (
        "run",
        "  nameplate-lab run --rootless lab.toml\n  sudo nameplate-lab run lab.toml -- make test",
    ),
    (
        "schema",
        "  nameplate-lab schema >lab.schema.json           then `#:schema ./lab.schema.json` as the first line of lab.toml",
    ),
    (
        "cni",
        "  sudo nameplate-lab cni install\n  sudo nameplate-lab cni install --name pods --subnet 10.30.0.0/16,fd00:30::/64 --bin-dir /usr/lib/cni\n  sudo nameplate-lab cni add pods c1 red          attach the namespace `red` as the container `c1`\n  sudo nameplate-lab cni del pods c1 red",
    ),
    ("watch", "  sudo nameplate-lab watch lab.toml"),
    ("adopt", "  sudo nameplate-lab adopt --pid 4711 --name web"),
    (
        "gc",
        "  sudo nameplate-lab gc\n  sudo nameplate-lab gc --force shop",
    ),
];

/// The command with examples behind the help of each of its verbs.
pub(crate) fn with_examples(command: Command) -> Command {
    let text = |examples| format!("Examples:\n{examples}");
    EXAMPLES
        .iter()
        .fold(command, |command, &(verb, examples)| match verb {
            "" => command.after_help(text(examples)),
            _ => command.mut_subcommand(verb, |sub| sub.after_help(text(examples))),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_verb_has_examples() {
        let command = with_examples(crate::Arguments::command());
        assert!(command.get_after_help().is_some());
        for verb in command.get_subcommands() {
            assert!(verb.get_after_help().is_some(), "{}", verb.get_name());
        }
    }
}
