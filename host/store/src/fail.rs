//! Places where a test may end the process, in debug builds only: the store is killed at every step of every operation, and has to be in
//! its old state or in its new one.

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;

    type Hook = Box<dyn Fn(&'static str) + Send + Sync>;

    static HOOK: OnceLock<Hook> = OnceLock::new();

    /// Calls `hook` with the name of every place that is passed, from now on.
    #[doc(hidden)]
    pub fn arm(hook: impl Fn(&'static str) + Send + Sync + 'static) {
        let _ = HOOK.set(Box::new(hook));
    }

    pub(crate) fn point(name: &'static str) {
        if let Some(hook) = HOOK.get() {
            hook(name);
        }
    }
}

#[cfg(debug_assertions)]
pub use armed::arm;
#[cfg(debug_assertions)]
pub(crate) use armed::point;

#[cfg(not(debug_assertions))]
pub(crate) fn point(_: &'static str) {}
