//! Property sets of the built-in objects: IOCTL_KS_PROPERTY.
//!
//! Room: drivers/ks. Called by: filters and pins. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: IOCTL_KS_PROPERTY, KSPROPERTY pages; rules KS-PR-01 to KS-PR-05, KS-PR-12, KS-PR-14, KS-PR-15.
//! Both buffers are the caller's own (METHOD_NEITHER): each is read or written once, under a guard. Not here: property sets
//! of compiled drivers (KsPropertyHandler), relations, serialisation.

use nt_abi::io::{IO_STACK_LOCATION, IRP};
use nt_abi::ks::{
    GUID, GUID_NULL, KSIDENTIFIER, KSPROPERTY_DESCRIPTION, KSPROPERTY_TYPE_BASICSUPPORT, KSPROPERTY_TYPE_GET,
    KSPROPERTY_TYPE_SET, KSPROPERTY_TYPE_SETSUPPORT,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::irp::{self, IoStatus, Irp};
use nt_io::service::violation;
use nt_trace::rule;

/// What a property's value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// One record.
    Fixed(Vec<u8>),
    /// KSMULTIPLE_ITEM with so many items.
    List(u32, Vec<u8>),
}

/// The request of a property call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The whole input buffer, at least a KSPROPERTY.
    pub raw: Vec<u8>,
}

impl Request {
    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.raw[at..at + 4].try_into().unwrap_or_default())
    }
    /// Returns Set.
    #[must_use]
    pub fn set(&self) -> GUID {
        GUID::from_bytes(self.raw[..16].try_into().unwrap_or_default())
    }
    /// Returns Id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.word(KSIDENTIFIER::Id.offset())
    }
    /// Returns Flags.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.word(KSIDENTIFIER::Flags.offset())
    }
    /// Returns PinId of a KSP_PIN; the property's `minimum` says that it is there.
    #[must_use]
    pub fn pin_id(&self) -> u32 {
        self.word(KSIDENTIFIER::SIZE)
    }
}

/// A get handler.
pub type Get<T> = fn(&T, &Request) -> NtResult<Value>;
/// A set handler.
pub type Put<T> = fn(&T, &Request, &[u8]) -> NtResult<()>;

/// One property of objects of type `T`.
pub struct Property<T: ?Sized> {
    /// The set.
    pub set: GUID,
    /// The id.
    pub id: u32,
    /// MinProperty: bytes of request.
    pub request: usize,
    /// MinData of a set request.
    pub data: usize,
    /// The get handler.
    pub get: Option<Get<T>>,
    /// The set handler.
    pub put: Option<Put<T>>,
}

/// Reads the input buffer of a METHOD_NEITHER request.
pub fn input(packet: Irp) -> NtResult<Vec<u8>> {
    let stack = irp::current(packet);
    let length = stack.get(IO_STACK_LOCATION::DeviceIoControl_InputBufferLength) as usize;
    let region = stack.region_at(IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer, length);
    named(packet, region)?.to_vec().map_err(violation)
}

/// KsAcquireResetValue (KS-RS-01, KS-RS-11): reads KSRESET; nothing is completed.
pub fn reset_value(packet: Irp) -> NtResult<u32> {
    let value = input(packet)?.first_chunk().map(|value| u32::from_le_bytes(*value));
    value.ok_or(NtStatus::INVALID_PARAMETER.error())
}

/// Names the output buffer of a METHOD_NEITHER request.
pub fn output(packet: Irp) -> NtResult<Region> {
    let length = irp::current(packet).get(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength) as usize;
    named(packet, packet.region_at(IRP::UserBuffer, length))
}

/// Refuses what a user caller may not name.
fn named(packet: Irp, region: Region) -> NtResult<Region> {
    if packet.get(IRP::RequestorMode) == 0 || region.is_empty() {
        return Ok(region);
    }
    Region::user(region.addr(), region.len()).ok_or(NtStatus::ACCESS_VIOLATION.error())
}

/// Carries out an IOCTL_KS_PROPERTY on `on`; nothing is completed.
#[must_use]
pub fn handle<T: ?Sized>(properties: &[Property<T>], on: &T, packet: Irp) -> IoStatus {
    handle_with(properties, &[], on, packet)
}

/// As [`handle`], for an object that has other sets besides, of its driver's.
#[must_use]
pub fn handle_with<T: ?Sized>(properties: &[Property<T>], others: &[GUID], on: &T, packet: Irp) -> IoStatus {
    answer(properties, others, on, packet).unwrap_or_else(|error| IoStatus::new(error.status(), 0))
}

