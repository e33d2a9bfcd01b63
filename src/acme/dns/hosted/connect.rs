//! From the keys of a service to the library's client for it: one arm each, in the order of the table.
//!
//! Opens nothing. A service of the table that has no arm is an error, and a test walks the table.

use std::collections::HashMap;

use dns_update::DnsUpdater as U;
use dns_update::providers::azuredns::{AzureDnsConfig, AzureEnvironment};
use dns_update::providers::bluecatv2::BluecatV2Config;
use dns_update::providers::edgedns::EdgeDnsConfig;
use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use dns_update::providers::infoblox::InfobloxConfig;
use dns_update::providers::joker::JokerAuth;
use dns_update::providers::lightsail::LightsailConfig;
use dns_update::providers::oraclecloud::OracleCloudConfig;
use dns_update::providers::ovh::OvhEndpoint;
use dns_update::providers::route53::Route53Config;
use dns_update::providers::volcengine::VolcengineConfig;
use dns_update::providers::yandexcloud::YandexCloudConfig;

use super::super::DnsError;
use super::PATIENCE;
use super::keys::Keys;

/// The library's client.
#[expect(clippy::too_many_lines, reason = "a table: one arm for each service")]
#[rustfmt::skip] // an arm is a line where it can be
pub(super) fn updater(service: &str, k: &Keys) -> Result<U, DnsError> {
    let t = Some(PATIENCE);
    let made = match service {
        "alidns" => U::new_alidns(k.need("dns_aliyun_access_key")?, k.need("dns_aliyun_access_key_secret")?,
            k.get("dns_aliyun_region"), k.get("dns_aliyun_security_token"), k.get("dns_aliyun_line"), t),
        "arvancloud" => U::new_arvancloud(k.need("dns_arvancloud_api_key")?, t),
        "autodns" => U::new_autodns(k.need("dns_autodns_username")?, k.need("dns_autodns_password")?, number(k, "dns_autodns_context")?, t),
        "azuredns" => U::new_azuredns(azure(k)?),
        "baiducloud" => U::new_baiducloud(k.need("dns_baiducloud_access_key")?, k.need("dns_baiducloud_secret_key")?, t),
        "bluecatv2" => U::new_bluecatv2(BluecatV2Config {
            server_url: owned(k, "dns_bluecat_url")?,
            username: owned(k, "dns_bluecat_username")?,
            password: owned(k, "dns_bluecat_password")?,
            config_name: owned(k, "dns_bluecat_config_name")?,
            view_name: owned(k, "dns_bluecat_view_name")?,
            skip_deploy: k.flag("dns_bluecat_skip_deploy")?,
            request_timeout: t,
        }),
        "bunny" => U::new_bunny(k.need("dns_bunny_api_key")?, t),
        "cloudflare" => U::new_cloudflare(k.need("dns_cloudflare_api_token")?, t),
        "cloudns" => U::new_cloudns(k.get("dns_cloudns_auth_id"), k.get("dns_cloudns_sub_auth_id"), k.need("dns_cloudns_auth_password")?, t),
        "constellix" => U::new_constellix(k.need("dns_constellix_api_key")?, k.need("dns_constellix_secret_key")?, t),
        "cpanel" => U::new_cpanel(k.need("cpanel_url")?, k.need("cpanel_username")?, k.need("cpanel_token")?, t),
        "ddnss" => U::new_ddnss(k.need("dns_ddnss_key")?, t),
        "desec" => U::new_desec(k.need("dns_desec_token")?, t),
        "digitalocean" => U::new_digitalocean(k.need("dns_digitalocean_token")?, t),
        "dnsimple" => U::new_dnsimple(k.need("dns_dnsimple_token")?, k.need("dns_dnsimple_account_id")?, t),
        "dnsmadeeasy" => U::new_dnsmadeeasy(k.need("dns_dnsmadeeasy_api_key")?, k.need("dns_dnsmadeeasy_secret_key")?, t),
        "domeneshop" => U::new_domeneshop(k.need("dns_domeneshop_client_token")?, k.need("dns_domeneshop_client_secret")?, t),
        "dreamhost" => U::new_dreamhost(k.need("dns_dreamhost_api_key")?, t),
        "duckdns" => U::new_duckdns(k.need("dns_duckdns_token")?, t),
        "dynu" => U::new_dynu(k.need("dns_dynu_auth_token")?, t),
        "easydns" => U::new_easydns(k.need("dns_easydns_usertoken")?, k.need("dns_easydns_userkey")?, t),
        "edgedns" => U::new_edgedns(EdgeDnsConfig {
            host: owned(k, "edgedns_host")?,
            client_token: owned(k, "edgedns_client_token")?,
            client_secret: owned(k, "edgedns_client_secret")?,
            access_token: owned(k, "edgedns_access_token")?,
            account_switch_key: k.text("edgedns_account_switch_key"),
            request_timeout: t,
        }),
        "exoscale" => U::new_exoscale(k.need("dns_exoscale_api_key")?, k.need("dns_exoscale_api_secret")?, t),
        "freemyip" => U::new_freemyip(k.need("dns_freemyip_token")?, t),
        "gandiv5" => U::new_gandiv5(k.need("dns_gandi_token")?, t),
        "gcore" => U::new_gcore(k.need("dns_gcore_apitoken")?, t),
        "glesys" => U::new_glesys(k.need("dns_glesys_user")?, k.need("dns_glesys_password")?, t),
        "godaddy" => U::new_godaddy(k.need("dns_godaddy_key")?, k.need("dns_godaddy_secret")?, t),
        "google" => U::new_google_cloud_dns(GoogleCloudDnsConfig {
            service_account_json: k.whole().to_owned(),
            project_id: owned(k, "project_id")?,
            managed_zone: None,
            private_zone: false,
            impersonate_service_account: None,
            request_timeout: t,
        }),
        "hetzner" => U::new_hetzner(k.need("dns_hetzner_api_token")?, t),
        "hostingde" => U::new_hostingde(k.need("dns_hostingde_api_key")?, t),
        "hostinger" => U::new_hostinger(k.need("dns_hostinger_api_token")?, t),
        "huaweicloud" => U::new_huaweicloud(k.need("dns_huaweicloud_access_key")?, k.need("dns_huaweicloud_secret_key")?, k.need("dns_huaweicloud_region")?, t),
        "hurricane" => U::new_hurricane(HashMap::from([(owned(k, "dns_hurricane_zone")?, owned(k, "dns_hurricane_token")?)]), t),
        "ibmcloud" => U::new_ibmcloud(k.need("dns_ibmcloud_username")?, k.need("dns_ibmcloud_api_key")?, t),
        "infoblox" => U::new_infoblox(InfobloxConfig {
            host: owned(k, "dns_infoblox_hostname")?,
            port: k.text("dns_infoblox_port"),
            username: owned(k, "dns_infoblox_username")?,
            password: owned(k, "dns_infoblox_password")?,
            wapi_version: k.text("dns_infoblox_wapi_version"),
            dns_view: k.text("dns_infoblox_view"),
            request_timeout: t,
        }),
        "infomaniak" => U::new_infomaniak(k.need("dns_infomaniak_token")?, t),
        "inwx" => U::new_inwx(k.need("dns_inwx_username")?, k.need("dns_inwx_password")?, k.flag("dns_inwx_sandbox")?, t),
        "ionos" => U::new_ionos(format!("{}.{}", k.need("dns_ionos_prefix")?, k.need("dns_ionos_secret")?), t),
        "ipv64" => U::new_ipv64(k.need("dns_ipv64_api_key")?, t),
        "joker" => U::new_joker(match k.get("dns_joker_api_key") {
            Some(key) => JokerAuth::api_key(key),
            None => JokerAuth::username_password(k.need("dns_joker_username")?, k.need("dns_joker_password")?),
        }, t),
        "lightsail" => U::new_lightsail(LightsailConfig {
            access_key_id: owned(k, "aws_access_key_id")?,
            secret_access_key: owned(k, "aws_secret_access_key")?,
            session_token: k.text("aws_session_token"),
            region: k.text("region"),
            domain: k.text("lightsail_domain"),
            request_timeout: t,
        }),
        "linode" => U::new_linode(k.need("dns_linode_key")?, t),
        "luadns" => U::new_luadns(k.need("dns_luadns_email")?, k.need("dns_luadns_token")?, t),
        "mythicbeasts" => U::new_mythicbeasts(k.need("dns_mythicbeasts_username")?, k.need("dns_mythicbeasts_password")?, t),
        "namecheap" => U::new_namecheap(k.need("dns_namecheap_username")?, k.need("dns_namecheap_api_key")?, k.need("dns_namecheap_client_ip")?, None::<&str>, t),
        "namedotcom" => U::new_namedotcom(k.need("dns_namedotcom_username")?, k.need("dns_namedotcom_api_token")?, t),
        "namesilo" => U::new_namesilo(k.need("dns_namesilo_api_key")?, t),
        "netcup" => U::new_netcup(k.need("dns_netcup_customer_id")?, k.need("dns_netcup_api_key")?, k.need("dns_netcup_api_password")?, t),
        "netlify" => U::new_netlify(k.need("dns_netlify_token")?, t),
        "nifcloud" => U::new_nifcloud(k.need("dns_nifcloud_access_key")?, k.need("dns_nifcloud_secret_key")?, t),
        "ns1" => U::new_ns1(k.need("dns_nsone_api_key")?, t),
        "oraclecloud" => U::new_oraclecloud(OracleCloudConfig {
            tenancy_ocid: owned(k, "dns_oraclecloud_tenancy")?,
            user_ocid: owned(k, "dns_oraclecloud_user")?,
            fingerprint: owned(k, "dns_oraclecloud_fingerprint")?,
            private_key_pem: k.file("dns_oraclecloud_key_file")?.expose().to_owned(),
            private_key_password: k.text("dns_oraclecloud_key_password"),
            region: owned(k, "dns_oraclecloud_region")?,
            compartment_ocid: owned(k, "dns_oraclecloud_compartment")?,
            request_timeout: t,
        }),
        "ovh" => U::new_ovh(k.need("dns_ovh_application_key")?, k.need("dns_ovh_application_secret")?, k.need("dns_ovh_consumer_key")?, ovh(k)?, t),
        "pdns" => U::new_pdns(k.need("dns_powerdns_api_key")?, k.get("dns_powerdns_api_url"), k.get("dns_powerdns_server_id"), t),
        "plesk" => U::new_plesk(k.need("dns_plesk_url")?, k.need("dns_plesk_api_key")?, t),
        "porkbun" => U::new_porkbun(k.need("dns_porkbun_key")?, k.need("dns_porkbun_secret")?, t),
        "route53" => U::new_route53(Route53Config {
            access_key_id: owned(k, "aws_access_key_id")?,
            secret_access_key: owned(k, "aws_secret_access_key")?,
            session_token: k.text("aws_session_token"),
            region: k.text("region"),
            hosted_zone_id: k.text("hosted_zone_id"),
            private_zone_only: None,
            endpoint: None,
        }),
        "safedns" => U::new_safedns(k.need("dns_safedns_auth_token")?, t),
        "scaleway" => U::new_scaleway(k.need("dns_scaleway_application_token")?, t),
        "selectel" => U::new_selectel(k.need("dns_selectel_username")?, k.need("dns_selectel_password")?, k.need("dns_selectel_account_id")?, k.need("dns_selectel_project_id")?, t),
        "simplycom" => U::new_simplycom(k.need("dns_simply_account_name")?, k.need("dns_simply_api_key")?, t),
        "spaceship" => U::new_spaceship(k.need("dns_spaceship_api_key")?, k.need("dns_spaceship_api_secret")?, t),
        "tencentcloud" => U::new_tencentcloud(k.need("dns_tencentcloud_secret_id")?, k.need("dns_tencentcloud_secret_key")?,
            k.get("dns_tencentcloud_region"), k.get("dns_tencentcloud_session_token"), t),
        "transip" => U::new_transip(k.need("dns_transip_username")?, k.file("dns_transip_key_file")?.expose(), k.flag("dns_transip_global_key")?, t),
        "ultradns" => U::new_ultradns(k.need("dns_ultradns_username")?, k.need("dns_ultradns_password")?, k.text("dns_ultradns_endpoint"), t),
        "vercel" => U::new_vercel(k.need("dns_vercel_token")?, k.get("dns_vercel_team_id"), t),
        "volcengine" => U::new_volcengine(VolcengineConfig {
            access_key: owned(k, "dns_volcengine_access_key")?,
            secret_key: owned(k, "dns_volcengine_secret_key")?,
            region: k.text("dns_volcengine_region"),
            host: k.text("dns_volcengine_host"),
            scheme: k.text("dns_volcengine_scheme"),
            request_timeout: t,
        }),
        "vultr" => U::new_vultr(k.need("dns_vultr_key")?, t),
        "websupport" => U::new_websupport(k.need("dns_websupport_identifier")?, k.need("dns_websupport_secret_key")?, t),
        "yandexcloud" => U::new_yandexcloud(YandexCloudConfig {
            iam_token_b64: owned(k, "dns_yandexcloud_iam_token")?,
            folder_id: owned(k, "dns_yandexcloud_folder_id")?,
            request_timeout: t,
        }),
        "zoneeu" => U::new_zoneeu(k.need("dns_zoneeu_username")?, k.need("dns_zoneeu_api_key")?, t),
        other => return Err(DnsError::Refused(format!("this build cannot talk to `{other}`"))),
    };
    made.map_err(|error| k.bad(k.blot(&error.to_string())))
}

