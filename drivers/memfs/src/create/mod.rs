//! IRP_MJ_CREATE.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the tree, then the node's sharing.
//! Source: IRP_MJ_CREATE page; rules NT-A-13, NT-A-14, NT-A-18, NT-M-20. How an open ends, once its name is found: `enter`.

mod enter;

use self::enter::{admit, announce, attach, enter, share};
use crate::backing::{Attribute, New};
use crate::link::{Link, Spot};
use crate::node::{Node, Units, Volume, open_of};
use crate::notice;
use crate::oplock::{self, Turn};
use crate::path::{self, Start, Walk};
use crate::reparse::is_link;
use crate::security::{self, Opener};
use crate::stream::{self, Part};
use nt_abi::io::*;
use nt_abi::ob::UNICODE_STRING;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_io::driver::OwnedIrp;
use nt_io::fast::QueryOpen;
use nt_io::irp::IoStatus;
use nt_trace::rule;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) const READS: u32 = FILE_READ_DATA | FILE_EXECUTE;
pub(crate) const WRITES: u32 = FILE_WRITE_DATA | FILE_APPEND_DATA;
/// Attributes that a create may set.
const SETTABLE: u32 = 0x31A7 & !FILE_ATTRIBUTE_DIRECTORY;

/// The parameters of a create.
#[derive(Clone, Copy)]
struct Request<'a> {
    opener: &'a Opener,
    /// What is asked for; from the check on, what is granted.
    access: u32,
    share: u32,
    disposition: u32,
    options: u32,
    attributes: u32,
    exact: bool,
    /// It is the directory of the name that is wanted (NT-REN-22).
    target: bool,
    /// A symbolic link ends the open.
    stops: bool,
    /// Which components of the name are short ones ([`path::Place`]).
    by_short: u32,
    allocation: i64,
    turn: &'a Turn,
    /// It is a query: the file stays as it is, and is not opened.
    query: Option<Query>,
    /// The volume takes no change.
    protected: bool,
}

/// What a query by name wants: FILE_INFORMATION_CLASS, and where it goes.
type Query = (u32, Region);

impl<'a> Request<'a> {
    fn of(volume: &Volume, irp: &OwnedIrp, opener: &'a Opener, turn: &'a Turn, query: Option<Query>) -> NtResult<Self> {
        let stack = irp.stack();
        let context = stack.ptr(IO_STACK_LOCATION::Create_SecurityContext);
        let options = stack.get(IO_STACK_LOCATION::Create_Options);
        let flag = |flag: u8| stack.get(IO_STACK_LOCATION::Flags) & flag != 0;
        Ok(Self {
            turn,
            opener,
            access: context.ok_or(NtStatus::INVALID_PARAMETER.error())?.get(IO_SECURITY_CONTEXT::DesiredAccess),
            share: u32::from(stack.get(IO_STACK_LOCATION::Create_ShareAccess)),
            disposition: options >> 24,
            options: options & 0x00FF_FFFF,
            attributes: u32::from(stack.get(IO_STACK_LOCATION::Create_FileAttributes)),
            exact: flag(SL_CASE_SENSITIVE),
            target: flag(SL_OPEN_TARGET_DIRECTORY),
            stops: flag(SL_STOP_ON_SYMLINK),
            by_short: 0,
            allocation: irp.irp().get(IRP::Overlay_AllocationSize),
            query,
            protected: volume.mount.is_protected(),
        })
    }

    /// A write-protected volume has nothing made on it, and nothing written over (NT-S-03).
    fn changes(&self) -> NtResult<()> {
        if !self.protected {
            return Ok(());
        }
        rule!(NT_S_03);
        NtStatus::MEDIA_WRITE_PROTECTED.fail()
    }
}

