//! What the machine is called.

/// The machine's host name, as `uname -n` prints it; `localhost` where it has none.
pub fn hostname() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    match name.as_ref() {
        "" | "(none)" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_says_the_same() {
        let told = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("/proc");
        assert!(super::hostname() == told.trim_end() || super::hostname() == "localhost");
    }
}
