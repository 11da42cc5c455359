//! One call of a command: what was typed, where the answer goes, and the way to the running agent.

use std::io::{self, Write};
use std::path::PathBuf;

use super::arguments::Options;
use super::client::{self, Client};
use super::error::Error;
use crate::config::{self, Loaded, Sources};
use crate::{logging, scrub};

/// What a command works with.
pub(super) struct Session<'a> {
    /// The name the program was called by.
    pub program: &'a str,
    pub options: Options,
    pub out: &'a mut dyn Write,
    /// Whether colour may be used: not turned off, and a terminal looks on.
    pub color: bool,
}

/// The colours of a result.
#[derive(Clone, Copy, Debug)]
pub(super) enum Color {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
}

impl Session<'_> {
    /// Where the configuration comes from.
    pub(super) fn sources(&self) -> Sources<'static> {
        Sources::of_process(self.options.value("cfgpath").map(PathBuf::from))
    }

    /// The configuration as a command needs it; what it has to say goes to the log on standard error.
    pub(super) fn load(&self) -> Result<Loaded, Error> {
        logging::start_for_command();
        let loaded = config::load_for_command(&self.sources())?;
        scrub::register_all(&loaded.config);
        for message in &loaded.messages {
            log::log!(message.level, "{}", message.text);
        }
        Ok(loaded)
    }

    /// A client for the running agent.
    pub(super) fn client(&self) -> Result<Client, Error> {
        Ok(Client::new(&self.load()?.config)?)
    }

    /// What the running agent answers to a `GET`. When nobody answers, the user is told on standard output too, with
    /// the advice of the command (spec cli §2.3).
    pub(super) fn get(&mut self, path: &str, purpose: &str) -> Result<String, Error> {
        let error = match self.client().and_then(|client| Ok(client.get(path)?)) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if let Error::Agent(cause) = &error
            && !matches!(cause, client::Error::Refused(_))
        {
            write!(
                self.out,
                "\n\t\tCould not reach agent: {cause}\n\t\t{purpose}\n\t\tContact support if you continue having issues."
            )?;
        }
        Err(error)
    }

    /// The text in this colour, where colour may be used.
    pub(super) fn paint(&self, color: Color, text: &str) -> String {
        if self.color { format!("\x1b[{}m{text}\x1b[0m", color as u8) } else { text.to_owned() }
    }
}

/// Prints an answer and sees that it ends with a line feed.
pub(super) fn print(out: &mut dyn Write, answer: &str) -> io::Result<()> {
    out.write_all(answer.as_bytes())?;
    if answer.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") }
}
