//! The lab as the shell script that it replaces: every step's commands, in the same order.

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
    for step in Plan::from_nothing(layout).steps {
        // A kernel without IPv6 has nothing to turn off.
        let optional =
            matches!(&step, Action::Sysctl { key, .. } if key.starts_with("net/ipv6/conf/default"));
        for command in step.commands() {
            out.push_str(&command);
            if optional {
                out.push_str(" || true");
            }
            out.push('\n');
        }
    }
    out
}
