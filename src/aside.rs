//! Threads of their own for what a folder may keep waiting for good: a disk that hangs, a share whose server is gone.
//!
//! Such a read can't be given up; whoever began it waits until the system answers. On the threads that answer readers it
//! would stop everything, and among the runtime's helpers it would take those that the documents of the database need. So
//! there are some for it alone, as many as may ever be asked for, and what hangs in them keeps the process from nothing,
//! its end included.

use tokio::runtime::{Builder, Runtime};

/// The threads.
#[derive(Debug)]
pub struct Aside(Option<Runtime>);

impl Aside {
    /// So many at most, each made when it is needed.
    pub fn new(threads: usize) -> Aside {
        Aside(Builder::new_current_thread().max_blocking_threads(threads).thread_name("tintype-folder").build().ok())
    }

    /// Does something in one of them. It goes on there when nobody waits for it any more. None if it panicked, or the
    /// system gives no thread.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.0.as_ref()?.spawn_blocking(work).await.ok()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Nothing is waited for.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