/// FastIoQueryOpen and PreQueryOpen: what the create of a packet would find. `None`: a create has to go on elsewhere, or
/// does more than to look.
pub(crate) fn query_open(volume: &Volume, query: &QueryOpen) -> Option<IoStatus> {
    const LOOKS: u32 = FILE_READ_ATTRIBUTES | nt_abi::ob::SYNCHRONIZE;
    const KNOWN: u32 = FILE_OPEN_REPARSE_POINT | FILE_DIRECTORY_FILE | FILE_NON_DIRECTORY_FILE;
    let irp = &OwnedIrp::arrived(query.packet);
    let (opener, turn) = (Opener::of(irp).ok()?, Turn::new(irp));
    let request = Request::of(volume, irp, &opener, &turn, Some((query.class, query.buffer))).ok()?;
    let file = irp.file()?;
    let named = file.at(FILE_OBJECT::FileName).get(UNICODE_STRING::Length) != 0;
    let looks = request.access & !LOOKS == 0 && request.disposition == FILE_OPEN && request.options & !KNOWN == 0;
    if !looks || request.target || !(named || file.ptr(FILE_OBJECT::RelatedFileObject).is_some()) {
        return None;
    }
    match attempt(volume, irp, file, &request) {
        Ok(Made::Open(result)) => Some(result),
        Ok(Made::Link(..)) => None,
        Err(error) => Some(IoStatus::new(error.status(), 0)),
    }
}

pub(crate) fn create(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let opener = &Opener::of(irp)?;
    nt_fsrtl::oplock::adopt_key(irp.irp())?;
    let turn = Turn::new(irp);
    let request = Request::of(volume, irp, opener, &turn, None)?;
    let made = loop {
        let made = attempt(volume, irp, file, &request);
        if made.is_ok() || !turn.wait()? {
            break made;
        }
    };
    let underway = turn.is_underway();
    match made {
        Ok(Made::Open(result)) if underway => Ok(IoStatus::new(NtStatus::OPLOCK_BREAK_IN_PROGRESS, result.information)),
        Ok(Made::Open(result)) => Ok(result),
        Ok(Made::Link(node, rest)) => crate::reparse::hand_up(irp, &node, rest, request.stops),
        Err(error) if underway && error.status() == NtStatus::SHARING_VIOLATION => {
            Ok(IoStatus::new(error.status(), FILE_OPBATCH_BREAK_UNDERWAY))
        }
        Err(error) => Err(error),
    }
}

/// Walks the name and opens what is there; RETRY when a break has to be waited for first.
fn attempt(volume: &Volume, irp: &OwnedIrp, file: Foreign<FILE_OBJECT>, request: &Request<'_>) -> NtResult<Made> {
    let stack = irp.stack();
    let name =
        nt_rtl::unicode::units(file.at(FILE_OBJECT::FileName)).map_err(|_| NtStatus::OBJECT_NAME_INVALID.error())?;
    let ea_length = stack.get(IO_STACK_LOCATION::Create_EaLength) as usize;
    let eas = match ea_length {
        0 => Vec::new(),
        _ => crate::ea::parse(irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, ea_length))?,
    };
    let related = match file.ptr(FILE_OBJECT::RelatedFileObject) {
        None => None,
        Some(related) => {
            let open = open_of(related)?;
            let stream = open.node.named.as_ref().map(|named| named.name());
            let by_short = open.by_short.load(Ordering::Relaxed);
            Some(Related { start: (Arc::clone(open.file()), open.link.clone()), stream, by_short })
        }
    };
    let _kept = oplock::Kept::begin();
    let _tree = volume.tree.lock();
    volume.mount.enter()?;
    let made = (|| {
        if name.is_empty() && related.is_none() {
            return open_volume(volume, file, request).map(Made::Open);
        }
        open_file(volume, file, request, related, &name, eas)
    })();
    if !matches!(made, Ok(Made::Open(_))) || request.query.is_some() {
        volume.mount.leave(None);
    }
    made
}

/// What a name is relative to.
struct Related {
    start: Start,
    /// The named stream that it is.
    stream: Option<Units>,
    by_short: u32,
}

/// How an open ended.
enum Made {
    Open(IoStatus),
    /// It goes on where a reparse point leads, with this many units of the name behind it.
    Link(Arc<Node>, usize),
}

