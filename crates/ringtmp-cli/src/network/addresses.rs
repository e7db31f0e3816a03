//! The addresses of this device in its networks, those first at which others are likeliest to reach it.

use if_addrs::{IfOperStatus, Interface};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// How interfaces begin that lead to containers and virtual machines of this very device.
const INWARD: [&str; 16] = [
    "br-", "cali", "cni", "docker", "flannel", "incus", "kube", "lxc", "lxd", "podman", "vboxnet",
    "veth", "virbr", "vmnet", "vnet", "zcctun",
];

/// How interfaces begin that are tunnels: a phone in the room is hardly ever at their other end.
const TUNNELS: [&str; 8] = [
    "tun",
    "tap",
    "wg",
    "tailscale",
    "utun",
    "ppp",
    "zt",
    "ipsec",
];

/// An address that is in no network (RFC 5737), of which the system is asked which way it would go.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 1), 9);

/// The addresses, best first; none where this device is in no network or the system does not say.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the system does not tell this device's addresses");
        Vec::new()
    });
    let found = interfaces
        .iter()
        .filter(|interface| is_up(interface))
        .map(|interface| (interface.name.as_str(), interface.ip()));
    ranked(found, usual())
}

fn is_up(interface: &Interface) -> bool {
    // Some drivers do not know.
    matches!(
        interface.oper_status,
        IfOperStatus::Up | IfOperStatus::Unknown
    )
}

/// The address from which this device goes to other networks, if there is a way. A UDP socket that is only connected sends
/// nothing.
fn usual() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Leaves out what others cannot reach, and sorts the rest: the usual address, then private ones, public ones, tunnels.
/// IPv6 addresses, which change from day to day and are hard to type, only where there are no others.
fn ranked<'a>(
    found: impl Iterator<Item = (&'a str, IpAddr)>,
    usual: Option<IpAddr>,
) -> Vec<IpAddr> {
    let begins = |name: &str, starts: &[&str]| {
        let name = name.to_ascii_lowercase();
        starts.iter().any(|start| name.starts_with(start))
    };
    let mut reachable: Vec<(u8, IpAddr)> = found
        .filter(|(name, address)| is_reachable(*address) && !begins(name, &INWARD))
        .map(|(name, address)| {
            let rank = match address {
                _ if begins(name, &TUNNELS) => 3,
                _ if Some(address) == usual => 0,
                IpAddr::V4(address) if address.is_private() => 1,
                IpAddr::V4(_) | IpAddr::V6(_) => 2,
            };
            (rank, address)
        })
        .collect();
    if reachable.iter().any(|(_, address)| address.is_ipv4()) {
        reachable.retain(|(_, address)| address.is_ipv4());
    }
    reachable.sort();
    reachable.dedup();
    reachable.into_iter().map(|(_, address)| address).collect()
}

/// Whether an address can be that of this device for another one of its network.
fn is_reachable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(found: &[(&str, &str)], usual: Option<&str>) -> Vec<String> {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let found = found.iter().map(|(name, text)| (*name, address(text)));
        let ranked = ranked(found, usual.map(address));
        ranked.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn the_address_that_a_phone_in_the_room_can_reach_comes_first() {
        let found = [
            ("lo", "127.0.0.1"),
            ("docker0", "172.17.0.1"),
            ("br-4f1c", "172.18.0.1"),
            ("vEthernet (WSL)", "172.25.0.1"),
            ("tailscale0", "100.64.0.3"),
            ("eth1", "10.0.0.3"),
            ("eth2", "203.0.113.9"),
            ("wlan0", "192.168.1.7"),
            ("wlan0", "fd00::7"),
            ("wlan0", "fe80::7"),
            ("eth3", "169.254.3.4"),
        ];
        let order = ["192.168.1.7", "10.0.0.3", "203.0.113.9", "100.64.0.3"];
        assert_eq!(of(&found, Some("192.168.1.7")), order);
        // A VPN takes all traffic, which does not make it the network of the room.
        let order = ["10.0.0.3", "192.168.1.7", "203.0.113.9", "100.64.0.3"];
        assert_eq!(of(&found, Some("100.64.0.3")), order);
    }

    #[test]
    fn without_ipv4_there_is_ipv6_and_without_a_network_nothing() {
        let found = [("en0", "fe80::7"), ("en0", "fd00::7"), ("lo0", "::1")];
        assert_eq!(of(&found, None), ["fd00::7"]);
        assert!(of(&[("lo", "127.0.0.1"), ("docker0", "172.17.0.1")], None).is_empty());
    }
}
