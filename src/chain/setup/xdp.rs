//! The interfaces from which `xdp` has queries taken below the kernel's UDP stack.

/// How the filter is attached to an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpMode {
    /// By the driver, or not at all.
    #[default]
    Auto,
    /// By the driver.
    Native,
    /// Behind the driver.
    Generic,
    /// Not at all.
    Off,
}

/// One interface, and how queries are taken from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XdpInterface {
    /// Its name.
    pub name: String,
    /// How the filter is attached.
    pub mode: XdpMode,
    /// Whether the driver hands over its own memory.
    pub zero_copy: bool,
    /// How many queues are served, from the first on; all where it is not said.
    pub queues: Option<u32>,
    /// Places in each ring of a queue, a power of two.
    pub ring: u32,
    /// Whether only those queries are taken whose responses leave by the interface that they came by.
    pub route_check: bool,
}