/// An open of a file or directory by its name.
fn open_file(
    volume: &Volume,
    file: Foreign<FILE_OBJECT>,
    request: &Request<'_>,
    related: Option<Related>,
    name: &[u16],
    eas: Vec<Attribute>,
) -> NtResult<Made> {
    if request.options & FILE_NO_EA_KNOWLEDGE != 0 && !eas.is_empty() {
        return NtStatus::ACCESS_DENIED.fail(); // NT-EA-18
    }
    if request.options & FILE_OPEN_BY_FILE_ID != 0 {
        return open_by_id(volume, file, request, name);
    }
    let (related, beside, by_short) =
        related.map_or((None, None, 0), |related| (Some(related.start), related.stream, related.by_short));
    let lost = related.as_ref().and_then(|(_, link)| link.as_ref()).is_some_and(|link| link.is_gone());
    if lost && !name.is_empty() {
        return NtStatus::DELETE_PENDING.fail(); // NT-DEL-17
    }
    let whole = name;
    let (name, part) = if request.target { (name, Part::Whole) } else { stream::split(name)? };
    let part = match (part, beside) {
        (Part::Whole, Some(stream)) if name.is_empty() => Part::Stream(stream),
        (Part::Whole, Some(_)) => return NtStatus::OBJECT_PATH_NOT_FOUND.fail(), // NT-NAM-08
        (part, _) => part,
    };
    let behind = whole.len() - name.len();
    let request = &meant(*request, &part)?;
    let itself = request.options & FILE_OPEN_REPARSE_POINT != 0;
    if let Some((node, _)) = &related
        && is_link(node)?
    {
        // NT-REP-28: it was opened itself, so it is no directory that a name could be in.
        match name {
            [_, ..] => return NtStatus::REPARSE_POINT_NOT_RESOLVED.fail(),
            [] if !itself => return NtStatus::IO_REPARSE_DATA_INVALID.fail(),
            [] => {}
        }
    }
    let mut place = match path::walk(volume, related, name, request.exact)? {
        Walk::Place(place) => place,
        Walk::Through(node, rest) => return Ok(Made::Link(node, rest + behind)),
    };
    let components = place.trail.len() + usize::from(place.parent.is_some());
    let by_short = by_short.unbounded_shl(components as u32) | place.shorts;
    let tunnelled = match (&place.found, &place.parent) {
        (None, Some(parent)) if makes(request) => volume.mount.name_for(parent, &place.name)?,
        _ => None,
    };
    let asked = tunnelled.map(|long| std::mem::replace(&mut place.name, long));
    let by_short = by_short | u32::from(asked.is_some());
    let request = &Request { by_short, ..*request };
    let trailing = name.last() == Some(&(b'\\' as u16)) && name.len() > 1;
    let up = volume.links.along(place.base, place.trail);
    if request.target {
        return open_target(volume, file, request, place.parent, up, (name, place.found.is_some())).map(Made::Open);
    }
    let link = match &place.parent {
        None => up.clone(),
        Some(parent) => {
            let (parent, name) = (Arc::clone(parent), place.name.clone());
            Some(volume.links.get(Spot { parent, name, up: up.clone() }))
        }
    };
    let there = if place.found.is_some() { &link } else { &up };
    if there.as_ref().is_some_and(|link| link.is_pending()) {
        return NtStatus::DELETE_PENDING.fail(); // NT-DEL-33, NT-STR-15
    }
    if let Some(node) = &place.found
        && !itself
        && is_link(node)?
    {
        return Ok(Made::Link(Arc::clone(node), usize::from(trailing) + behind));
    }
    if let Part::Stream(stream) = part {
        let parent = place.parent.as_deref();
        return open_stream(volume, file, request, (parent, &place.name, place.found.as_ref()), link, &stream, eas)
            .map(Made::Open);
    }
    let result = match (&place.found, &place.parent) {
        (Some(node), _) => {
            let (node, information, request) = existing(node, place.parent.as_deref(), request, trailing)?;
            enter(volume, file, node, link, &request, information, eas)
        }
        (None, Some(parent)) => {
            let (node, request) = make(parent, &place.name, request, trailing, eas)?;
            volume.mount.name_came(parent, &place.name, asked.as_deref().unwrap_or(&place.name), &node);
            enter(volume, file, node, link, &request, FILE_CREATED, Vec::new())
        }
        (None, None) => NtStatus::OBJECT_NAME_INVALID.fail(),
    };
    result.map(Made::Open)
}

