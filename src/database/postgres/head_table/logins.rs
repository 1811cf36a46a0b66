//! Logins for the head. One that takes too long is given up by whoever wanted the connection, but the server goes on with
//! it, and it takes one of the server's connections, though no view shows that. So it goes on here too, in a task of its
//! own, until the server has said something or must have given it up, and who counts connections can wait for that.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::super::close;
use super::super::connect::{LONGEST_LOGIN, Refusal, Server};
use super::APPLICATION;
use crate::database::DatabaseError;

/// Those that are under way.
#[derive(Debug, Clone, Default)]
pub struct Logins(Arc<watch::Sender<usize>>);

/// One of them, until this is dropped.
struct Login(Arc<watch::Sender<usize>>);

impl Login {
    fn begin(logins: &Logins) -> Login {
        logins.0.send_modify(|count| *count += 1);
        Login(Arc::clone(&logins.0))
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Logins {
    /// Connects within this time. `hint` is for where nothing answers by then.
    pub async fn connect(&self, server: &Server, wait: Duration, hint: &'static str) -> Result<PgConnection, Refusal> {
        let refused = |error| Refusal { error, is_transient: false, was_open: false };
        let (tell, told) = oneshot::channel();
        let (login, to) = (Login::begin(self), server.clone());
        tokio::spawn(async move {
            let connected = to.connect(APPLICATION, wait.max(LONGEST_LOGIN), hint).await;
            if let Err(Ok(connection)) = tell.send(connected) {
                let _ = close(connection).await;
            }
            drop(login);
        });
        match timeout(wait, told).await {
            Ok(Ok(connected)) => connected,
            // The runtime ends.
            Ok(Err(_)) => Err(refused(DatabaseError::Stopped)),
            Err(_) => Err(refused(server.silent("no answer", wait, hint))),
        }
    }

    /// Comes back when none is under way.
    pub async fn over(&self) {
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}
