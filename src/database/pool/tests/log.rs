//! What a pool says in the log by itself.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::database::pool::events::Level;

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

/// What is logged meanwhile, as text.
fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    let lines = log.clone();
    let subscriber =
        tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(move || lines.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn usage_is_told_in_per_cent() {
    let said = logged(|| {
        Level::High.tell("serve", 7, 10);
        Level::Critical.tell("serve", 9, 10);
    });
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let figures = |checked_out, usage| format!("checked_out={checked_out} max_connections=10 usage_ratio={usage}");
    assert!(lines[0].contains("INFO") && lines[0].contains("db_pool_high_usage"), "{said}");
    assert!(lines[0].contains(&figures(7, "70.0")), "{said}");
    assert!(lines[1].contains("ERROR") && lines[1].contains("db_pool_critical_usage"), "{said}");
    assert!(lines[1].contains(&figures(9, "90.0")), "{said}");
}

#[test]
fn once_a_minute_it_says_how_it_is() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let watched = async {
        let database = Database::from_url("sqlite:data.db", Path::new("/")).unwrap();
        let pool = Pool::new(&database, settings(), "tintype/test/pool");
        tokio::time::sleep(Duration::from_secs(125)).await;
        drop(pool);
        tokio::time::sleep(Duration::from_mins(5)).await;
    };
    let said = logged(|| runtime.block_on(watched));
    let stats = said.lines().filter(|line| line.contains("db_pool_stats")).collect::<Vec<_>>();
    assert_eq!(stats.len(), 2, "{said}");
    assert!(stats[1].contains("pool=\"serve\" size=2 checked_out=0 overflow=0 checked_in=0 waiting=0"), "{said}");
    assert!(said.contains("db_pool_configured") && said.contains("pool_max_size=2"), "{said}");
}
