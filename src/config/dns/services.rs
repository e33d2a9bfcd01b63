//! The ways to publish a TXT record: one row each.
//!
//! This table is the only list. It drives what `provider =` may say, which keys of the credentials file are read,
//! what `portico dns providers` prints and the README's table. Where certbot has a plugin the keys are that plugin's, so
//! its ini file is read as it is. Nothing here knows how a service works; [`crate::acme::dns`] does.

/// A way to publish a TXT record, as `provider =` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// What stands in `provider =`.
    pub name: &'static str,
    /// Keys of the credentials file that must be there.
    pub needed: &'static [&'static str],
    /// Keys of the credentials file that may be there.
    pub optional: &'static [&'static str],
    /// What an operator has to know before choosing it; empty if there is nothing.
    pub note: &'static str,
    /// Who has seen it work.
    pub tested: Tested,
    /// How many values one name can have.
    pub values: Values,
    /// Who talks to the service.
    pub client: Client,
}

/// Who has seen a provider work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tested {
    /// Our tests, against a real server or a stand-in for it.
    ByUs,
    /// The `dns-update` library; our tests only prove that the credentials are read.
    AsUpstream,
}

/// How many values a name can have at a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Any number, added and removed one by one.
    Many,
    /// One, which a new one replaces: not enough for a domain together with its wildcard.
    One,
}

/// Who talks to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Our own code.
    Own,
    /// The `dns-update` library.
    Library,
}

impl Service {
    /// The service of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.name == name)
    }

    /// Whether it reads a credentials file.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        !self.needed.is_empty() || !self.optional.is_empty() || self.name == "acme-dns"
    }

    /// The keys, optional ones in brackets, as in `dns_linode_key [dns_x]`.
    #[must_use]
    pub fn keys(&self) -> String {
        let optional = self.optional.iter().map(|key| format!("[{key}]"));
        let needed = self.needed.iter().map(|&key| key.to_owned());
        needed.chain(optional).collect::<Vec<_>>().join(" ")
    }

    /// `by us` or `as upstream`.
    #[must_use]
    pub fn tested(&self) -> &'static str {
        match self.tested {
            Tested::ByUs => "by us",
            Tested::AsUpstream => "as upstream",
        }
    }

    /// What to know, in full.
    #[must_use]
    pub fn remark(&self) -> String {
        let single = match self.values {
            Values::Many => "",
            Values::One => {
                "one value for each name: cannot prove a domain together with its wildcard"
            }
        };
        [self.note, single]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// The whole table in Markdown, as the README has it.
    #[must_use]
    pub fn markdown() -> String {
        let mut text = String::from(
            "| provider | keys in the credentials file | tested | to know |\n|---|---|---|---|\n",
        );
        for service in SERVICES {
            let keys: Vec<String> = service
                .keys()
                .split_whitespace()
                .map(|key| format!("`{key}`"))
                .collect();
            text.push_str(&format!(
                "| `{}` | {} | {} | {} |\n",
                service.name,
                keys.join(" "),
                service.tested(),
                service.remark()
            ));
        }
        text
    }

    const fn optional(mut self, keys: &'static [&'static str]) -> Self {
        self.optional = keys;
        self
    }

    const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    const fn tested_by_us(mut self) -> Self {
        self.tested = Tested::ByUs;
        self
    }

    const fn one_value(mut self) -> Self {
        self.values = Values::One;
        self
    }
}

