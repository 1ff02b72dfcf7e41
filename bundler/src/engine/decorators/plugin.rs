//! Lowers decorators when Rolldown has put a bundle together: after TypeScript and tree shaking, before it is minified.

use std::borrow::Cow;
use std::fs;
use std::sync::{Mutex, PoisonError};

use oxc::diagnostics::LabeledSpan;
use oxc_span::SourceType;
use rolldown::plugin::{
    HookRenderChunkArgs, HookRenderChunkOutput, HookRenderChunkReturn, HookTransformOutputMap,
    HookUsage, Plugin, PluginContext,
};
use rolldown_common::RollupRenderedChunk;
use rolldown_error::{BuildDiagnostic, EventKind};

use super::{Refusal, lower};
use crate::bundle::Problem;
use crate::engine::problems::Shown;

/// Lowers decorators, and remembers those that it cannot lower.
#[derive(Debug, Default)]
pub(in crate::engine) struct Lowering {
    refused: Mutex<Vec<Refused>>,
}

/// What could not be lowered.
#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    /// With the place, if its source was found.
    diagnostic: Option<BuildDiagnostic>,
}

impl Lowering {
    /// What could not be lowered.
    pub(in crate::engine) fn take_problems(&self, shown: &Shown<'_>) -> Vec<Problem> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let problem = |it: Refused| Problem {
            help: it.refusal.help,
            ..match it.diagnostic {
                Some(diagnostic) => shown.problem(&diagnostic),
                None => Problem::plain(it.refusal.message),
            }
        };
        refused.drain(..).map(problem).collect()
    }
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
                let refused = refusals.into_iter().map(|refusal| Refused {
                    diagnostic: diagnostic(&refusal, &args.chunk),
                    refusal,
                });
                let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(refused);
                // The bundle is given up for these; what becomes of the text does not matter.
                Ok(None)
            }
        }
    }
}

/// Looks for the source of a refusal among those of the bundle.
fn diagnostic(refusal: &Refusal, chunk: &RollupRenderedChunk) -> Option<BuildDiagnostic> {
    chunk.module_ids.iter().find_map(|id| {
        let id = id.as_str();
        let source_type = SourceType::from_path(id).ok()?;
        let source = fs::read_to_string(id).ok()?;
        let at = refusal.find(&source, source_type)?;
        let label = LabeledSpan::new(None, at, 1);
        Some(BuildDiagnostic::oxc_error(
            source.into(),
            id.to_owned(),
            String::new(),
            refusal.message.clone(),
            vec![label],
            EventKind::UnsupportedFeatureError,
        ))
    })
}
