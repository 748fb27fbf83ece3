//! The verbs of container networks.

use lab::Result;
use lab::cni::{self, Installation};

use crate::Container;

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
    }
    Ok(0)
}