fn answer<T: ?Sized>(properties: &[Property<T>], others: &[GUID], on: &T, packet: Irp) -> NtResult<IoStatus> {
    let raw = input(packet)?;
    if raw.len() < KSIDENTIFIER::SIZE {
        rule!(KS_PR_02);
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    let request = Request { raw };
    let out = output(packet)?;
    let known = properties.iter().any(|property| property.set == request.set()) || others.contains(&request.set());
    if request.flags() & KSPROPERTY_TYPE_SETSUPPORT != 0 {
        return match request.set() {
            GUID_NULL => sets(properties, others, out),
            _ if known => Ok(IoStatus::new(NtStatus::SUCCESS, 0)),
            _ => NtStatus::PROPSET_NOT_FOUND.fail(),
        };
    }
    if !known {
        rule!(KS_PR_05);
        return NtStatus::PROPSET_NOT_FOUND.fail();
    }
    let property = properties.iter().find(|property| property.set == request.set() && property.id == request.id());
    let property = property.ok_or(NtStatus::NOT_FOUND.error())?;
    if request.flags() & KSPROPERTY_TYPE_BASICSUPPORT != 0 {
        return basic_support(property, out);
    }
    if request.raw.len() < property.request {
        rule!(KS_PR_03);
        return Ok(IoStatus::new(NtStatus::INVALID_PARAMETER, property.request as u64));
    }
    match request.flags() & (KSPROPERTY_TYPE_GET | KSPROPERTY_TYPE_SET) {
        KSPROPERTY_TYPE_GET => {
            let get = property.get.ok_or(NtStatus::NOT_FOUND.error())?;
            match get(on, &request)? {
                Value::Fixed(bytes) => fixed(&bytes, out),
                Value::List(count, bytes) => list(count, &bytes, out),
            }
        }
        KSPROPERTY_TYPE_SET => {
            let put = property.put.ok_or(NtStatus::NOT_FOUND.error())?;
            if out.len() < property.data {
                rule!(KS_PR_04);
                return Ok(IoStatus::new(NtStatus::BUFFER_TOO_SMALL, property.data as u64));
            }
            put(on, &request, &out.to_vec().map_err(violation)?)?;
            Ok(IoStatus::new(NtStatus::SUCCESS, 0))
        }
        _ => NtStatus::INVALID_PARAMETER.fail(),
    }
}

fn store(out: Region, bytes: &[u8]) -> NtResult<IoStatus> {
    out.sub(0, bytes.len()).write_from(bytes).map_err(violation)?;
    Ok(IoStatus::new(NtStatus::SUCCESS, bytes.len() as u64))
}

/// Too short is a warning for a query of the size and an error otherwise; both say the size (KS-PR-04).
fn short(out: Region, needed: usize) -> IoStatus {
    let status = if out.is_empty() { NtStatus::BUFFER_OVERFLOW } else { NtStatus::BUFFER_TOO_SMALL };
    IoStatus::new(status, needed as u64)
}

fn fixed(bytes: &[u8], out: Region) -> NtResult<IoStatus> {
    if out.len() < bytes.len() { Ok(short(out, bytes.len())) } else { store(out, bytes) }
}

/// KsHandleSizedListQuery (KS-PR-15).
fn list(count: u32, bytes: &[u8], out: Region) -> NtResult<IoStatus> {
    let needed = 8 + bytes.len();
    let mut whole = (needed as u32).to_le_bytes().to_vec();
    whole.extend(count.to_le_bytes());
    whole.extend(bytes);
    match out.len() {
        4 => store(out, &whole[..4]),
        8 => store(out, &whole[..8]),
        room if room >= needed => store(out, &whole),
        _ => Ok(short(out, needed)),
    }
}

/// The sets that an object has (KS-PR-14).
fn sets<T: ?Sized>(properties: &[Property<T>], others: &[GUID], out: Region) -> NtResult<IoStatus> {
    let mut found: Vec<GUID> = Vec::new();
    for set in others.iter().copied().chain(properties.iter().map(|property| property.set)) {
        if !found.contains(&set) {
            found.push(set);
        }
    }
    fixed(&found.iter().flat_map(|set| set.to_bytes()).collect::<Vec<_>>(), out)
}

/// KS-PR-12.
fn basic_support<T: ?Sized>(property: &Property<T>, out: Region) -> NtResult<IoStatus> {
    let access = if property.get.is_some() { KSPROPERTY_TYPE_GET } else { 0 }
        | if property.put.is_some() { KSPROPERTY_TYPE_SET } else { 0 };
    let mut whole = access.to_le_bytes().to_vec();
    whole.extend((KSPROPERTY_DESCRIPTION::SIZE as u32).to_le_bytes());
    whole.resize(KSPROPERTY_DESCRIPTION::SIZE, 0);
    match out.len() {
        0..4 => Ok(IoStatus::new(NtStatus::BUFFER_TOO_SMALL, 0)),
        4..40 => store(out, &whole[..4]),
        _ => store(out, &whole),
    }
}
