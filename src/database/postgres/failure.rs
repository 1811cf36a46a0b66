//! What PostgreSQL, a pooler or TLS say when something fails, as an error for the person who must act.

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use super::connect::Server;
use crate::database::DatabaseError;
use crate::database::error::TOO_SLOW;

/// An error while a connection is made, or before its transaction has begun.
pub fn connect_error(server: &Server, error: &sqlx::Error) -> DatabaseError {
    let reason = message(error);
    let sqlstate =
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned);
    let hint = pooler_hint(&reason)
        .or_else(|| tls_hint(&reason))
        .unwrap_or_else(|| hint(sqlstate.as_deref(), error, &reason))
        .to_owned();
    DatabaseError::Connect { server: server.describe(), reason, sqlstate, hint }
}

fn hint(sqlstate: Option<&str>, error: &sqlx::Error, reason: &str) -> &'static str {
    match (sqlstate, error) {
        (Some("28P01" | "28000"), _) => {
            "check user and password; the password may come from DATABASE_URL, TINTYPE_DATABASE_URL_FILE or ~/.pgpass"
        }
        (Some("3D000"), _) => "check the database's name at the end of the URL",
        (Some("53300"), _) => {
            "the server has no connection free; tintype needs one: `tintype db connections` shows who holds them, with the URL \
             of a superuser if nobody else is let in"
        }
        (Some("57P03"), _) => {
            "the server is starting or stopping; a build waits for as long as [database.build] acquire_timeout says"
        }
        // PgBouncer gives this one code to all that it has to say, wrong passwords included.
        (Some("08P01"), _) if reason.contains("authentication failed") || reason.contains("no such user") => {
            "check user and password, and the pooler's own list of users (auth_file or auth_query)"
        }
        (Some(_), _) => "see the server's log",
        (None, sqlx::Error::Tls(_)) => "sslmode and sslrootcert in the URL say how the server proves who it is",
        (None, _) => "is the server up, and are host and port right?",
    }
}

/// What to do about an error that PgBouncer makes; it gives nearly all of them one SQLSTATE, so this goes by the words.
fn pooler_hint(reason: &str) -> Option<&'static str> {
    let hints = [
        ("no more connections allowed", "the pooler's max_client_conn is reached: raise it, or see its SHOW CLIENTS"),
        (
            "query_wait_timeout",
            "the pooler had no server connection free: give tintype a [databases] entry with a pool_size of its own, or raise default_pool_size",
        ),
        (
            "server_login_retry",
            "the pooler can't log in to its PostgreSQL server: see the pooler's log, and is that server up?",
        ),
        (
            "cannot connect to server",
            "the pooler can't reach its PostgreSQL server: see the pooler's log, and is that server up?",
        ),
        (
            "server login failed",
            "the pooler reaches its PostgreSQL server and is refused there: see the pooler's log and its user's password",
        ),
        (
            "transaction blocks not allowed",
            "the pooler is in statement mode: pool_mode = transaction or session for tintype's [databases] entry",
        ),
        ("no such database", "the pooler has no such name in [databases] of pgbouncer.ini"),
        (
            "unsupported startup parameter: options",
            "PGOPTIONS is set in the environment, and a pooler refuses it: unset it, and use [database.build] settings, for `serve` [database.serve] settings",
        ),
        ("unsupported startup parameter", "add the parameter to ignore_startup_parameters in pgbouncer.ini"),
    ];
    hints.into_iter().find(|(words, _)| reason.contains(words)).map(|(_, hint)| hint)
}

/// What to do about an error of the TLS handshake; rustls' own words name the reason.
fn tls_hint(reason: &str) -> Option<&'static str> {
    let hints = [
        (
            "server does not support TLS",
            "the server has ssl = off: switch it on, or write sslmode=disable where the network in between is trusted",
        ),
        (
            "UnknownIssuer",
            "the server's certificate isn't signed by a CA that is trusted here: name the right CA's file, sslrootcert=/path/ca.crt",
        ),
        (
            "not valid for",
            "the certificate was made for another name: write the host as the certificate names it into the URL, have it made anew, or check the CA only, sslmode=verify-ca",
        ),
        (
            "NotValidForName",
            "the certificate was made for another name: write the host as the certificate names it into the URL, have it made anew, or check the CA only, sslmode=verify-ca",
        ),
        ("Expired", "the server's certificate has expired, or this machine's clock is wrong"),
        ("expired", "the server's certificate has expired, or this machine's clock is wrong"),
        (
            "CaUsedAsEndEntity",
            "the server shows a CA's certificate as its own: sign one for the server with the CA, and name the CA in sslrootcert",
        ),
        (
            "received fatal alert",
            "the server refused the client's certificate: check sslcert and sslkey, and ssl_ca_file on the server",
        ),
        (
            "client certificate",
            "the server asks for a client certificate: sslcert=/path/client.crt&sslkey=/path/client.key, signed by the server's ssl_ca_file",
        ),
        (
            "no encryption",
            "the server's pg_hba.conf may want TLS from here: write sslmode=require or, better, verify-full",
        ),
        ("SSL required", "the pooler wants TLS: write sslmode=require or, better, verify-full"),
    ];
    hints.into_iter().find(|(words, _)| reason.contains(words)).map(|(_, hint)| hint)
}

/// True for what may be over in a moment: a server that restarts, or has no connection free just now.
pub fn is_transient(error: &sqlx::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            // Without a server there is no Unix socket either.
            ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::UnexpectedEof
                | ErrorKind::BrokenPipe
                | ErrorKind::NotFound
        ),
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("53300" | "57P01" | "57P02" | "57P03") => true,
            Some(code) if code.starts_with("08") => {
                let passing =
                    ["no more connections", "query_wait_timeout", "server_login_retry", "cannot connect to server"];
                passing.iter().any(|words| error.message().contains(words))
            }
            _ => false,
        },
        _ => false,
    }
}

/// The words of an error, without sqlx's own around them.
pub fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// An error of a statement in the transaction; `text` is the statement's, for the position in it.
pub fn statement_error(error: &sqlx::Error, text: &str) -> DatabaseError {
    let sqlx::Error::Database(database) = error else {
        return DatabaseError::Lost { reason: message(error) };
    };
    let Some(server) = database.try_downcast_ref::<PgDatabaseError>() else {
        return DatabaseError::Statement {
            message: database.message().to_owned(),
            sqlstate: None,
            position: None,
            hint: None,
        };
    };
    let code = server.code();
    // Nothing else in a read-only transaction gives a serialization failure or, on a standby, a deadlock.
    if code == "40001" || (code == "40P01" && server.message().contains("conflict with recovery")) {
        return DatabaseError::Conflict { reason: format!("{} (SQLSTATE {code})", server.message()) };
    }
    // Class 57 with P: the server ends the session (admin shutdown, crash of another backend, a dropped database).
    if code.starts_with("57P") || code.starts_with("08") {
        return DatabaseError::Lost { reason: format!("{} (SQLSTATE {code})", server.message()) };
    }
    let position = match server.position() {
        Some(PgErrorPosition::Original(character)) => {
            text.char_indices().nth(character.saturating_sub(1)).map(|(at, _)| at)
        }
        _ => None,
    };
    let hint = match code {
        "57014" => Some(TOO_SLOW.to_owned()),
        _ => server.hint().or(server.detail()).map(ToOwned::to_owned),
    };
    DatabaseError::Statement { message: server.message().to_owned(), sqlstate: Some(code.to_owned()), position, hint }
}