/// A service that the library knows.
const fn hosted(name: &'static str, needed: &'static [&'static str]) -> Service {
    Service {
        name,
        needed,
        optional: &[],
        note: "",
        tested: Tested::AsUpstream,
        values: Values::Many,
        client: Client::Library,
    }
}

/// A way of our own.
const fn own(name: &'static str, needed: &'static [&'static str]) -> Service {
    let mut service = hosted(name, needed).tested_by_us();
    service.client = Client::Own;
    service
}

/// All of them: our own first, then by name.
#[rustfmt::skip] // a row is a line
pub const SERVICES: &[Service] = &[
    own("rfc2136", &["dns_rfc2136_server", "dns_rfc2136_name", "dns_rfc2136_secret"])
        .optional(&["dns_rfc2136_port", "dns_rfc2136_algorithm"]).note("BIND, Knot, PowerDNS and others"),
    own("responder", &[]).note("Portico answers itself; needs one NS record and port 53"),
    own("acme-dns", &[]).note("credentials: the JSON file of acme-dns clients (certbot's hook, lego); needs one CNAME record; the server keeps the last two values, none is removed"),
    own("httpreq", &["httpreq_endpoint"]).optional(&["httpreq_mode", "httpreq_username", "httpreq_password"])
        .note("lego's JSON; `httpreq_mode = RAW` for domain, token and key authorization"),
    own("exec", &[]).note("`hook = \"lego\"` or `\"certbot\"`, with `command`"),
    own("manual", &[]).note("a person publishes the record"),
    hosted("alidns", &["dns_aliyun_access_key", "dns_aliyun_access_key_secret"]).optional(&["dns_aliyun_region", "dns_aliyun_security_token", "dns_aliyun_line"]),
    hosted("arvancloud", &["dns_arvancloud_api_key"]),
    hosted("autodns", &["dns_autodns_username", "dns_autodns_password"]).optional(&["dns_autodns_context"]),
    hosted("azuredns", &["dns_azure_tenant_id", "dns_azure_sp_client_id", "dns_azure_sp_client_secret", "dns_azure_subscription_id", "dns_azure_resource_group"])
        .optional(&["dns_azure_environment"]).note("environment: `public`, `china` or `usgovernment`"),
    hosted("baiducloud", &["dns_baiducloud_access_key", "dns_baiducloud_secret_key"]),
    hosted("bluecatv2", &["dns_bluecat_url", "dns_bluecat_username", "dns_bluecat_password", "dns_bluecat_config_name", "dns_bluecat_view_name"])
        .optional(&["dns_bluecat_skip_deploy"]),
    hosted("bunny", &["dns_bunny_api_key"]),
    hosted("cloudflare", &["dns_cloudflare_api_token"]).note("a token with Zone:DNS:Edit; `dns_cloudflare_email` with `dns_cloudflare_api_key` (the global key) is not supported"),
    hosted("cloudns", &["dns_cloudns_auth_password"]).optional(&["dns_cloudns_auth_id", "dns_cloudns_sub_auth_id"]).note("one of the two ids is needed"),
    hosted("constellix", &["dns_constellix_api_key", "dns_constellix_secret_key"]),
    hosted("cpanel", &["cpanel_url", "cpanel_username", "cpanel_token"]),
    hosted("ddnss", &["dns_ddnss_key"]).one_value(),
    hosted("desec", &["dns_desec_token"]),
    hosted("digitalocean", &["dns_digitalocean_token"]).tested_by_us(),
    hosted("dnsimple", &["dns_dnsimple_token", "dns_dnsimple_account_id"]),
    hosted("dnsmadeeasy", &["dns_dnsmadeeasy_api_key", "dns_dnsmadeeasy_secret_key"]),
    hosted("domeneshop", &["dns_domeneshop_client_token", "dns_domeneshop_client_secret"]),
    hosted("dreamhost", &["dns_dreamhost_api_key"]),
    hosted("duckdns", &["dns_duckdns_token"]).one_value(),
    hosted("dynu", &["dns_dynu_auth_token"]),
    hosted("easydns", &["dns_easydns_usertoken", "dns_easydns_userkey"]),
    hosted("edgedns", &["edgedns_host", "edgedns_client_token", "edgedns_client_secret", "edgedns_access_token"]).optional(&["edgedns_account_switch_key"]),
    hosted("exoscale", &["dns_exoscale_api_key", "dns_exoscale_api_secret"]),
    hosted("freemyip", &["dns_freemyip_token"]).one_value(),
    hosted("gandiv5", &["dns_gandi_token"]),
    hosted("gcore", &["dns_gcore_apitoken"]),
    hosted("glesys", &["dns_glesys_user", "dns_glesys_password"]),
    hosted("godaddy", &["dns_godaddy_key", "dns_godaddy_secret"]),
    hosted("google", &["project_id", "client_email", "private_key"]).note("credentials: the service account's JSON file, as for certbot"),
    hosted("hetzner", &["dns_hetzner_api_token"]),
    hosted("hostingde", &["dns_hostingde_api_key"]),
    hosted("hostinger", &["dns_hostinger_api_token"]),
    hosted("huaweicloud", &["dns_huaweicloud_access_key", "dns_huaweicloud_secret_key", "dns_huaweicloud_region"]),
    hosted("hurricane", &["dns_hurricane_zone", "dns_hurricane_token"]).one_value().note("the token is that of the one record, in this zone"),
    hosted("ibmcloud", &["dns_ibmcloud_username", "dns_ibmcloud_api_key"]),
    hosted("infoblox", &["dns_infoblox_hostname", "dns_infoblox_username", "dns_infoblox_password"])
        .optional(&["dns_infoblox_port", "dns_infoblox_wapi_version", "dns_infoblox_view"]),
    hosted("infomaniak", &["dns_infomaniak_token"]),
    hosted("inwx", &["dns_inwx_username", "dns_inwx_password"]).optional(&["dns_inwx_sandbox"]),
    hosted("ionos", &["dns_ionos_prefix", "dns_ionos_secret"]),
    hosted("ipv64", &["dns_ipv64_api_key"]),
    hosted("joker", &[]).optional(&["dns_joker_api_key", "dns_joker_username", "dns_joker_password"]).note("the key, or user name and password"),
    hosted("lightsail", &["aws_access_key_id", "aws_secret_access_key"]).optional(&["aws_session_token", "region", "lightsail_domain"]),
    hosted("linode", &["dns_linode_key"]),
    hosted("luadns", &["dns_luadns_email", "dns_luadns_token"]),
    hosted("mythicbeasts", &["dns_mythicbeasts_username", "dns_mythicbeasts_password"]),
    hosted("namecheap", &["dns_namecheap_username", "dns_namecheap_api_key", "dns_namecheap_client_ip"]),
    hosted("namedotcom", &["dns_namedotcom_username", "dns_namedotcom_api_token"]),
    hosted("namesilo", &["dns_namesilo_api_key"]),
    hosted("netcup", &["dns_netcup_customer_id", "dns_netcup_api_key", "dns_netcup_api_password"]),
    hosted("netlify", &["dns_netlify_token"]),
    hosted("nifcloud", &["dns_nifcloud_access_key", "dns_nifcloud_secret_key"]),
    hosted("ns1", &["dns_nsone_api_key"]),
    hosted("oraclecloud", &["dns_oraclecloud_tenancy", "dns_oraclecloud_user", "dns_oraclecloud_fingerprint", "dns_oraclecloud_key_file", "dns_oraclecloud_region", "dns_oraclecloud_compartment"])
        .optional(&["dns_oraclecloud_key_password"]).note("key file: a path to the private key (PEM, mode 0600)"),
    hosted("ovh", &["dns_ovh_endpoint", "dns_ovh_application_key", "dns_ovh_application_secret", "dns_ovh_consumer_key"]),
    hosted("pdns", &["dns_powerdns_api_key"]).optional(&["dns_powerdns_api_url", "dns_powerdns_server_id"]),
    hosted("plesk", &["dns_plesk_url", "dns_plesk_api_key"]),
    hosted("porkbun", &["dns_porkbun_key", "dns_porkbun_secret"]),
    hosted("route53", &["aws_access_key_id", "aws_secret_access_key"])
        .optional(&["aws_session_token", "region", "hosted_zone_id"]).note("an AWS credentials file with one profile"),
    hosted("safedns", &["dns_safedns_auth_token"]),
    hosted("scaleway", &["dns_scaleway_application_token"]),
    hosted("selectel", &["dns_selectel_username", "dns_selectel_password", "dns_selectel_account_id", "dns_selectel_project_id"]),
    hosted("simplycom", &["dns_simply_account_name", "dns_simply_api_key"]),
    hosted("spaceship", &["dns_spaceship_api_key", "dns_spaceship_api_secret"]),
    hosted("tencentcloud", &["dns_tencentcloud_secret_id", "dns_tencentcloud_secret_key"]).optional(&["dns_tencentcloud_region", "dns_tencentcloud_session_token"]),
    hosted("transip", &["dns_transip_username", "dns_transip_key_file"]).optional(&["dns_transip_global_key"]).note("key file: a path to the private key (PEM, mode 0600)"),
    hosted("ultradns", &["dns_ultradns_username", "dns_ultradns_password"]).optional(&["dns_ultradns_endpoint"]),
    hosted("vercel", &["dns_vercel_token"]).optional(&["dns_vercel_team_id"]),
    hosted("volcengine", &["dns_volcengine_access_key", "dns_volcengine_secret_key"]).optional(&["dns_volcengine_region", "dns_volcengine_host", "dns_volcengine_scheme"]),
    hosted("vultr", &["dns_vultr_key"]),
    hosted("websupport", &["dns_websupport_identifier", "dns_websupport_secret_key"]),
    hosted("yandexcloud", &["dns_yandexcloud_iam_token", "dns_yandexcloud_folder_id"]).note("token: the service account key, in base64"),
    hosted("zoneeu", &["dns_zoneeu_username", "dns_zoneeu_api_key"]),
];
