//! Logs on stderr: for people, or one JSON object a line.

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;

use crate::diagnostic::did_you_mean;
use crate::error::Error;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What to log, and how.
#[derive(Debug, Clone, Copy)]
pub struct Logging<'a> {
    /// -1 (`-q`) errors only, 0 warnings too, 1 (`-v`) what is done, 2 (`-vv`) why. Default 0.
    pub verbosity: i8,
    /// `TINTYPE_LOG`: a level or `module=level`, separated by commas; it outranks the verbosity.
    pub directives: Option<&'a str>,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Colours, in text.
    pub color: bool,
}

/// Starts logging, once a process; a second call changes nothing.
pub fn start(logging: Logging<'_>) -> Result<(), Error> {
    let builder = fmt().with_env_filter(filter(logging)?).with_writer(std::io::stderr);
    // Text carries no time: a terminal needs none, and journals and containers add their own.
    let _ = match logging.json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.without_time().with_target(false).with_ansi(logging.color).try_init(),
    };
    Ok(())
}

fn filter(logging: Logging<'_>) -> Result<EnvFilter, Error> {
    let level = match logging.verbosity {
        ..0 => "error",
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    // Libraries tell every step at these levels; their warnings are enough.
    let quiet = if level == "error" { "error" } else { "warn" };
    let own = format!("{quiet},tintype={level}");
    let given = logging.directives.filter(|given| !given.trim().is_empty()).unwrap_or(&own);
    let wrong =
        |reason: String| Error::usage(format!("TINTYPE_LOG: {reason}"), "write info, or tintype=debug,sqlx=info");
    // A lone word that isn't a level names a module, so a misspelt level would silence everything else.
    for word in given.split(',').map(str::trim) {
        if let Some(near) = did_you_mean(word, LEVELS).filter(|near| !near.eq_ignore_ascii_case(word)) {
            return Err(wrong(format!("`{word}` isn't a level; did you mean {near}?")));
        }
    }
    // sqlx logs every statement and, below a warning, its rows; the HTTP client warns of every answer that is none, which
    // is told anyway. What comes later in the list wins.
    EnvFilter::builder()
        .with_regex(false)
        .parse(format!("sqlx={quiet},aws_smithy_http_client=error,{given}"))
        .map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter_of(verbosity: i8, directives: Option<&str>) -> Result<String, Error> {
        filter(Logging { verbosity, directives, json: false, color: false }).map(|filter| filter.to_string())
    }

    #[test]
    fn libraries_stay_quiet_unless_asked() {
        assert_eq!(filter_of(-1, None).unwrap(), "aws_smithy_http_client=error,tintype=error,sqlx=error,error");
        assert_eq!(filter_of(0, Some("")).unwrap(), "aws_smithy_http_client=error,tintype=warn,sqlx=warn,warn");
        assert_eq!(filter_of(2, None).unwrap(), "aws_smithy_http_client=error,tintype=debug,sqlx=warn,warn");
        assert_eq!(
            filter_of(0, Some("tintype=trace,sqlx=debug")).unwrap(),
            "aws_smithy_http_client=error,tintype=trace,sqlx=debug"
        );
    }

    #[test]
    fn wrong_directives_are_refused() {
        assert!(filter_of(0, Some("inof")).unwrap_err().to_string().contains("did you mean info?"));
        assert!(filter_of(0, Some("tintype=loud")).unwrap_err().to_string().starts_with("TINTYPE_LOG: "));
    }
}
