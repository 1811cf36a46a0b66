//! A SQLite file under whose name somebody puts another one: the next lease reads that.

use super::*;

/// Writes a file with so many rows.
async fn write(path: &Path, rows: u32) {
    use sqlx::{Connection as _, Executor as _};
    let url = format!("sqlite:{}?mode=rwc", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    connection.execute("CREATE TABLE t (n INTEGER)").await.unwrap();
    for _ in 0..rows {
        connection.execute("INSERT INTO t VALUES (1)").await.unwrap();
    }
    connection.close().await.unwrap();
}

/// The rows of what is read.
async fn rows(pool: &Pool) -> u64 {
    let mut lease = pool.begin().await.unwrap();
    let (rows, _read) = mpsc::channel(8);
    let statement = bound("SELECT n FROM t WHERE n > $1", Bind::Integer(0));
    let count = lease.transaction().read(&statement, &rows).await.unwrap();
    lease.finish().await.unwrap();
    count
}

#[tokio::test]
async fn a_file_that_was_replaced_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, new) = (folder.path().join("data.db"), folder.path().join("new.db"));
    write(&path, 1).await;
    let pool = Pool::new(&Database::from_url("sqlite:data.db", folder.path()).unwrap(), settings(), "tintype/test");
    assert_eq!((rows(&pool).await, rows(&pool).await), (1, 1));
    assert_eq!(pool.figures().opened, 1);
    write(&new, 2).await;
    std::fs::rename(&new, &path).unwrap();
    assert_eq!((rows(&pool).await, rows(&pool).await), (2, 2));
    assert_eq!(pool.figures().opened, 2, "once");
    std::fs::remove_file(&path).unwrap();
    let gone = pool.begin().await.map(drop).unwrap_err().to_string();
    assert!(gone.contains("there is no such file"), "{gone}");
}
