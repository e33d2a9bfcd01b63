//! Other people's records at the name of the challenge.

use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::cli::cert::Verdict;

use super::super::issue::{RECORD, host, rfc2136};
use super::{Authority, BRANDS, Lab, background, challenge_posts, zone, zones};
use crate::support::knot::KEY_SECRET;
use crate::support::pebble::Pebble;
use crate::support::unbound::Unbound;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_03_foreign_txt_beside_apex_and_wildcard() {
    for brand in BRANDS {
        let lab = Lab::new();
        let all = [zone("example.test", &[1], "")];
        let server = Authority::start(brand, lab.at(1), &zones(&all));
        let resolver = Unbound::start(&[("example.test", server.address())]);
        let pebble = Pebble::asking(server.address()).start();
        let state = tempfile::tempdir().unwrap();
        let provider = rfc2136(&state, server.address(), KEY_SECRET);
        let config = lab.config(&state, &pebble, provider, &resolver);
        let foreign = format!("add {RECORD}. 60 TXT foreign");
        assert!(server.update("example.test", &[&foreign]).status.success());

        let running = background(config);
        let mut most: Vec<String> = Vec::new();
        while !running.is_finished() {
            let values = server.txt(RECORD);
            assert!(
                values.contains(&"foreign".to_owned()),
                "{brand:?}: {values:?}"
            );
            if values.len() > most.len() {
                most = values;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let (verdict, text) = running.await.unwrap();
        assert_eq!(verdict, Verdict::Fine, "{brand:?}: {text}");
        assert_eq!(most.len(), 3, "both of ours and the foreign one at once");
        assert_eq!(server.txt(RECORD), ["foreign"], "{brand:?}");
        assert_eq!(challenge_posts(&pebble), 2);
        let stored = FileStore::new(state.path()).load(&host("example.test"));
        assert_eq!(stored.unwrap().unwrap().bundle.names().len(), 2);
    }
}
