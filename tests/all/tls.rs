//! TLS to a real server: what each `sslmode` accepts, what it refuses, and what it says then.

use crate::doctor::{check, with_cdn};
use crate::support::postgres::{self, Session};
use crate::support::project::Project;
use crate::support::servers::{Bouncer, TlsServer};

/// One document that tells whether the connection was encrypted.
const TEMPLATE: &str = "/*---\npath = \"t/{k}.json\"\n---*/\n\
     SELECT 'a' AS k, ssl AS encrypted, coalesce(client_dn, '') AS client FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

fn project(url: &str) -> Project {
    let project = Project::at(url);
    project.template("t", TEMPLATE);
    project
}

#[test]
fn every_mode_checks_what_it_says() {
    let Some(server) = TlsServer::start() else { return };
    let project = project(&server.url);
    for (host, parameters) in [
        ("localhost", "sslmode=verify-full&sslrootcert={}/ca.crt"),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert={}/ca.crt"),
        ("127.0.0.1", "sslmode=require&sslrootcert={}/ca.crt"),
        // Without a CA nobody is asked, and the certificate is self-signed for all that the client knows.
        ("127.0.0.1", "sslmode=require"),
        ("127.0.0.1", "sslmode=prefer"),
    ] {
        project.configure(&server.url(host, "postgres", parameters), "");
        let said = project.json(&["publish", "--force"], 0);
        assert_eq!(project.public().document("t/a.json")["rows"][0]["encrypted"], true, "{parameters}: {said}");
    }
    // Relative to the config's folder.
    std::fs::copy(server.certificates.join("ca.crt"), project.root().join("ca.crt")).expect("copy the CA");
    project.configure(&server.url("localhost", "postgres", "sslmode=verify-full&sslrootcert=ca.crt"), "");
    project.json(&["publish", "--force"], 0);
    with_cdn(&project, None);
    let said = project.json(&["doctor"], 0);
    assert_eq!(check(&said, "database", "tls")["outcome"], "ok");
    assert!(said["database"]["servers"][0]["tls"].as_str().is_some_and(|tls| tls.starts_with("TLSv1")), "{said:#}");

    for (host, parameters, says) in [
        ("127.0.0.1", "sslmode=verify-full&sslrootcert={}/ca.crt", &["127.0.0.1", "another name", "verify-ca"][..]),
        ("localhost", "sslmode=verify-full&sslrootcert={}/other.crt", &["UnknownIssuer", "sslrootcert"]),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert={}/other.crt", &["UnknownIssuer", "sslrootcert"]),
        ("127.0.0.1", "sslmode=require&sslrootcert={}/other.crt", &["UnknownIssuer", "sslrootcert"]),
        ("localhost", "sslmode=verify-full", &["UnknownIssuer", "sslrootcert"]),
        ("localhost", "sslmode=verify-full&sslrootcert={}/missing.crt", &["can't read sslrootcert", "missing.crt"]),
    ] {
        project.configure(&server.url(host, "postgres", parameters), "");
        let ended = project.run(&["publish", "--force"]).expect(1);
        ended.explains(says);
        assert!(ended.elapsed.as_secs() < 20, "it isn't tried again and again: {ended}");
    }
    project.configure(&server.url("127.0.0.1", "plain", "sslmode=disable"), "");
    let ended = project.run(&["publish"]).expect(1);
    ended.explains(&["role \"plain\" does not exist"]);
    project.configure(&server.url("127.0.0.1", "postgres", "sslmode=disable"), "");
    project.run(&["publish"]).expect(1).explains(&["no encryption", "sslmode=require"]);
}

#[test]
fn a_client_certificate_lets_its_role_in() {
    let Some(server) = TlsServer::start() else { return };
    postgres::execute(&server.url("127.0.0.1", "postgres", "sslmode=require"), "CREATE ROLE reader LOGIN");
    let project = project(&server.url);
    let with = |name: &str| {
        let full = "sslmode=verify-full&sslrootcert={}/ca.crt";
        server.url("localhost", "reader", &format!("{full}&sslcert={{}}/{name}.crt&sslkey={{}}/{name}.key"))
    };
    project.configure(&with("reader"), "");
    project.publish();
    assert_eq!(project.public().document("t/a.json")["rows"][0]["client"], "/CN=reader");
    project.configure(&with("stranger"), "");
    project.run(&["publish"]).expect(1).explains(&["sslcert"]);
    project.configure(&server.url("localhost", "reader", "sslmode=verify-full&sslrootcert={}/ca.crt"), "");
    project.run(&["publish"]).expect(1).explains(&["client certificate", "sslcert"]);
}

#[test]
fn a_server_without_tls_is_no_server_with_it() {
    let Some(database) = postgres::database() else { return };
    let url = database.url();
    let project = Project::postgres(database);
    project.template("t", TEMPLATE);
    for mode in ["require", "verify-ca", "verify-full"] {
        project.configure(&format!("{url}?sslmode={mode}"), "");
        project.run(&["publish"]).expect(1).explains(&["does not support TLS", "ssl = off"]);
    }
    project.configure(&format!("{url}?sslmode=prefer"), "");
    project.publish();
    assert_eq!(project.public().document("t/a.json")["rows"][0]["encrypted"], false);
}

#[test]
fn tls_ends_at_the_pooler() {
    let (Some(server), Some(database)) = (TlsServer::start(), postgres::database()) else { return };
    let user = format!("tls_{}", database.name());
    database.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 'pass'"));
    let folder = server.certificates.display();
    let more = format!(
        "client_tls_sslmode = require\nclient_tls_cert_file = {folder}/server.crt\nclient_tls_key_file = {folder}/server.key"
    );
    let Some(bouncer) = Bouncer::before(&database.url(), &more, &format!("\"{user}\" \"pass\"")) else { return };
    let project = Project::postgres(database);
    project.template("t", "/*---\npath = \"t/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v");
    let url = bouncer.url(&user, "pass", project.database().name());
    let local = url.replace("127.0.0.1", "localhost");
    project.configure(&format!("{local}?sslmode=verify-full&sslrootcert={folder}/ca.crt"), "");
    project.publish();
    project.configure(&format!("{url}?sslmode=verify-full&sslrootcert={folder}/ca.crt"), "");
    project.run(&["publish"]).expect(1).explains(&["another name"]);
    project.configure(&format!("{url}?sslmode=disable"), "");
    project.run(&["publish"]).expect(1).explains(&["sslmode=require"]);
    Session::connect(&project.database().url()).query(&format!("DROP ROLE {user}"));
}
