//! The container's own network namespace: its loopback interface is brought up, and devices of the host are moved in, with their
//! addresses. Until they are kept they go back when they are dropped.

use std::os::fd::OwnedFd;

use crate::plan::Plan;
use crate::sys::netlink::{Address, Link, Route};
use crate::sys::{self, namespace, netlink};
use crate::types::NamespaceKind;

/// Flags of an address that may be set (if_addr.h); the others are the kernel's to say.
const SETTABLE: u32 = libc::IFA_F_NODAD
    | libc::IFA_F_OPTIMISTIC
    | libc::IFA_F_HOMEADDRESS
    | libc::IFA_F_MANAGETEMPADDR
    | libc::IFA_F_NOPREFIXROUTE
    | libc::IFA_F_MCAUTOJOIN;

/// The network could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container's `lo`.
    #[error("bringing up the loopback interface")]
    Loopback(#[source] sys::Error),
    /// The host's devices cannot be asked for.
    #[error("looking for the devices of linux.netDevices")]
    Look(#[source] sys::Error),
    /// The host has no such device.
    #[error("{0}: no such device")]
    Missing(String),
    /// The container has a device of that name already.
    #[error("{0}: the container has another device named {1:?}")]
    Taken(String, String),
    /// The kernel refused.
    #[error("{0}: {1}")]
    Refused(String, &'static str, #[source] sys::Error),
}

/// Brings up `lo` in the current network namespace.
pub fn bring_up_loopback() -> Result<(), Error> {
    netlink::bring_up("lo").map_err(Error::Loopback)
}

/// Whether the current network namespace has a device of that name.
pub fn exists(name: &str) -> bool {
    netlink::exists(name)
}

/// The host's devices that become the container's.
#[derive(Debug)]
pub struct Devices {
    host: Route,
    home: OwnedFd,
    /// The container's network namespace, once they go there: it lives as long as this, so that there is a way back.
    inside: Option<Route>,
    list: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    /// Its place in config.json.
    path: String,
    /// As it is on the host.
    link: Link,
    /// Those that are to last, and known everywhere.
    addresses: Vec<Address>,
    /// As the plan has it.
    wanted: String,
    /// Its name there since it was moved.
    moved: Option<String>,
}

impl Devices {
    /// Looks for them; `None` if there are none to move.
    pub fn find(plan: &Plan) -> Result<Option<Self>, Error> {
        if plan.net_devices.is_empty() {
            return Ok(None);
        }
        let host = Route::open().map_err(Error::Look)?;
        let home = namespace::own(NamespaceKind::Network).map_err(Error::Look)?;
        let links = host.links().map_err(Error::Look)?;
        let addresses = host.addresses().map_err(Error::Look)?;
        let mut list = Vec::with_capacity(plan.net_devices.len());
        for device in &plan.net_devices {
            let link = links.iter().find(|link| link.name == device.name);
            let link = link.ok_or_else(|| Error::Missing(device.path.clone()))?;
            let lasting = |address: &&Address| {
                let universe = u32::from(address.scope) == u32::from(libc::RT_SCOPE_UNIVERSE);
                address.index == link.index && address.flags & libc::IFA_F_PERMANENT != 0 && universe
            };
            list.push(Device {
                path: device.path.clone(),
                link: link.clone(),
                addresses: addresses.iter().filter(lasting).map(settable).collect(),
                wanted: device.inside.clone(),
                moved: None,
            });
        }
        Ok(Some(Self { host, home, inside: None, list }))
    }

    /// Moves them into this network namespace, and brings them up there.
    pub fn move_into(&mut self, namespace: &OwnedFd) -> Result<(), Error> {
        let inside = namespace::within(namespace, &self.home, NamespaceKind::Network, Route::open);
        let inside = self.inside.insert(inside.and_then(|route| route).map_err(Error::Look)?);
        for device in &mut self.list {
            let path = &device.path;
            let refused = |what: &'static str| {
                let path = path.clone();
                move |error| Error::Refused(path, what, error)
            };
            let there = inside.links().map_err(refused("looking into the container"))?;
            let Some(wanted) = free_name(&device.wanted, &there) else {
                return Err(Error::Taken(path.clone(), device.wanted.clone()));
            };
            // Also where the call fails: the kernel may have moved it before it could not give it its name.
            device.moved = Some(wanted.clone());
            self.host
                .move_link(&device.link, namespace, &wanted)
                .map_err(refused("moving it into the container"))?;
            settle(inside, &wanted, &device.addresses, true).map_err(refused("setting it up"))?;
        }
        Ok(())
    }

    /// They are the container's from now on.
    pub fn keep(&mut self) {
        self.list.clear();
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        let Some(inside) = &self.inside else { return };
        for device in &self.list {
            // Nobody is left to be told: the error that leads here has been.
            move_back(&self.host, inside, &self.home, device).unwrap_or(());
        }
    }
}

fn move_back(host: &Route, inside: &Route, home: &OwnedFd, device: &Device) -> sys::Result<()> {
    let Some(name) = &device.moved else { return Ok(()) };
    let old = &device.link;
    if host.links()?.iter().any(|link| (link.index, &link.name) == (old.index, &old.name)) {
        return Ok(());
    }
    let there = inside.links()?;
    let found = [name, &old.name].into_iter().find_map(|name| there.iter().find(|link| link.name == *name));
    let Some(link) = found else { return Ok(()) };
    inside.move_link(link, home, &old.name)?;
    settle(host, &old.name, &device.addresses, old.up)
}

/// Brings a device up, if it shall be, and gives it its addresses. Its number may be another one than before.
fn settle(route: &Route, name: &str, addresses: &[Address], up: bool) -> sys::Result<()> {
    let links = route.links()?;
    let Some(link) = links.iter().find(|link| link.name == name) else {
        return Err(sys::Error { call: format!("RTM_GETLINK({name:?})"), errno: sys::Errno::ENODEV });
    };
    if up {
        route.bring_up(link)?;
    }
    addresses.iter().try_for_each(|address| {
        let address = Address { index: link.index, ..address.clone() };
        route.add_address(&address)
    })
}

/// An address as it may be set again. It was found to be nobody else's, so it can be used at once.
fn settable(address: &Address) -> Address {
    let unsure = address.flags & (libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) != 0;
    let sure = if unsure { 0 } else { libc::IFA_F_NODAD };
    Address { flags: address.flags & SETTABLE | sure, ..address.clone() }
}

/// The name for a device beside these; `%d` in it stands for the first number that makes it free, as in the kernel.
fn free_name(wanted: &str, there: &[Link]) -> Option<String> {
    let free = |name: &String| there.iter().all(|link| link.name != *name);
    match wanted.contains("%d") {
        true => (0..=there.len()).map(|number| wanted.replacen("%d", &number.to_string(), 1)).find(free),
        false => Some(wanted.to_owned()).filter(free),
    }
}

#[cfg(test)]
mod tests {
    use super::{Link, free_name};

    #[test]
    fn names_are_free_or_are_none() {
        let there = ["lo", "eth0", "eth1", "eth3"];
        let there = there.map(|name| Link { index: 1, name: name.to_owned(), up: true });
        for (wanted, expected) in
            [("eth0", None), ("eth2", Some("eth2")), ("eth%d", Some("eth2")), ("x%d", Some("x0"))]
        {
            assert_eq!(free_name(wanted, &there).as_deref(), expected, "{wanted}");
        }
    }
}
