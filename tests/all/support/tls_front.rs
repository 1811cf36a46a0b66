//! TLS before a server that speaks none, with certificates that openssl makes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::postgres::runtime;
use super::skip::skip;

/// A front whose certificate names localhost and is signed by a CA of its own; it ends when dropped.
pub struct TlsFront {
    port: u16,
    folder: TempDir,
    accepting: JoinHandle<()>,
}

impl TlsFront {
    /// Before the server of this endpoint; none, and the test is noted as skipped, without openssl.
    pub fn before(endpoint: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            skip("there is no openssl");
            return None;
        }
        let folder = tempfile::tempdir().expect("make a folder for the certificates");
        make_certificates(folder.path());
        let acceptor = TlsAcceptor::from(Arc::new(server_config(folder.path())));
        let server: SocketAddr =
            endpoint.trim_start_matches("http://").parse().expect("the endpoint is an address on this machine");
        let listener = runtime().block_on(TcpListener::bind(("127.0.0.1", 0))).expect("listen");
        let port = listener.local_addr().expect("it has an address").port();
        let accepting = runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(acceptor.clone(), client, server));
            }
        });
        Some(Self { port, folder, accepting })
    }

    /// `https://localhost:port`.
    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The certificate of the CA that signed the front's.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The certificate of another CA.
    pub fn other_authority(&self) -> PathBuf {
        self.folder.path().join("other.crt")
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A client that doesn't trust the front ends the handshake, which is what the tests are about.
async fn forward(acceptor: TlsAcceptor, client: TcpStream, server: SocketAddr) {
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

fn server_config(folder: &Path) -> ServerConfig {
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.crt")).expect("read the certificate")];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("read the key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("ring speaks TLS");
    config.with_no_client_auth().with_single_cert(chain, key).expect("the key is the certificate's")
}

/// `ca.crt` and `other.crt`, and `server.crt` with its key, which the first of them has signed for localhost.
fn make_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let made =
            Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().expect("run openssl");
        assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
    };
    for ca in ["ca", "other"] {
        openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.crt \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
        ));
    }
    fs::write(folder.join("server.ext"), "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n")
        .expect("write the certificate's extensions");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr");
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out server.crt -extfile server.ext",
    );
}
