//! Connections for the head that were given up. One whose login or answer takes too long is given up by whoever wanted it,
//! but the server goes on with it, and it takes one of the server's connections, though no view may show that. So it goes
//! on here too, in a task of its own, until the server has said something or must have given it up, and who counts
//! connections can wait for that.

use std::sync::Arc;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, PgRow};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use super::super::connect::{LONGEST_LOGIN, Refusal, Server};
use super::super::{close, hear};
use super::APPLICATION;
use crate::database::{DatabaseError, silence};

/// Those that the server may still have.
#[derive(Debug, Clone)]
pub struct Outstanding {
    count: Arc<watch::Sender<usize>>,
    /// For one that counts no longer, and on which the server still keeps silent.
    beside: Arc<Semaphore>,
}

/// One of them, until this is dropped.
struct One(Arc<watch::Sender<usize>>);

impl Default for Outstanding {
    fn default() -> Outstanding {
        Outstanding { count: Arc::default(), beside: Arc::new(Semaphore::new(1)) }
    }
}

impl One {
    fn of(outstanding: &Outstanding) -> One {
        outstanding.count.send_modify(|count| *count += 1);
        One(Arc::clone(&outstanding.count))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Outstanding {
    /// Connects within this time. `hint` is for where nothing answers by then.
    pub async fn connect(&self, server: &Server, wait: Duration, hint: &'static str) -> Result<PgConnection, Refusal> {
        let refused = |error| Refusal { error, is_transient: false, was_open: false };
        let (tell, told) = oneshot::channel();
        let (login, to) = (One::of(self), server.clone());
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

    /// Sends one message over a connection, and closes it. None if there was no answer within this time.
    pub async fn exchange(
        &self,
        mut connection: PgConnection,
        message: String,
        wait: Duration,
    ) -> Option<Result<Vec<PgRow>, sqlx::Error>> {
        let (tell, told) = oneshot::channel();
        let (one, beside) = (One::of(self), Arc::clone(&self.beside));
        tokio::spawn(async move {
            let asked = sqlx::raw_sql(AssertSqlSafe(message)).fetch_all(&mut connection);
            if let Ok(answer) = timeout(wait, asked).await {
                // What was answered is known, whatever becomes of the connection.
                let _ = close(connection).await;
                let _ = tell.send(answer);
            } else {
                drop(tell);
                let word = async { drop(hear(&mut connection).await) };
                silence::keep(word, one, false, beside).await;
                let _ = close(connection).await;
            }
        });
        told.await.ok()
    }

    /// Comes back when there are none.
    pub async fn over(&self) {
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}
