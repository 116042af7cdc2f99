//! The command line of permissions and policies.

use clap::{Args, ValueEnum};
use polyloom_model::{Permission, Preset};

// What cells may do beyond their inputs, and how well they must be confined.
#[derive(Debug, Args, Clone, Default)]
#[command(next_help_heading = "Permissions")]
pub struct PermissionArgs {
    /// Grant all that cells ask for.
    #[arg(short = 'A', long)]
    pub allow_all: bool,
    /// Grant reaching hosts: `example.com:443`, `example.com`, `*.example.com:443`, `10.0.0.0/8`; without a value, all that is asked for.
    #[arg(long, value_name = "HOST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_net: Vec<String>,
    /// Grant reading files and folders.
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_read: Vec<String>,
    /// Grant changing files and folders.
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_write: Vec<String>,
    /// Grant variables of your environment; `AWS_*` is all that begin so.
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_env: Vec<String>,
    /// Grant programs outside of the system's folders.
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_run: Vec<String>,
    /// Grant running this very command for a secret: on this machine, as you, outside of any sandbox. `-A` has it not.
    #[arg(long, value_name = "COMMAND")]
    pub allow_cmd: Vec<String>,
    /// Deny hosts, also where they are granted; without a value, all.
    #[arg(long, value_name = "HOST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub deny_net: Vec<String>,
    /// Deny reading.
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub deny_read: Vec<String>,
    /// Deny changing.
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub deny_write: Vec<String>,
    /// Deny variables.
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub deny_env: Vec<String>,
    /// Deny programs.
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub deny_run: Vec<String>,
    /// Ask nothing: what is not granted by flags, or was for good, is refused.
    #[arg(long)]
    pub no_prompt: bool,
    /// How well cells must be confined, whatever the flow says.
    #[arg(long, value_enum, value_name = "POLICY")]
    pub policy: Option<PolicyArg>,
    /// The least level of a mechanism of the sandbox: `memory=full`.
    #[arg(long, value_name = "MECHANISM=LEVEL")]
    pub enforce: Vec<String>,
}

impl PermissionArgs {
    /// What was given to `--allow-KIND`.
    pub fn allowed(&self, kind: Permission) -> &[String] {
        match kind {
            Permission::Net => &self.allow_net,
            Permission::Read => &self.allow_read,
            Permission::Write => &self.allow_write,
            Permission::Env => &self.allow_env,
            Permission::Run => &self.allow_run,
        }
    }

    /// What was given to `--deny-KIND`.
    pub fn denied(&self, kind: Permission) -> &[String] {
        match kind {
            Permission::Net => &self.deny_net,
            Permission::Read => &self.deny_read,
            Permission::Write => &self.deny_write,
            Permission::Env => &self.deny_env,
            Permission::Run => &self.deny_run,
        }
    }
}

/// `--policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    /// Every limit held by the kernel, nothing granted, no shared channel that can be closed.
    Strict,
    /// What keeps cells from this machine is required whole.
    Default,
    /// All that this machine can do, and nothing is required: for code of your own.
    Trusted,
}

impl From<PolicyArg> for Preset {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Strict => Self::Strict,
            PolicyArg::Default => Self::Default,
            PolicyArg::Trusted => Self::Trusted,
        }
    }
}
