//! stub
use crate::problem::Problem;
use crate::source::Source;
use crate::tree::Node;
use std::sync::Arc;
pub(crate) struct Fence;
pub(crate) fn comment_leader() {}
pub(crate) fn fences() {}
pub(crate) fn read(_source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    Err(Vec::new())
}
