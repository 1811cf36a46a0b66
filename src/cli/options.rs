//! The options that every command takes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, ValueEnum};

use super::print;
use crate::config::FILE_NAME;

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Global {
    /// The config file.
    #[arg(short, long, global = true, value_name = "FILE", default_value = "tintype.toml", env = "TINTYPE_CONFIG")]
    pub config: PathBuf,
    /// How results are written to stdout.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Say nothing but errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for debugging.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Show no progress bar.
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Answer every question with yes.
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// End, as on SIGTERM, when stdin does: whoever holds its other end is gone.
    #[arg(long, global = true, hide = true)]
    pub stop_with_stdin: bool,
}

impl Global {
    /// Has messages name the config file in the commands they propose, unless every command finds it by itself.
    pub fn show_config(&self) {
        let is_known = |variable: OsString| Path::new(&variable) == self.config;
        if self.config != Path::new(FILE_NAME) && !std::env::var_os("TINTYPE_CONFIG").is_some_and(is_known) {
            print::set_config(&self.config);
        }
    }
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON document.
    Json,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
