//! A bucket behind TLS with a certificate that only a private authority vouches for.

use std::time::Duration;

use crate::support::bucket::Bucket;
use crate::support::places::{self, DOCUMENTS};
use crate::support::tls_front::TlsFront;

#[test]
fn a_private_authority_is_trusted_where_it_is_named() {
    let bucket = Bucket::new();
    let Some(front) = TlsFront::before(&bucket.server.endpoint()) else { return };
    let mut project = places::sqlite();
    project.publish_to(&bucket, "");
    let config = std::fs::read_to_string(project.config()).expect("read tintype.toml");
    let config = config.replace(&bucket.server.endpoint(), &front.endpoint());
    std::fs::write(project.config(), config).expect("write tintype.toml");

    let unnamed = project.tintype(&["publish"]).run();
    let other = project.tintype(&["publish"]).env("SSL_CERT_FILE", front.other_authority()).run();
    for refused in [unnamed, other] {
        let refused = refused.expect(1);
        refused.explains(&["the certificate of https://localhost", "isn't trusted", "SSL_CERT_FILE"]);
        assert!(refused.elapsed < Duration::from_secs(5), "it isn't tried again and again: {refused}");
    }
    assert_eq!(bucket.server.counts().total(), 0, "something was sent to a server that nobody trusts");

    project.tintype(&["publish"]).env("SSL_CERT_FILE", front.authority()).run().expect(0);
    assert_eq!(bucket.paths().len(), DOCUMENTS);
}
