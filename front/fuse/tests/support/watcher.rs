//! A filter that notes what programs on the mount ask for, and refuses some of it.

use nt_abi::NtStatus;
use nt_abi::flt::FLT_IO_PARAMETER_BLOCK as IOPB;
use nt_abi::io::{FILE_OBJECT, IO_SECURITY_CONTEXT, IRP_MJ_CREATE, IRP_MJ_SET_EA, IRP_MJ_SET_INFORMATION};
use nt_fltmgr::{CallbackData, MiniFilter, PreOp};
use nt_io::irp::IoStatus;
use parking_lot::Mutex;

/// One request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A create: name, access, disposition in the high byte and options, sharing.
    Create(String, u32, u32, u16),
    /// A set-information: class, and the first four bytes.
    Set(u32, u32),
    /// A set-EA: the list.
    Ea(Vec<u8>),
}

/// The filter.
#[derive(Default)]
pub struct Watcher {
    asked: Mutex<Vec<Asked>>,
    /// Set-information requests of this class end so.
    pub refuse: Mutex<Option<(u8, u32, NtStatus)>>,
}

impl Watcher {
    /// What was asked since the last call.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock())
    }
    /// What was set since the last call.
    pub fn sets(&self) -> Vec<(u32, u32)> {
        let set = |asked| if let Asked::Set(class, flags) = asked { Some((class, flags)) } else { None };
        self.take().into_iter().filter_map(set).collect()
    }
    /// Refuses one kind of request from now on; class 0 is any.
    pub fn refuse(&self, major: u8, class: u32, status: NtStatus) {
        *self.refuse.lock() = Some((major, class, status));
    }
    /// Refuses nothing any more.
    pub fn allow(&self) {
        *self.refuse.lock() = None;
    }
}

impl MiniFilter for Watcher {
    fn name(&self) -> &str {
        "watcher"
    }
    fn altitude(&self) -> &str {
        "385997"
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        vec![(IRP_MJ_CREATE, 0), (IRP_MJ_SET_INFORMATION, 0), (IRP_MJ_SET_EA, 0)]
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        let iopb = data.iopb();
        let mut class = 0;
        let asked = match data.major() {
            IRP_MJ_CREATE => {
                let name = data.file().map(|file| file.at(FILE_OBJECT::FileName));
                let name: Vec<u16> = name.and_then(|name| nt_rtl::unicode::units(name).ok()).unwrap_or_default();
                let security = iopb.ptr(IOPB::Create_SecurityContext).expect("a create has one");
                let access = security.get(IO_SECURITY_CONTEXT::DesiredAccess);
                let (options, share) = (iopb.get(IOPB::Create_Options), iopb.get(IOPB::Create_ShareAccess));
                Asked::Create(String::from_utf16_lossy(&name), access, options, share)
            }
            IRP_MJ_SET_INFORMATION => {
                class = iopb.get(IOPB::SetFileInformation_FileInformationClass);
                let first = iopb.region_at(IOPB::SetFileInformation_InfoBuffer, 4).load::<u32>(0);
                Asked::Set(class, first.expect("a buffer"))
            }
            _ => {
                let length = iopb.get(IOPB::SetEa_Length) as usize;
                Asked::Ea(iopb.region_at(IOPB::SetEa_EaBuffer, length).to_vec().expect("a buffer"))
            }
        };
        self.asked.lock().push(asked);
        match *self.refuse.lock() {
            Some((major, only, status)) if major == data.major() && (only == 0 || only == class) => {
                PreOp::Complete(IoStatus::new(status, 0))
            }
            _ => PreOp::NoCallback,
        }
    }
}
