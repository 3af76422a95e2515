//! Keeps web pages out: a browser on this host must not carry a stranger's page to this API.
//!
//! A page whose name is made to point at 127.0.0.1 (DNS rebinding) still names itself in `Host`; a page that calls
//! across origins names itself in `Origin`, or its browser says so in `Sec-Fetch-Site`.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderValue, Version};

use super::errors::{Code, Problem};
use super::headers::SEC_FETCH_SITE;
use super::settings::ApiSettings;

/// Refuses what a foreign page could have sent.
///
/// # Errors
/// `host_not_local`, `foreign_origin`.
pub(super) fn check(settings: &ApiSettings, request: &Parts) -> Result<(), Problem> {
    let mut host = None;
    let mut origin = None;
    for (name, value) in &request.headers {
        if name == HOST {
            if host.is_some() {
                return Err(Problem::new(Code::HostNotLocal, "there is more than one Host header"));
            }
            host = Some(value);
        } else if name == ORIGIN {
            origin = Some(value);
        } else if name == SEC_FETCH_SITE && !matches!(value.as_bytes(), b"same-origin" | b"none") {
            let allowed = request.headers.get(ORIGIN).is_some_and(|origin| is_listed(settings, origin));
            if !allowed {
                return Err(Problem::new(Code::ForeignOrigin, "a browser sends this for a foreign page"));
            }
        }
    }
    let host = check_host(settings, request, host)?;
    match origin {
        Some(origin) if !is_own(origin, host) && !is_listed(settings, origin) => {
            Err(Problem::new(Code::ForeignOrigin, "the Origin is not the API's own"))
        }
        _ => Ok(()),
    }
}

/// Whether somebody only asks if the node lives: that needs no token and no place, and says nothing of what it holds.
pub(super) fn is_probe(request: &Parts) -> bool {
    matches!(request.uri.path(), "/livez" | "/readyz")
}

fn check_host<'a>(
    settings: &ApiSettings,
    request: &'a Parts,
    host: Option<&'a HeaderValue>,
) -> Result<&'a str, Problem> {
    if let Some(authority) = request.uri.authority()
        && !is_allowed(settings, authority.as_str())
    {
        return Err(Problem::new(Code::HostNotLocal, "the request's target names another host"));
    }
    match host.map(HeaderValue::to_str) {
        Some(Ok(host)) if is_allowed(settings, host) => Ok(host),
        // Health checks of old send none; a browser always does.
        None if request.version == Version::HTTP_10 => Ok(""),
        None => Err(Problem::new(Code::HostNotLocal, "there is no Host header")),
        Some(_) => Err(Problem::new(Code::HostNotLocal, "the Host header names another host")),
    }
}

/// Whether a request may name this host.
pub(super) fn is_allowed(settings: &ApiSettings, host: &str) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .is_some_and(|name| name.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback()))
        || settings.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_own(origin: &HeaderValue, host: &str) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn is_listed(settings: &ApiSettings, origin: &HeaderValue) -> bool {
    settings.origins.iter().any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[(&'static str, &str)]) -> Option<Code> {
        let settings = ApiSettings {
            hosts: vec!["sidecar.internal".into()],
            origins: vec!["https://admin.example.org".into()],
            ..ApiSettings::default()
        };
        let mut request = http::Request::new(()).into_parts().0;
        for (name, value) in lines {
            request.headers.append(*name, value.parse().unwrap());
        }
        check(&settings, &request).err().map(|problem| problem.code())
    }

    #[test]
    fn local_names_pass_with_any_port() {
        for host in [
            "localhost",
            "LOCALHOST:7411",
            "127.0.0.1:1",
            "127.9.8.7",
            "[::1]",
            "[::1]:7411",
            "sidecar.internal:80",
            "[0:0:0:0:0:0:0:1]:1",
        ] {
            assert_eq!(outcome(&[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn names_that_only_look_local_do_not() {
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "0.0.0.0",
            "[::]",
            "::1",
            "[::1",
            "localhost:80:80",
            "localhost@evil.example",
            "evil.example:127",
        ] {
            assert_eq!(outcome(&[("host", host)]), Some(Code::HostNotLocal), "{host}");
        }
        assert_eq!(outcome(&[]), Some(Code::HostNotLocal));
        assert_eq!(outcome(&[("host", "localhost"), ("host", "localhost")]), Some(Code::HostNotLocal));
    }

    #[test]
    fn only_the_own_origin_and_listed_ones_pass() {
        let host = ("host", "localhost:7411");
        for origin in ["http://localhost:7411", "https://admin.example.org"] {
            assert_eq!(outcome(&[host, ("origin", origin)]), None, "{origin}");
        }
        for origin in ["null", "", "http://localhost", "http://localhost:3000", "http://evil.example"] {
            assert_eq!(outcome(&[host, ("origin", origin)]), Some(Code::ForeignOrigin), "{origin}");
        }
    }

    #[test]
    fn what_a_browser_sends_across_sites_without_an_origin_is_refused() {
        let host = ("host", "localhost");
        assert_eq!(outcome(&[host, ("sec-fetch-site", "same-origin")]), None);
        assert_eq!(outcome(&[host, ("sec-fetch-site", "none")]), None);
        assert_eq!(outcome(&[host, ("sec-fetch-site", "cross-site")]), Some(Code::ForeignOrigin));
        assert_eq!(outcome(&[host, ("sec-fetch-site", "same-site")]), Some(Code::ForeignOrigin));
        let listed = [host, ("sec-fetch-site", "cross-site"), ("origin", "https://admin.example.org")];
        assert_eq!(outcome(&listed), None);
    }
}
