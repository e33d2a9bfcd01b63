//! What the sample app was told, as a page, as JSON and as text.

use std::path::Path;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, VIA};
use http::{Request, Version};
use serde::Serialize;

use super::{RESERVED, TENANTS, shell_word};
use crate::host::Authority;
use crate::pages::html::{Value, escape, fill, visible};

const TEMPLATE: &str = include_str!("page.html");
/// The header that carries the tenant.
const TENANT: HeaderName = HeaderName::from_static("x-tenant");
/// The headers that the edge sets on every request.
const SET_BY_EDGE: [&str; 9] = [
    "host",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "x-tenant",
];
/// How many colours the style sheet has for tenants.
const HUES: usize = 6;

/// What came with a request. A header that came more than once is joined with commas, as WSGI does it.
#[derive(Serialize)]
pub(super) struct Received {
    tenant: Option<String>,
    host: Option<String>,
    client: Option<String>,
    scheme: Option<String>,
    protocol: &'static str,
    via: Option<String>,
    request_id: Option<String>,
    /// Name and value, repeated ones too.
    headers: Vec<(String, String)>,
}

impl Received {
    pub(super) fn new<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        let header = |name: HeaderName| joined(headers, &name, ", ");
        let http_10 = request.version() == Version::HTTP_10;
        let pair = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), lossy(value));
        Self {
            tenant: header(TENANT),
            host: header(HOST),
            client: header(HeaderName::from_static("x-forwarded-for")),
            scheme: header(HeaderName::from_static("x-forwarded-proto")),
            protocol: if http_10 { "HTTP/1.0" } else { "HTTP/1.1" },
            via: header(VIA),
            request_id: header(HeaderName::from_static("x-request-id")),
            headers: headers.iter().map(pair).collect(),
        }
    }

    pub(super) fn json(&self) -> String {
        // A struct of texts always has a JSON form.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("tenant    {}\n", visible(or_dash(self.tenant.as_deref())));
        for (name, value) in self.facts() {
            text.push_str(&format!("{:9} {}\n", name.to_lowercase(), visible(value)));
        }
        text.push('\n');
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {}\n", visible(value)));
        }
        text
    }

    /// `ca` is the certificate that `curl` must be told to trust.
    pub(super) fn html(&self, ca: Option<&Path>) -> String {
        let (tenant, lead) = match self.tenant.as_deref() {
            Some(tenant) => (
                tenant,
                "The edge found this tenant by the host name and told the app in one header, X-Tenant. The \
                 app need not look at anything else.",
            ),
            None => (
                "nobody",
                "No X-Tenant header came with this request. It seems to have gone round the edge.",
            ),
        };
        // Each tenant has a colour, so that one sees at a glance where one is.
        let sum: usize = tenant.bytes().map(usize::from).sum();
        let hue = format!("hue{}", sum % HUES);
        let facts = self.facts();
        let facts = facts.iter().map(|(name, value)| fact(name, value));
        let rows = self.headers.iter().map(|(name, value)| row(name, value));
        fill(
            TEMPLATE,
            &[
                ("tenant", Value::Text(tenant)),
                ("lead", Value::Text(lead)),
                ("hue", Value::Text(&hue)),
                ("facts", Value::Html(&facts.collect::<String>())),
                ("links", Value::Html(&self.links())),
                ("forge", Value::Html(&self.forge(ca).unwrap_or_default())),
                ("rows", Value::Html(&rows.collect::<String>())),
            ],
        )
    }

    fn facts(&self) -> [(&'static str, &str); 6] {
        [
            ("Host", or_dash(self.host.as_deref())),
            ("Client", or_dash(self.client.as_deref())),
            ("Scheme", or_dash(self.scheme.as_deref())),
            ("Protocol", self.protocol),
            ("Via", or_dash(self.via.as_deref())),
            ("Request", or_dash(self.request_id.as_deref())),
        ]
    }

    fn links(&self) -> String {
        let others = TENANTS
            .into_iter()
            .filter(|name| self.tenant.as_deref() != Some(name));
        let notes = others
            .map(|name| (name, ""))
            .chain([(RESERVED, " <span>is no tenant</span>")]);
        let items: String = notes
            .filter_map(|(name, note)| self.link(name, note))
            .collect();
        if items.is_empty() {
            return items;
        }
        format!("<h2>Go to another tenant</h2>\n<ul class=\"links\">\n{items}</ul>\n")
    }

    fn link(&self, name: &str, note: &str) -> Option<String> {
        let url = escape(&self.url_of(name)?);
        Some(format!("<li><a href=\"{url}\">{name}{note}</a></li>\n"))
    }

    fn forge(&self, ca: Option<&Path>) -> Option<String> {
        let tenant = self.tenant.as_deref()?;
        let url = shell_word(&self.url_of(tenant)?);
        let ca = ca.map(|path| format!("--cacert {} ", shell_word(&path.display().to_string())));
        let command = format!("curl {}-H 'X-Tenant: evil' {url}", ca.unwrap_or_default());
        Some(format!(
            "<h2>Try to forge it</h2>\n<pre>{}</pre>\n<p>The answer still says <code>{}</code>. What a client \
             sends as <code>X-Tenant</code>, <code>X_Tenant</code> or <code>x.tenant</code> is taken out \
             before the edge puts in its own.</p>\n",
            escape(&command),
            escape(tenant),
        ))
    }

    /// The address of the tenant `name` at the same edge; `None` if the host is not a name.
    fn url_of(&self, name: &str) -> Option<String> {
        let here = Authority::from_bytes(self.host.as_deref()?.as_bytes()).ok()?;
        let base = match here.host.split_first() {
            Some((first, base)) if self.tenant.as_deref() == Some(first) => base,
            _ => here.host.as_str(),
        };
        let https = self.scheme.as_deref() == Some("https");
        let scheme = if https { "https" } else { "http" };
        let port = here.port.map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{scheme}://{name}.{base}{port}/"))
    }
}

/// Every value of a header, joined; `None` if it did not come.
pub(super) fn joined(headers: &HeaderMap, name: &HeaderName, separator: &str) -> Option<String> {
    let values: Vec<String> = headers.get_all(name).iter().map(lossy).collect();
    (!values.is_empty()).then(|| values.join(separator))
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn or_dash(value: Option<&str>) -> &str {
    value.unwrap_or("–")
}

fn fact(name: &str, value: &str) -> String {
    format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(value))
}

fn row(name: &str, value: &str) -> String {
    let class = match name {
        _ if name == TENANT => " class=\"edge tenant\"",
        _ if SET_BY_EDGE.contains(&name) => " class=\"edge\"",
        _ => "",
    };
    let (name, value) = (escape(name), escape(value));
    format!("<tr{class}><th scope=\"row\">{name}</th><td>{value}</td></tr>\n")
}
