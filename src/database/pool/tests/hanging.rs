//! A file whose folder hangs: whoever has nothing to do with it goes on, and so do its readers when it answers again.

use tokio::runtime::{Builder, Runtime};

use super::super::target::Target;
use super::*;

/// A runtime with one thread for what takes long.
fn narrow() -> Runtime {
    Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap()
}

/// A pool over a file.
fn pool(folder: &TempDir, settings: PoolSettings) -> Pool {
    std::fs::write(folder.path().join("data.db"), b"").unwrap();
    let database = Database::from_url("sqlite:data.db", folder.path()).unwrap();
    Pool::new(&database, settings, "tintype/test/hanging")
}

#[test]
fn a_file_is_asked_without_the_runtimes_threads() {
    let (runtime, folder) = (narrow(), tempfile::tempdir().unwrap());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let busy = tokio::task::spawn_blocking(move || wait.recv().is_ok());
        pool(&folder, settings()).begin().await.unwrap().finish().await.unwrap();
        assert!(!busy.is_finished());
        drop(go);
    });
}

#[test]
fn a_folder_that_hangs_holds_up_its_own_readers_alone() {
    let (runtime, folder) = (narrow(), tempfile::tempdir().unwrap());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let patience = Duration::from_millis(100);
        let read = ReadSettings { connect_timeout: patience * 2, ..settings().read };
        let pool = pool(&folder, PoolSettings { acquire_timeout: patience, read, ..settings() });
        patiently(&pool).await.finish().await.unwrap();
        let Target::File(file) = &pool.0.targets[0] else { panic!("it is a file") };
        file.hang(wait).await;
        // Until it is known: at first with the connection that lies ready, then with those that would be new.
        while pool.figures().refused < 20 {
            pool.begin().await.map(drop).unwrap_err();
        }
        let state = pool.state();
        assert!(state.in_use + state.closing <= state.max && state.idle == 0, "{state:?}");
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        drop(go);
        patiently(&pool).await.finish().await.unwrap();
        while pool.state().closing > 0 {
            tokio::task::yield_now().await;
        }
    });
}
