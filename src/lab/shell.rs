//! The lab as the shell script that it replaces: every step's commands, in the same order.

use std::collections::HashSet;

use crate::action::Action;
use crate::layout::Layout;
use crate::plan::Plan;
use crate::spec::Spec;

/// The script that makes the lab on a machine that has nothing of it.
#[must_use]
pub fn script(spec: &Spec, layout: &Layout) -> String {
    let mut out = format!(
        "#!/bin/sh\n# lab {}, by hand: what `nameplate-lab apply` does with netlink\nset -e\n",
        spec.name
    );
    let mut directories = HashSet::new();
    for step in Plan::from_nothing(layout).steps {
        match &step {
            Action::MakeBridge { .. }
            | Action::MakeSpace { .. }
            | Action::MakePair { .. }
            | Action::ReplaceTable { .. } => out.push_str(&format!("\n# {step}\n")),
            Action::WriteFile { .. } if directories.is_empty() => {
                out.push_str("\n# `ip netns exec` binds these over the files of /etc\n");
            }
            _ => {}
        }
        // A kernel without IPv6 has nothing to turn off.
        let optional =
            matches!(&step, Action::Sysctl { key, .. } if key.starts_with("net/ipv6/conf/default"));
        for command in step.commands() {
            if command.starts_with("mkdir ") && !directories.insert(command.clone()) {
                continue;
            }
            out.push_str(&command);
            if optional {
                out.push_str(" || true");
            }
            out.push('\n');
        }
    }
    out
}
