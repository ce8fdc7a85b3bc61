//! Who sent a request, behind trusted proxies.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{Extensions, HeaderMap};

use crate::service::Service;

/// The client's address: the nearest hop that is not a trusted proxy.
pub(crate) fn address(request: &Request, service: &Service) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>()?.0.ip();
    if !is_trusted(&peer, service) {
        return Some(peer);
    }
    let forwarded = request.headers().get_all("x-forwarded-for").iter().filter_map(|header| header.to_str().ok());
    let forwarded: Vec<&str> = forwarded.flat_map(|header| header.split(',')).map(str::trim).collect();
    let mut last = peer;
    for hop in forwarded.iter().rev() {
        let Ok(address) = hop.parse() else { break };
        last = address;
        if !is_trusted(&address, service) {
            break;
        }
    }
    Some(last)
}

/// Whether the client's connection uses TLS: ours does, or a trusted proxy says so.
pub(crate) fn is_secure(extensions: &Extensions, headers: &HeaderMap, service: &Service) -> bool {
    let trusted = extensions.get::<ConnectInfo<SocketAddr>>().is_some_and(|info| is_trusted(&info.0.ip(), service));
    service.options().tls || (trusted && headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes() == b"https"))
}

fn is_trusted(peer: &IpAddr, service: &Service) -> bool {
    service.options().trusted_proxies.iter().any(|net| net.contains(peer))
}
