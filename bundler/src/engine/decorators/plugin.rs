//! Lowers decorators when Rolldown has put a bundle together: after TypeScript and tree shaking, before it is minified.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use oxc_span::SourceType;
use rolldown::plugin::{
    HookRenderChunkArgs, HookRenderChunkOutput, HookRenderChunkReturn, HookTransformOutputMap,
    HookUsage, Plugin, PluginContext,
};

use super::{Refusal, lower};
use crate::bundle::Problem;
use crate::engine::problems::Shown;

/// Lowers decorators, and remembers those that it cannot lower.
#[derive(Debug, Default)]
pub(in crate::engine) struct Lowering {
    refused: Mutex<Refused>,
}

/// What could not be lowered, and the sources among which it is.
#[derive(Debug, Default)]
struct Refused {
    refusals: Vec<Refusal>,
    sources: Vec<PathBuf>,
}

impl Lowering {
    /// What could not be lowered.
    pub(in crate::engine) fn take_problems(&self, shown: &Shown) -> Vec<Problem> {
        let refused =
            std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner));
        let problem = |it: Refusal| {
            let problem = refused
                .sources
                .iter()
                .find_map(|path| problem(&it, path, shown));
            let problem = problem.unwrap_or_else(|| Problem::plain(it.message));
            problem.with_help(it.help)
        };
        refused.refusals.into_iter().map(problem).collect()
    }
}

/// The refusal at its place, if it is in that source.
fn problem(refusal: &Refusal, path: &Path, shown: &Shown) -> Option<Problem> {
    let source_type = SourceType::from_path(path).ok()?;
    let source = fs::read_to_string(path).ok()?;
    let at = refusal.find(&source, source_type)?;
    Some(shown.at(path, &source, at as usize, refusal.message.clone()))
}

impl Plugin for Lowering {
    fn name(&self) -> Cow<'static, str> {
        "decorators".into()
    }

    fn register_hook_usage(&self) -> HookUsage {
        HookUsage::RenderChunk
    }

    async fn render_chunk(
        &self,
        _ctx: &PluginContext,
        args: &HookRenderChunkArgs<'_>,
    ) -> HookRenderChunkReturn {
        match lower(&args.code) {
            Ok(None) => Ok(None),
            Ok(Some(lowered)) => {
                let wanted = args.options.is_sourcemap_enabled();
                Ok(Some(HookRenderChunkOutput {
                    code: lowered.code(),
                    map: HookTransformOutputMap::from_if_enabled(wanted, || lowered.map()),
                }))
            }
            Err(refusals) => {
                let sources = args.chunk.module_ids.iter();
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.refusals.extend(refusals);
                refused
                    .sources
                    .extend(sources.map(|id| PathBuf::from(id.as_str())));
                // The bundle is given up for these; what becomes of the text does not matter.
                Ok(None)
            }
        }
    }
}
