//! What a pool says in the log by itself.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn once_a_minute_it_says_how_it_is() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber =
        tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(move || lines.clone()).finish();
    let _capture = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let database = Database::from_url("sqlite:data.db", Path::new("/")).unwrap();
        let pool = Pool::new(&database, settings(), "tintype/test/pool");
        tokio::time::sleep(Duration::from_secs(125)).await;
        drop(pool);
        tokio::time::sleep(Duration::from_mins(5)).await;
    });
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let stats = said.lines().filter(|line| line.contains("db_pool_stats")).collect::<Vec<_>>();
    assert_eq!(stats.len(), 2, "{said}");
    assert!(stats[1].contains("pool=\"serve\" size=2 checked_out=0 overflow=0 checked_in=0 waiting=0"), "{said}");
    assert!(said.contains("db_pool_configured") && said.contains("pool_max_size=2"), "{said}");
}
