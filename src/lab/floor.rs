//! The least that the kernel must be asked for a lab: what figures are compared with. Not part of the interface.
//!
//! The same objects as a lab of `hosts` namespaces on bridges of at most 500 ports, each with a veth pair, an IPv4
//! address and a default route, made by the bare system calls: no spec, no plan, no journal, no marks, no files but
//! `resolv.conf`, nothing checked.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use ipnet::IpNet;

use crate::link::{self, LinkChange, NewEnd};
use crate::netlink::{Batch, Socket};
use crate::route;
use crate::space::{self, Away};

/// Ports of one bridge.
pub const PORTS: usize = 500;
const GROUP: u32 = 77;

/// Up.
///
/// # Errors
/// What the kernel says.
pub fn up(hosts: usize) -> io::Result<()> {
    let mut home = Socket::route()?;
    let raise = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    let send = |socket: &mut Socket, batch: &mut Batch| -> io::Result<()> {
        match socket.transact(batch)?.first() {
            None => Ok(()),
            Some(refusal) => Err(io::Error::other(refusal.to_string())),
        }
    };
    space::prepare()?;
    let _away = Away::here()?;
    let bridges = hosts.div_ceil(PORTS);
    for bridge in 0..bridges {
        let mut batch = Batch::default();
        link::add_bridge(
            &mut batch,
            &format!("floor{bridge}"),
            &[2, 0, 0, 0, 0, bridge as u8],
            None,
            GROUP,
        );
        send(&mut home, &mut batch)?;
    }
    let indices = link::links(&mut home)?;
    let master = |bridge: usize| {
        indices
            .iter()
            .find(|link| link.name == format!("floor{bridge}"))
            .map(|link| link.index)
    };
    let net = |bridge: usize, host: usize| -> io::Result<IpNet> {
        format!("10.{}.{}.{}/16", 100 + bridge, host / 250, host % 250 + 1)
            .parse()
            .map_err(io::Error::other)
    };
    for host in 0..hosts {
        let (bridge, name) = (host / PORTS, format!("floor-{host}"));
        space::make(&name)?;
        let target = File::open("/proc/thread-self/ns/net")?;
        let mut inside = Socket::route()?;
        let mut batch = Batch::default();
        let near = NewEnd {
            name: &format!("f{host}"),
            index: 0,
            mac: &[],
            mtu: None,
            space: None,
        };
        let far = NewEnd {
            name: "eth0",
            index: 2,
            mac: &[],
            mtu: None,
            space: Some(target.as_fd()),
        };
        link::add_pair(&mut batch, near, far, master(bridge), GROUP);
        link::change_link(&mut batch, near.name, &raise, None);
        send(&mut home, &mut batch)?;
        let mut batch = Batch::default();
        link::change_link(&mut batch, "lo", &raise, None);
        link::change_link(&mut batch, "eth0", &raise, None);
        link::add_address(&mut batch, 2, net(bridge, host % PORTS + 1)?);
        route::add(
            &mut batch,
            IpNet::V4(ipnet::Ipv4Net::default()),
            net(bridge, 0)?.addr(),
            0,
        );
        send(&mut inside, &mut batch)?;
        let directory = format!("/etc/netns/{name}");
        std::fs::create_dir_all(&directory)?;
        std::fs::write(
            format!("{directory}/resolv.conf"),
            format!("nameserver {}\n", net(bridge, 0)?.addr()),
        )?;
    }
    for bridge in 0..bridges {
        let mut batch = Batch::default();
        if let Some(index) = master(bridge) {
            link::add_address(&mut batch, index, net(bridge, 0)?);
        }
        link::change_link(&mut batch, &format!("floor{bridge}"), &raise, None);
        send(&mut home, &mut batch)?;
    }
    Ok(())
}

/// One host gets another address and its route again, and a file of `hosts` lines is replaced.
///
/// # Errors
/// What the kernel says.
pub fn change(hosts: usize) -> io::Result<()> {
    let mut batch = Batch::default();
    let (old, new) = ("10.100.0.2/16", "10.100.255.8/16");
    let read = |text: &str| text.parse::<IpNet>().map_err(io::Error::other);
    {
        let _away = space::enter("floor-0")?;
        link::delete_address(&mut batch, 2, read(old)?);
        link::add_address(&mut batch, 2, read(new)?);
        let gateway = read("10.100.0.0/16")?.addr();
        route::add(&mut batch, IpNet::V4(ipnet::Ipv4Net::default()), gateway, 0);
        Socket::route()?.transact(&mut batch)?;
    }
    let line = "{\"name\":\"h000\",\"aliases\":[],\"addresses\":[{\"net\":\"br0\",\"address\":\"10.50.0.0\"}]},";
    std::fs::write("/run/floor.new", line.repeat(hosts))?;
    std::fs::rename("/run/floor.new", "/run/floor")
}

/// All links of the host, and of each namespace its links, addresses and routes.
///
/// # Errors
/// What the kernel says.
pub fn look(hosts: usize) -> io::Result<()> {
    link::links(&mut Socket::reader()?)?;
    let away = Away::here()?;
    for host in 0..hosts {
        away.go_on(&format!("floor-{host}"))?;
        let mut socket = Socket::reader()?;
        link::links(&mut socket)?;
        link::addresses(&mut socket, None)?;
        route::all(&mut socket, false)?;
    }
    Ok(())
}

/// Down.
///
/// # Errors
/// What the kernel says.
pub fn down(hosts: usize) -> io::Result<()> {
    let mut batch = Batch::default();
    link::delete_group(&mut batch, GROUP);
    Socket::route()?.transact(&mut batch)?;
    for host in 0..hosts {
        let name = format!("floor-{host}");
        space::remove(&name)?;
        std::fs::remove_file(format!("/etc/netns/{name}/resolv.conf"))?;
        std::fs::remove_dir(format!("/etc/netns/{name}"))?;
    }
    Ok(())
}