/// What the type in a name says of the kind of file that is wanted (NT-STR-03, NT-STR-06).
fn meant<'a>(mut request: Request<'a>, part: &Part) -> NtResult<Request<'a>> {
    let (wanted, other, status) = match part {
        Part::Whole => return Ok(request),
        Part::Index => (FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, NtStatus::FILE_IS_A_DIRECTORY),
        _ => (FILE_NON_DIRECTORY_FILE, FILE_DIRECTORY_FILE, NtStatus::NOT_A_DIRECTORY),
    };
    if request.options & other != 0 {
        return status.fail();
    }
    request.options |= wanted;
    Ok(request)
}

/// An open of a named stream, of a file that is there or is made with it (NT-STR-04).
fn open_stream(
    volume: &Volume,
    file: Foreign<FILE_OBJECT>,
    request: &Request<'_>,
    (parent, name, found): (Option<&Node>, &[u16], Option<&Arc<Node>>),
    link: Option<Arc<Link>>,
    stream: &[u16],
    eas: Vec<Attribute>,
) -> NtResult<IoStatus> {
    let (owner, granted) = match (found, parent) {
        (Some(node), _) => (Arc::clone(node), None),
        (None, Some(parent)) => {
            let (node, request) = make(parent, name, request, false, eas)?;
            volume.mount.name_came(parent, name, name, &node);
            (node, Some(request))
        }
        (None, None) => return NtStatus::OBJECT_NAME_INVALID.fail(),
    };
    let up = link.clone();
    let opened = (|| {
        let may_be_made = || request.changes();
        let (node, made) = stream::find_or_make(&owner, stream, request.exact, request.disposition, may_be_made)?;
        if found.is_none() {
            announce(volume, (&owner, file), link.as_ref(), FILE_CREATED, &[]);
        }
        if !made {
            let (node, information, request) = existing(&node, parent, request, false)?;
            return enter(volume, file, node, link, &request, information, Vec::new());
        }
        let entered = match granted {
            Some(request) => Ok(request),
            None => granted_of(&owner, parent, request, FILE_WRITE_DATA),
        }
        .and_then(|request| enter(volume, file, Arc::clone(&node), link, &request, FILE_CREATED, Vec::new()));
        entered.inspect_err(|_| stream::unmake(&owner, &node))
    })();
    if let (Err(_), None, Some(parent)) = (&opened, found, parent) {
        parent.directory()?.remove(name, &owner)?;
        volume.mount.shorts.went(parent, name);
        notice::removed(&volume.mount.changes, &owner, up.as_ref(), &[]);
    }
    opened
}

/// An open by file id: the name is its bytes (NT-NAM-11, NT-NAM-12).
fn open_by_id(volume: &Volume, file: Foreign<FILE_OBJECT>, request: &Request<'_>, name: &[u16]) -> NtResult<Made> {
    let invalid = || NtStatus::INVALID_PARAMETER.error();
    let name = match name {
        [first, rest @ ..] if *first == u16::from(b'\\') && matches!(rest.len(), 4 | 8) => rest,
        _ => name,
    };
    let id = match name {
        [a, b, c, d] | [a, b, c, d, 0, 0, 0, 0] => {
            [*d, *c, *b, *a].into_iter().fold(0, |id, unit| id << 16 | u64::from(unit))
        }
        _ => return Err(invalid()),
    };
    if request.disposition != FILE_OPEN {
        return Err(invalid());
    }
    let (node, link) = crate::identity::find(volume, id)?.ok_or_else(invalid)?;
    if link.as_ref().is_some_and(|link| link.is_pending()) {
        return NtStatus::DELETE_PENDING.fail();
    }
    if request.options & FILE_OPEN_REPARSE_POINT == 0 && is_link(&node)? {
        return Ok(Made::Link(node, 0));
    }
    let parent = security::parent_of(link.as_ref());
    let (node, information, request) = &existing(&node, parent.as_deref(), request, false)?;
    let (node, information) = (Arc::clone(node), *information);
    node.object.open(request.access & READS != 0, request.access & WRITES != 0)?;
    admit(&node, request)?;
    share(&node, request)?;
    attach(volume, file, node, link, request)?;
    Ok(Made::Open(IoStatus::new(NtStatus::SUCCESS, u64::from(information))))
}

