//! What the terminal is and what its user wants to see on it. Whoever builds this has looked at the environment.

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Live on a terminal, else plain.
    Auto,
    /// One line for every step that ends.
    Plain,
    /// Live, also where `tty` is false.
    Tty,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Failures only.
    Quiet,
    /// Steps, what cells print up to a measure, the summary.
    Normal,
    /// Also cached and skipped steps, starts, artifacts, and more of what cells print.
    Verbose,
    /// Also debug messages.
    Debug,
}

/// Gives the lines of a source file around a line, to be shown with a failure: the file as a diagnostic names it, the
/// first line wanted and how many; fewer or none are fine.
pub type SourceLines = Box<dyn Fn(&str, u32, u32) -> Vec<String> + Send>;

/// Gives the command that opens a prompt where a cell ran, by its name and its language; nothing where there can be none.
pub type Prompt = Box<dyn Fn(&str, &str) -> Option<String> + Send>;

/// What the terminal is and what the user wants to see on it.
pub struct Options {
    /// Whether the writer is a terminal.
    pub tty: bool,
    /// Whether colours are wanted.
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// How much is said.
    pub verbosity: Verbosity,
    /// How progress is shown.
    pub progress: Progress,
    /// Where source lines come from; without it failures show none.
    pub source: Option<SourceLines>,
    /// Which command opens a cell that failed; without it none is named.
    pub prompt: Option<Prompt>,
    /// The project's folder as commands name it, where it is not the one the user is in.
    pub project: Option<String>,
    /// The run's id, for who does not see its first event.
    pub run: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tty: false,
            color: false,
            width: 80,
            verbosity: Verbosity::Normal,
            progress: Progress::Auto,
            source: None,
            prompt: None,
            project: None,
            run: None,
        }
    }
}
