//! Which environment variables and ports a flow may name: none that steers the loader, a shell or an interpreter
//! before the cell's own code has its say.

use crate::findings::{Findings, shown};
use crate::problem::Code;
use crate::source::Span;

/// Exactly these.
const REFUSED: &[&str] = &[
    "PATH",
    "HOME",
    "IN",
    "OUT",
    "TMPDIR",
    "IFS",
    "ENV",
    "BASH_ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "PS4",
    "CDPATH",
    "GLOBIGNORE",
    "PROMPT_COMMAND",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "PYTHONUSERBASE",
    "PYTHONEXECUTABLE",
    "PYTHONPLATLIBDIR",
    "PYTHONBREAKPOINT",
    "PYTHONWARNINGS",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PERL5DB",
    "RUBYLIB",
    "RUBYOPT",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "CLASSPATH",
    "TCLLIBPATH",
    "AWKPATH",
    "AWKLIBPATH",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "GETCONF_DIR",
    "HOSTALIASES",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "MALLOC_TRACE",
    "GCC_EXEC_PREFIX",
    "COMPILER_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "LIBRARY_PATH",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
];

/// Everything that begins so.
const REFUSED_BEGINNINGS: &[&str] = &["LD_", "DYLD_", "GLIBC_", "POLYLOOM_", "BASH_FUNC_"];

fn refused(name: &str) -> bool {
    REFUSED.contains(&name) || REFUSED_BEGINNINGS.iter().any(|start| name.starts_with(start))
}

/// What every cell is given; not even a manifest may replace it.
const FIXED: &[&str] = &["PATH", "HOME", "IN", "OUT", "TMPDIR"];
const FIXED_BEGINNINGS: &[&str] = &["LD_", "DYLD_", "POLYLOOM_"];

pub(crate) fn fixed(name: &str) -> bool {
    FIXED.contains(&name) || FIXED_BEGINNINGS.iter().any(|start| name.starts_with(start))
}

/// Who names a variable: a manifest knows its interpreter and may steer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Flow,
    Manifest,
}

/// Checks the name of an environment variable.
pub(crate) fn check_variable(findings: &mut Findings, name: &str, span: &Span, by: By) {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || name.len() > 256 {
        let message = format!("`{}` is not the name of an environment variable", shown(name));
        findings.error(Code::BadName, span, message, "").help("valid: [A-Za-z_][A-Za-z0-9_]*");
    } else if by == By::Flow && refused(name) {
        let message = format!("the environment variable `{name}` can't be set by a flow");
        findings
            .error(Code::RefusedName, span, message, "steers the system")
            .help("choose another name; the program of an executor is set in `[executors.ID]`");
    } else if by == By::Manifest && fixed(name) {
        let message = format!("the environment variable `{name}` can't be set by a manifest");
        findings
            .error(Code::RefusedName, span, message, "")
            .help("every cell is given its own; use another name or an argument");
    }
}

/// Checks the name of a port: programs see it as a variable.
pub(crate) fn check_port(findings: &mut Findings, name: &str, span: &Span) -> bool {
    let refused = refused(name);
    if refused {
        let message = format!("the port name `{name}` is a variable that programs obey");
        findings.error(Code::RefusedName, span, message, "").help("choose another name");
    }
    !refused
}