/// SL_OPEN_TARGET_DIRECTORY: opens the directory that a name stands in, for a rename to that name; the file object keeps
/// the last component, and Information tells whether it exists.
fn open_target(
    volume: &Volume,
    file: Foreign<FILE_OBJECT>,
    request: &Request<'_>,
    parent: Option<Arc<Node>>,
    link: Option<Arc<Link>>,
    (name, exists): (&[u16], bool),
) -> NtResult<IoStatus> {
    const SEPARATOR: u16 = b'\\' as u16;
    let parent = parent.ok_or(NtStatus::OBJECT_NAME_INVALID.error())?;
    if link.as_ref().is_some_and(|link| link.is_pending()) {
        return NtStatus::DELETE_PENDING.fail();
    }
    let name = name.strip_suffix(&[SEPARATOR]).unwrap_or(name);
    let last = name.iter().rposition(|&unit| unit == SEPARATOR).map_or(name, |at| &name[at + 1..]).to_vec();
    let request = &granted_of(&parent, None, request, 0)?;
    share(&parent, request)?;
    nt_rtl::unicode::store_units(file.at(FILE_OBJECT::FileName), &last)?;
    attach(volume, file, parent, link, request)?;
    Ok(IoStatus::new(NtStatus::SUCCESS, u64::from(if exists { FILE_EXISTS } else { FILE_DOES_NOT_EXIST })))
}

/// An open of the volume itself: its root, for queries; `dasd` has its sectors.
fn open_volume(volume: &Volume, file: Foreign<FILE_OBJECT>, request: &Request<'_>) -> NtResult<IoStatus> {
    if request.disposition != FILE_OPEN && request.disposition != FILE_OPEN_IF {
        return NtStatus::ACCESS_DENIED.fail(); // NT-NAM-24
    }
    if request.options & FILE_DELETE_ON_CLOSE != 0 {
        return NtStatus::CANNOT_DELETE.fail();
    }
    let request = &request.granted(request.opener.authorize_volume(request.access)?);
    file.or32(FILE_OBJECT::Flags, FO_VOLUME_OPEN);
    share(&volume.root, request)?;
    attach(volume, file, Arc::clone(&volume.root), None, request)?;
    Ok(IoStatus::new(NtStatus::SUCCESS, u64::from(FILE_OPENED)))
}

impl Request<'_> {
    /// The same with what is granted, which the handle gets.
    fn granted(&self, access: u32) -> Self {
        self.opener.grant(access);
        Self { access, ..*self }
    }
}

/// What the file grants, when the open needs `needed` besides what it asks for.
fn granted_of<'a>(node: &Node, parent: Option<&Node>, request: &Request<'a>, needed: u32) -> NtResult<Request<'a>> {
    let granted = request.opener.authorize(node, parent, &node.object.meta()?, request.access, needed)?;
    Ok(request.granted(granted))
}

