//! Whom a request is for. A page elsewhere on the web can let its own name lead to this device (DNS rebinding), and would then
//! count as of the same origin as this server. Its requests name *its* host, so those for a name that is not ours are
//! refused. Numbers cannot be made to lead elsewhere; any of them that reaches us is ours.
//!
//! And whose page asks. A page elsewhere may open WebSockets to any address, and post to it; browsers say then of which origin it is.

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The names of this server, lower case and without ports.
#[derive(Debug)]
pub(crate) struct Hosts(BTreeSet<String>);

impl Hosts {
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a request is for this server: it names one host, and so does its address if it is a whole one.
    fn admits(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (named.next(), named.next()) else {
            return false;
        };
        let host = host.to_str().ok().and_then(name_of);
        host.is_some_and(|host| self.is_ours(host))
            && uri.host().is_none_or(|host| self.is_ours(host))
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        address_of(&name).is_some() || is_localhost(&name) || self.0.contains(&name)
    }
}

/// Whether a request comes from a page of this server, or from no page at all: programs say nothing of an origin.
fn comes_from_here(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let origin = text(origin).and_then(|origin| origin.parse::<Uri>().ok());
    let origin = origin.and_then(|origin| origin.authority().cloned());
    let host = headers.get(header::HOST).and_then(text);
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    origins.next().is_none() && origin.is_some() && origin == host
}

/// Lets only requests for this server pass, of its own pages.
pub(crate) async fn check(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    if !comes_from_here(request.headers()) {
        let text = "this server answers its own pages only\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    if hosts.admits(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let text = "this server is not known by that name: use its address, or start it with --host-name NAME\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// Whether a request names this device as programs on it do.
pub(crate) fn names_loopback(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    host.and_then(name_of).is_some_and(|host| {
        is_localhost(host) || address_of(host).is_some_and(|address| address.is_loopback())
    })
}

/// `localhost` and what is below it lead to this device in every browser (RFC 6761).
fn is_localhost(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The host of `host[:port]`, if that is what it is.
fn name_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an address in brackets.
        Some((_, port)) if port.ends_with(']') => (authority, ""),
        Some((host, port)) => (host, port),
        None => (authority, ""),
    };
    let plain = !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    plain.then_some(host)
}

/// The address that a host is, if it is no name.
fn address_of(host: &str) -> Option<IpAddr> {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_host(host: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))])
    }

    #[test]
    fn only_requests_for_addresses_and_our_own_names_are_admitted() {
        let hosts = Hosts::new(&["Desk.local".to_owned()]);
        let path = Uri::from_static("/signal");
        let admitted = |host| hosts.admits(&path, &with_host(host));
        for ours in [
            "127.0.0.1:8080",
            "localhost",
            "LocalHost:8080",
            "ring.localhost:80",
            "192.168.1.7:8443",
            "[::1]:8080",
            "[fd00::7]",
            "desk.local:8443",
            "DESK.local.",
        ] {
            assert!(admitted(ours), "{ours}");
        }
        for theirs in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example:8080",
            "localhost.evil.example",
            "notlocalhost",
            "desk.local.evil.example",
            "127.0.0.1:8080:evil",
            "user@127.0.0.1",
            "::1",
            "",
            ":8080",
        ] {
            assert!(!admitted(theirs), "{theirs}");
        }
    }

    #[test]
    fn a_request_names_one_host_in_its_head_and_its_address() {
        let hosts = Hosts::new(&[]);
        let path = Uri::from_static("/");
        assert!(!hosts.admits(&path, &HeaderMap::new()));
        let mut two = with_host("127.0.0.1");
        two.append(header::HOST, HeaderValue::from_static("127.0.0.1"));
        assert!(!hosts.admits(&path, &two));
        let whole = |text| hosts.admits(&Uri::from_static(text), &with_host("127.0.0.1"));
        assert!(whole("http://127.0.0.1/"));
        assert!(!whole("http://evil.example/"));
    }

    #[test]
    fn only_pages_of_this_server_and_programs_ask_it_anything() {
        let asked = |origins: &[&'static str]| {
            let mut headers = with_host("192.168.1.7:8443");
            for origin in origins {
                headers.append(header::ORIGIN, HeaderValue::from_static(origin));
            }
            comes_from_here(&headers)
        };
        assert!(asked(&[]), "a program");
        assert!(asked(&["https://192.168.1.7:8443"]));
        for theirs in [
            "https://evil.example",
            "http://192.168.1.7",
            "http://192.168.1.7:3000",
            "http://localhost:8443",
            "https://192.168.1.7:8443.evil.example",
            "https://evil@192.168.1.7:8443",
            "null",
            "",
        ] {
            assert!(!asked(&[theirs]), "{theirs}");
        }
        assert!(!asked(&[
            "https://192.168.1.7:8443",
            "https://evil.example"
        ]));
    }

    #[test]
    fn this_device_is_told_apart_from_the_network() {
        for (host, here) in [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("192.168.1.7:8443", false),
            ("evil.example", false),
        ] {
            assert_eq!(names_loopback(&with_host(host)), here, "{host}");
        }
    }
}
