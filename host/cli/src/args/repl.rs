//! `repl` as it may be typed.

use clap::Args;

use super::PermissionArgs;

// `repl`.
#[derive(Debug, Args, Clone)]
pub struct ReplArgs {
    /// The language to begin with; `%lang` goes on in another. Without it that of `--session`, where there is such a session, else python. Its program is the one that the flow in this folder names in `[executors.ID]`, if it does.
    #[arg(long, value_name = "LANG")]
    pub lang: Option<String>,
    /// A session that the daemon keeps: of the flow in this folder, or of the folder. A daemon is started where there is none.
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// What is typed may do just what these flags name.
    #[command(flatten)]
    pub permissions: PermissionArgs,
}
