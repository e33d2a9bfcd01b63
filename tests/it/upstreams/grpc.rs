//! gRPC through the proxy: the official interop client and server, and errors of the edge.

use std::process::Command;

use http::{Method, StatusCode};

use super::HOST;
use crate::support::body;
use crate::support::child::Child;
use crate::support::http::Protocol;
use crate::support::site::Site;
use crate::support::{port, probe, program};

/// The cases of gRPC's `interop_test.sh`.
const CASES: [&str; 14] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
];

#[tokio::test]
async fn grpc_interop_cases_pass_over_tls_with_the_defaults() {
    let address = port::local(port::free());
    let mut command = Command::new(program::grpc("server"));
    command.arg(format!("--port={}", address.port()));
    let _server = Child::spawn("gRPC server", command).ready(|| probe::accepts(address));
    let site = Site::before(&[&format!("h2c://{address}")]).start();
    let trust = site.ca.trust();
    for case in CASES {
        let mut client = Command::new(program::grpc("client"));
        client.args(["--use_tls=true", "--use_test_ca=true"]);
        client.arg("--server_host=127.0.0.1");
        client.arg(format!("--server_port={}", site.portico.https_port()));
        client.arg(format!("--server_host_override={HOST}"));
        client.arg(format!("--ca_file={}", trust.file().display()));
        client.arg(format!("--test_case={case}"));
        let mut client = Child::spawn(case, client);
        let status = client.wait_exit();
        assert!(status.success(), "{case}: {status}\n{}", client.log());
    }
}

#[tokio::test]
async fn grpc_clients_get_the_edges_errors_as_grpc() {
    let nobody = port::local(port::free());
    let site = Site::before(&[&format!("h2c://{nobody}")]).start();
    for (host, status, reason) in [
        (HOST, "14", "upstream-connect"),
        ("mail.example.test", "12", "unknown-tenant"),
    ] {
        for protocol in Protocol::BOTH {
            for content_type in ["application/grpc", "application/grpc+proto"] {
                let mut connection = site.edge.connect(protocol, HOST).await;
                let ask = connection
                    .request("POST", "/grpc.testing.TestService/EmptyCall")
                    .host(host)
                    .header("content-type", content_type)
                    .body(body::full("\0\0\0\0\0"));
                let answer = ask.send().await;
                assert_eq!(answer.status, StatusCode::OK);
                assert_eq!(answer.header("content-type"), Some("application/grpc"));
                assert_eq!(answer.header("grpc-status"), Some(status), "{host}");
                assert!(answer.header("grpc-message").is_some());
                assert_eq!(answer.header("x-edge-reason"), Some(reason));
                assert!(answer.header("proxy-status").is_some());
                assert!(answer.body.is_empty());
            }
        }
    }
    // Others get their page as before.
    let mut connection = site.edge.connect(Protocol::Http2, HOST).await;
    let ask = connection
        .request(Method::POST.as_str(), "/")
        .header("content-type", "application/grpc-web");
    assert_eq!(ask.send().await.status, StatusCode::SERVICE_UNAVAILABLE);
}
