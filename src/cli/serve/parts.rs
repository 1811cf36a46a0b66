//! What a server is made of: the store, and pools to the databases behind it.

use std::sync::Arc;

use super::super::context::{Project, run_id};
use crate::config::{HeadConfig, TablePlace};
use crate::database::{Database, Pool};
use crate::error::Error;
use crate::fallback::{Folder, Parts, Table};
use crate::release::table_site;

/// The pool of the fallback table, where that isn't the database's.
const TABLE: &str = "table";

/// Opens what the config names; no connection yet.
pub fn parts(project: &Project) -> Result<Parts, Error> {
    let config = &project.config;
    let database = config.database.url.is_some().then(|| project.database()).transpose()?;
    let application = format!("tintype/serve/{}", run_id());
    let pool_of = |database: &Database, name| {
        let mut settings = config.database.serve.pool_settings(name);
        if name == TABLE {
            settings.read.settings.clear();
        }
        Pool::new(database, settings, &application)
    };
    let pool = database.as_ref().map(|database| pool_of(database, "serve"));
    let place = match &config.fallback.table {
        TablePlace::Off | TablePlace::None => None,
        TablePlace::File(path) => Some(Database::Sqlite(path.clone())),
        TablePlace::Database(url) => Some(Database::from_url(url.expose(), &config.folder)?),
    };
    let is_found = |place| database.as_ref().is_some_and(|database| config.database.serve.finds_table(database, place));
    let has_table_pool = place.as_ref().is_some_and(|place| !is_found(place));
    let table = match (&place, project.table()?) {
        (Some(place), Some(table)) => {
            let own = if has_table_pool { None } else { pool.clone() };
            let site = table_site(&project.store, &table);
            let file = match place {
                Database::Sqlite(file) => Some(file.clone()),
                Database::Postgres(_) => None,
            };
            Some(Table { pool: own.unwrap_or_else(|| pool_of(place, TABLE)), site, file })
        }
        _ => None,
    };
    let pools = [(database, pool.clone()), (place, table.as_ref().map(|table| table.pool.clone()))];
    let head_pool = head_pool(project, pools)?;
    let (store, templates) = (Arc::clone(&project.store), project.templates.clone());
    let folder = Folder { path: config.paths.templates.clone(), shown: config.paths.templates_shown.clone() };
    Ok(Parts { store, templates, folder, pool, table, has_table_pool, head_pool })
}

/// The first of some pools that is to the server that keeps the head of the store: a connection for the head counts
/// among its own.
fn head_pool(project: &Project, pools: [(Option<Database>, Option<Pool>); 2]) -> Result<Option<Pool>, Error> {
    let HeadConfig::Database(url) = &project.config.store.head else { return Ok(None) };
    let head = Database::from_url(url.expose(), &project.config.folder)?;
    let is_its = |place: &Option<Database>| place.as_ref().is_some_and(|place| place.is_on_server_of(&head));
    Ok(pools.into_iter().find_map(|(place, pool)| pool.filter(|_| is_its(&place))))
}