fn owned(k: &Keys, name: &'static str) -> Result<String, DnsError> {
    k.need(name).map(str::to_owned)
}

fn number(k: &Keys, name: &'static str) -> Result<Option<u32>, DnsError> {
    k.get(name)
        .map(|text| {
            text.parse()
                .map_err(|_no_number| k.bad(format!("`{name}` is not a whole number")))
        })
        .transpose()
}

fn ovh(k: &Keys) -> Result<OvhEndpoint, DnsError> {
    let name = "dns_ovh_endpoint";
    let endpoint = k.need(name)?.parse();
    endpoint.map_err(|_unknown: dns_update::Error| {
        k.bad(format!("`{name}` is no endpoint of OVH\nhint: `ovh-eu`, `ovh-us`, `ovh-ca`, `kimsufi-eu` or `kimsufi-ca`"))
    })
}

fn azure(k: &Keys) -> Result<AzureDnsConfig, DnsError> {
    let environment = match k
        .get("dns_azure_environment")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        None | Some("public" | "azurepubliccloud") => AzureEnvironment::Public,
        Some("china" | "azurechinacloud") => AzureEnvironment::China,
        Some("usgovernment" | "azureusgovernmentcloud") => AzureEnvironment::UsGovernment,
        Some(_) => {
            return Err(k.bad(
                "`dns_azure_environment` is unknown\nhint: `public`, `china` or `usgovernment`"
                    .to_owned(),
            ));
        }
    };
    Ok(AzureDnsConfig {
        tenant_id: owned(k, "dns_azure_tenant_id")?,
        client_id: owned(k, "dns_azure_sp_client_id")?,
        client_secret: owned(k, "dns_azure_sp_client_secret")?,
        subscription_id: owned(k, "dns_azure_subscription_id")?,
        resource_group: owned(k, "dns_azure_resource_group")?,
        environment,
        request_timeout: Some(PATIENCE),
    })
}
