//! Filters written in Rust: a safe trait behind the same tables.
//!
//! Room: drivers/fltmgr. Called by: `sdk`, built-in filters. IRQL: as callbacks. Locks: none.

use crate::altitude::Altitude;
use crate::context::{self, Context, ContextSpec};
use crate::data::CallbackData;
use crate::filter::{Filter, FltMgr, Instance, Operation, Registration, Routines};
use nt_abi::flt::*;
use nt_abi::{NtResult, NtStatus};
use nt_io::irp::IoStatus;
use nt_ke::Kernel;
use std::sync::Arc;

/// What a pre-operation callback answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PreOp {
    /// FLT_PREOP_SUCCESS_WITH_CALLBACK, with a completion context for the own post callback.
    WithCallback(u64),
    /// FLT_PREOP_SUCCESS_NO_CALLBACK.
    NoCallback,
    /// FLT_PREOP_COMPLETE, with the final status.
    Complete(IoStatus),
    /// FLT_PREOP_DISALLOW_FASTIO.
    DisallowFastIo,
    /// FLT_PREOP_DISALLOW_FSFILTER_IO, of IRP_MJ_QUERY_OPEN.
    DisallowFsFilterIo,
    /// FLT_PREOP_PENDING: [`crate::generated::complete_pended_pre`] resumes.
    Pending,
    /// FLT_PREOP_SYNCHRONIZE.
    Synchronize(u64),
}

/// What a post-operation callback answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PostOp {
    /// FLT_POSTOP_FINISHED_PROCESSING.
    Finished,
    /// FLT_POSTOP_MORE_PROCESSING_REQUIRED: [`crate::generated::complete_pended_post`] resumes.
    MoreProcessing,
    /// FLT_POSTOP_DISALLOW_FSFILTER_IO, of IRP_MJ_QUERY_OPEN.
    DisallowFsFilterIo,
}

impl PreOp {
    /// What a compiled filter's callback would return, and its completion context; a status goes into `data`.
    pub(crate) fn told(self, data: CallbackData) -> (u32, u64) {
        match self {
            Self::WithCallback(context) => (FLT_PREOP_SUCCESS_WITH_CALLBACK, context),
            Self::NoCallback => (FLT_PREOP_SUCCESS_NO_CALLBACK, 0),
            Self::Complete(result) => {
                data.set_status(result);
                (FLT_PREOP_COMPLETE, 0)
            }
            Self::DisallowFastIo => (FLT_PREOP_DISALLOW_FASTIO, 0),
            Self::DisallowFsFilterIo => (FLT_PREOP_DISALLOW_FSFILTER_IO, 0),
            Self::Pending => (FLT_PREOP_PENDING, 0),
            Self::Synchronize(context) => (FLT_PREOP_SYNCHRONIZE, context),
        }
    }
}

impl PostOp {
    /// What a compiled filter's callback would return.
    pub(crate) fn told(self) -> u32 {
        match self {
            Self::Finished => FLT_POSTOP_FINISHED_PROCESSING,
            Self::MoreProcessing => FLT_POSTOP_MORE_PROCESSING_REQUIRED,
            Self::DisallowFsFilterIo => FLT_POSTOP_DISALLOW_FSFILTER_IO,
        }
    }
}

/// A filter.
pub trait MiniFilter: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &str;
    /// Its altitude.
    fn altitude(&self) -> &str;
    /// The majors it wants: {IRP_MJ_*, FLTFL_OPERATION_REGISTRATION_* flags}.
    fn operations(&self) -> Vec<(u8, u32)>;
    /// The pre-operation callback.
    fn pre_operation(&self, _data: CallbackData) -> PreOp {
        PreOp::NoCallback
    }
    /// The post-operation callback, with the context that the pre-operation callback gave.
    fn post_operation(&self, _data: CallbackData, _context: u64) -> PostOp {
        PostOp::Finished
    }
    /// Whether an instance may be detached by hand: a success status lets it go (FLT-I-08).
    fn query_teardown(&self) -> NtStatus {
        NtStatus::FLT_DO_NOT_DETACH
    }
    /// InstanceSetup: an error or warning keeps the filter off the volume (FLT-I-05). `flags`: FLTFL_INSTANCE_SETUP_*.
    fn setup(&self, _instance: &Arc<Instance>, _flags: u32) -> NtStatus {
        NtStatus::SUCCESS
    }
    /// InstanceTeardownStart, with FLTFL_INSTANCE_TEARDOWN_* (FLT-I-10).
    fn teardown_start(&self, _instance: &Arc<Instance>, _reason: u32) {}
    /// InstanceTeardownComplete.
    fn teardown_complete(&self, _instance: &Arc<Instance>, _reason: u32) {}
    /// FilterUnload: a success status lets the filter go; ignored when it is mandatory (FLT-R-13).
    fn unload(&self, _mandatory: bool) -> NtStatus {
        NtStatus::SUCCESS
    }
    /// The contexts that it allocates.
    fn contexts(&self) -> Vec<ContextSpec> {
        Vec::new()
    }
    /// A context of this FLT_*_CONTEXT is about to be freed.
    fn context_cleanup(&self, _context: Context, _kind: u16) {}
}

/// Registers and starts a filter written in Rust.
pub fn register_native(kernel: &Arc<Kernel>, filter: Arc<dyn MiniFilter>) -> NtResult<Arc<Filter>> {
    let manager = FltMgr::of(kernel)?;
    let mut operations: Box<[Option<Operation>; 256]> = Box::new([None; 256]);
    for (major, flags) in filter.operations() {
        operations[usize::from(major)] = Some(Operation { flags, pre: None, post: None });
    }
    let registration = Registration {
        name: filter.name().to_owned(),
        contexts: context::check(filter.contexts().into_iter().map(Into::into).collect())?,
        operations,
        routines: Routines::default(),
        altitude: Altitude::parse(filter.altitude())?,
        instance_name: format!("{} Instance", filter.name()),
        native: Some(filter),
        driver: None,
        flags: 0,
    };
    let registered = manager.register(kernel, registration)?;
    manager.start(kernel, &registered)?;
    Ok(registered)
}
