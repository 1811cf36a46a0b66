//! A SQLite file under whose name somebody puts another one: the next lease reads that.

use super::*;

/// Writes a file that holds this number.
async fn write(path: &Path, number: u32) {
    use sqlx::{Connection as _, Executor as _};
    let url = format!("sqlite:{}?mode=rwc", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let sql = format!("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES ({number})");
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}

async fn number(pool: &Pool) -> String {
    let mut lease = pool.begin().await.unwrap();
    let statement = Statement::verbatim("SELECT CAST(n AS TEXT) AS n FROM t");
    let numbers = lease.transaction().text_rows(&statement, "n").await.unwrap();
    lease.finish().await.unwrap();
    numbers.concat()
}

#[tokio::test]
async fn a_file_that_was_replaced_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, new) = (folder.path().join("data.db"), folder.path().join("new.db"));
    write(&path, 1).await;
    let pool = Pool::new(&Database::from_url("sqlite:data.db", folder.path()).unwrap(), settings(), "tintype/test");
    assert_eq!((number(&pool).await, number(&pool).await), ("1".to_owned(), "1".to_owned()));
    assert_eq!(pool.figures().opened, 1);
    write(&new, 2).await;
    std::fs::rename(&new, &path).unwrap();
    assert_eq!((number(&pool).await, number(&pool).await), ("2".to_owned(), "2".to_owned()));
    assert_eq!(pool.figures().opened, 2, "once");
    std::fs::remove_file(&path).unwrap();
    let gone = pool.begin().await.map(drop).unwrap_err().to_string();
    assert!(gone.contains("there is no such file"), "{gone}");
}
