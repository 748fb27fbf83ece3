//! The verbs of container networks.

use lab::Result;
use lab::cni::{self, Attaching, Installation};

use crate::{Container, Places};

/// Runs one; the exit code.
pub(super) fn run(command: Container) -> Result<u8> {
    match command {
        Container::Install {
            bin_dir,
            conf_dir,
            link,
            name,
            bridge,
            subnet,
        } => {
            let done = cni::install(&Installation {
                programs: bin_dir,
                networks: conf_dir,
                link,
                name,
                bridge,
                subnets: subnet,
            })?;
            if done.iter().all(|line| line.starts_with("note:")) {
                lab::say!("nothing to do");
            }
            done.iter().for_each(|line| lab::say!("{line}"));
        }
        Container::Add {
            network,
            id,
            netns,
            places,
        } => lab::say!("{}", attaching((network, id, Some(netns)), places).add()?),
        Container::Del {
            network,
            id,
            netns,
            places,
        } => attaching((network, id, netns), places).del()?,
    }
    Ok(0)
}

/// What is attached or detached.
fn attaching(whose: (String, String, Option<String>), places: Places) -> Attaching {
    let (network, container, namespace) = whose;
    let or = |name: &str, default: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        value.unwrap_or_else(|| default.to_owned())
    };
    Attaching {
        networks: places
            .conf_dir
            .unwrap_or_else(|| or("NETCONFPATH", "/etc/cni/net.d").into()),
        programs: places
            .bin_dir
            .unwrap_or_else(|| or("CNI_PATH", "/opt/cni/bin")),
        network,
        container,
        namespace,
        interface: places.ifname,
    }
}
