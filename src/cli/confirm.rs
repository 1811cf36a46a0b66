//! Questions: asked on a terminal, and never where nobody is there to answer.

use std::io::{BufRead as _, IsTerminal as _};

use super::context::Context;
use super::print::{self, styled};
use crate::error::Error;

/// Asks whether to go on. `--yes` answers for good; without a terminal nobody can, and that is an error that says so.
pub fn confirm(context: &Context, question: &str) -> Result<(), Error> {
    if context.global.yes {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Error::usage(
            format!("to {question} needs a yes, and there is no terminal to ask on"),
            "give --yes",
        ));
    }
    print::prompt(&format!("{} {question}? [y/N] ", styled(print::YELLOW, "?")));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Error::usage("nothing was done, because the answer wasn't yes", "answer y, or give --yes")),
    }
}
