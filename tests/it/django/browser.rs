//! As much of a browser as a form needs: cookies by host, `Origin`, and the token of the form.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::support::body;
use crate::support::django::App;
use crate::support::http::{Answer, Connection, Edge, Protocol};

/// One person's browser. Cookies go back to the host that set them and, with `Domain=`, to all below that.
pub(super) struct Browser<'e> {
    way: Way<'e>,
    cookies: BTreeMap<(String, String), String>,
}

/// The way to the app.
enum Way<'e> {
    Edge(&'e Edge, Protocol),
    /// As behind a proxy that does no more than to say who comes, and how.
    Straight(SocketAddr),
}

impl Way<'_> {
    async fn connect(&self, host: &str) -> Connection {
        match self {
            Self::Edge(edge, protocol) => edge.connect(*protocol, host).await,
            Self::Straight(address) => {
                let mut connection = Connection::tcp(*address, host).await;
                connection.always("x-forwarded-proto", "https");
                connection.always("x-forwarded-for", "192.0.2.9");
                connection
            }
        }
    }
}

impl<'e> Browser<'e> {
    pub(super) fn new(edge: &'e Edge, protocol: Protocol) -> Self {
        Self {
            way: Way::Edge(edge, protocol),
            cookies: BTreeMap::new(),
        }
    }

    /// One without our proxy between it and the app.
    pub(super) fn straight(app: &App) -> Browser<'static> {
        let address = app.address().parse().expect("an app on TCP");
        Browser {
            way: Way::Straight(address),
            cookies: BTreeMap::new(),
        }
    }

    /// GETs a page; `host` may have a port, as in the address bar.
    pub(super) async fn get(&mut self, host: &str, path: &str) -> Answer {
        let mut connection = self.way.connect(host).await;
        let mut request = connection.request("GET", path);
        if let Some(cookies) = self.cookies_for(host) {
            request = request.header("cookie", &cookies);
        }
        let answer = request.send().await;
        self.keep(host, &answer);
        answer
    }

    /// Opens the page with a form, fills it in and sends it.
    pub(super) async fn submit(
        &mut self,
        host: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        self.submit_from(&format!("https://{host}"), host, path, fields)
            .await
    }

    /// The same from a page of another origin, as a forged request would come.
    pub(super) async fn submit_from(
        &mut self,
        origin: &str,
        host: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let page = self.get(host, path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        let token = between(page.text(), "name=\"csrfmiddlewaretoken\" value=\"", "\"");
        let token = token.unwrap_or_else(|| panic!("no form in {}", page.text()));
        let mut form = format!("csrfmiddlewaretoken={token}");
        for (name, value) in fields {
            form.push_str(&format!(
                "&{name}={}",
                value.replace('@', "%40").replace(' ', "+")
            ));
        }
        let mut connection = self.way.connect(host).await;
        let mut request = connection
            .request("POST", path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", origin)
            .header("referer", &format!("{origin}{path}"));
        if let Some(cookies) = self.cookies_for(host) {
            request = request.header("cookie", &cookies);
        }
        let answer = request.body(body::full(form)).send().await;
        self.keep(host, &answer);
        answer
    }

    /// What the browser would send there.
    pub(super) fn cookies_for(&self, host: &str) -> Option<String> {
        let fits = |scope: &str| match scope.strip_prefix('.') {
            Some(domain) => bare(host) == domain || bare(host).ends_with(scope),
            None => bare(host) == scope,
        };
        let all: Vec<String> = self
            .cookies
            .iter()
            .filter(|((scope, _), _)| fits(scope))
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// The value of one of them.
    pub(super) fn cookie(&self, host: &str, name: &str) -> Option<String> {
        let all = self.cookies_for(host)?;
        let mut pairs = all.split("; ").filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    }

    fn keep(&mut self, host: &str, answer: &Answer) {
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().expect("a text");
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').expect("name=value");
            let domain = attributes.split(';').find_map(|attribute| {
                let (key, domain) = attribute.trim().split_once('=')?;
                let domain = domain.trim_start_matches('.');
                key.eq_ignore_ascii_case("domain")
                    .then(|| format!(".{domain}"))
            });
            let scope = domain.unwrap_or_else(|| bare(host).to_owned());
            self.cookies
                .insert((scope, name.to_owned()), value.to_owned());
        }
    }
}

/// The host without its port.
fn bare(host: &str) -> &str {
    host.split(':').next().unwrap_or(host)
}

/// The text after `start` up to `end`.
pub(super) fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(found, _)| found)
}