/// What an open of a file that is there finds: the file, Information, the request with what is granted.
fn existing<'a>(
    node: &Arc<Node>,
    parent: Option<&Node>,
    request: &Request<'a>,
    trailing: bool,
) -> NtResult<(Arc<Node>, u32, Request<'a>)> {
    let meta = node.object.meta()?;
    let attributes = meta.attributes;
    let directory = node.is_directory();
    if request.disposition == FILE_CREATE {
        rule!(NT_A_18);
        return NtStatus::OBJECT_NAME_COLLISION.fail();
    }
    if directory && request.options & FILE_NON_DIRECTORY_FILE != 0 {
        return NtStatus::FILE_IS_A_DIRECTORY.fail();
    }
    if !directory && request.options & FILE_DIRECTORY_FILE != 0 {
        return NtStatus::NOT_A_DIRECTORY.fail();
    }
    if !directory && trailing {
        return NtStatus::OBJECT_NAME_INVALID.fail(); // NT-NAM-03
    }
    if request.options & FILE_NO_EA_KNOWLEDGE != 0 && crate::ea::must_be_known(node)? {
        return NtStatus::ACCESS_DENIED.fail(); // NT-EA-17
    }
    if request.options & FILE_RESERVE_OPFILTER != 0 && node.sharing.lock().handles != 0 {
        return NtStatus::OPLOCK_NOT_GRANTED.fail(); // NT-OPL-05
    }
    let replaces = matches!(request.disposition, FILE_OVERWRITE | FILE_OVERWRITE_IF | FILE_SUPERSEDE);
    if directory && replaces {
        rule!(NT_A_19);
        return if request.options & FILE_DIRECTORY_FILE != 0 {
            NtStatus::INVALID_PARAMETER.fail()
        } else {
            NtStatus::OBJECT_NAME_COLLISION.fail()
        };
    }
    if request.protected && request.options & FILE_DELETE_ON_CLOSE != 0 {
        return NtStatus::CANNOT_DELETE.fail(); // NT-DEL-22
    }
    if attributes & FILE_ATTRIBUTE_READONLY != 0 && !directory && !node.is_of_directory() {
        if request.options & FILE_DELETE_ON_CLOSE != 0 {
            return NtStatus::CANNOT_DELETE.fail();
        }
        let overwrites = matches!(request.disposition, FILE_OVERWRITE | FILE_OVERWRITE_IF);
        if request.access & WRITES != 0 || overwrites {
            rule!(NT_A_14);
            return NtStatus::ACCESS_DENIED.fail();
        }
    }
    let needed = match request.disposition {
        FILE_SUPERSEDE => nt_abi::ob::DELETE | FILE_WRITE_EA | FILE_WRITE_ATTRIBUTES,
        FILE_OVERWRITE | FILE_OVERWRITE_IF => FILE_WRITE_DATA | FILE_WRITE_EA | FILE_WRITE_ATTRIBUTES,
        _ => 0,
    };
    let granted = request.opener.authorize(node, parent, &meta, request.access, needed)?;
    let special = attributes & (FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM);
    if replaces && node.named.is_none() && special & !request.attributes != 0 {
        return NtStatus::ACCESS_DENIED.fail(); // NT-QRY-13
    }
    if replaces || request.access & WRITES != 0 {
        request.changes()?;
    }
    let granted = if request.protected { granted & !WRITES } else { granted }; // of MAXIMUM_ALLOWED
    rule!(NT_A_18);
    let information = match request.disposition {
        FILE_SUPERSEDE => FILE_SUPERSEDED,
        FILE_OVERWRITE | FILE_OVERWRITE_IF => FILE_OVERWRITTEN,
        _ => FILE_OPENED,
    };
    node.temporary.store(attributes & FILE_ATTRIBUTE_TEMPORARY != 0, Ordering::Relaxed);
    node.recall_sparse(attributes);
    node.forget();
    node.refresh()?;
    Ok((Arc::clone(node), information, request.granted(granted)))
}

/// Does the disposition make what is not there?
fn makes(request: &Request<'_>) -> bool {
    !matches!(request.disposition, FILE_OPEN | FILE_OVERWRITE)
}

/// Makes the file: itself, the request with what is granted.
fn make<'a>(
    parent: &Node,
    name: &[u16],
    request: &Request<'a>,
    trailing: bool,
    eas: Vec<Attribute>,
) -> NtResult<(Arc<Node>, Request<'a>)> {
    if !makes(request) {
        rule!(NT_A_18);
        return NtStatus::OBJECT_NAME_NOT_FOUND.fail();
    }
    let directory = request.options & FILE_DIRECTORY_FILE != 0;
    if request.options & FILE_DELETE_ON_CLOSE != 0 && request.attributes & FILE_ATTRIBUTE_READONLY != 0 {
        return NtStatus::CANNOT_DELETE.fail(); // NT-DEL-22
    }
    if trailing && !directory {
        return NtStatus::OBJECT_NAME_INVALID.fail();
    }
    if directory && matches!(request.disposition, FILE_SUPERSEDE | FILE_OVERWRITE_IF) {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    request.changes()?;
    let kind = if directory { FILE_ATTRIBUTE_DIRECTORY } else { FILE_ATTRIBUTE_ARCHIVE };
    let attributes = (request.attributes & SETTABLE & !FILE_ATTRIBUTE_NORMAL) | kind;
    let (granted, security) = request.opener.make(parent, directory, request.access)?;
    let node = parent.directory()?.make(name, New { directory, attributes, eas, security })?;
    node.temporary.store(attributes & FILE_ATTRIBUTE_TEMPORARY != 0, Ordering::Relaxed);
    Ok((node, request.granted(granted)))
}
