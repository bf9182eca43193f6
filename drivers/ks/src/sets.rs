//! Property and method sets of drivers: KsPropertyHandler, KsMethodHandler, and their fast counterparts.
//!
//! Room: drivers/ks. Called by: drivers, AVStream objects. Calls: the handlers of the sets. IRQL: PASSIVE_LEVEL. Locks: none.
//! Touches: the packet's SystemBuffer, Flags, Information and DriverContext (KS-L-04); sets and items, which the driver keeps.
//! Source: KsPropertyHandler, KsPropertyHandlerWithAllocator, KsMethodHandler, KSPROPERTY_ITEM, KSMETHOD_ITEM pages; rules
//! KS-PR-01 to KS-PR-16, KS-ME-01 to KS-ME-06. A handler gets copies: the data first, the request behind it.

use crate::property;
use nt_abi::io::{IRP, IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION};
use nt_abi::ks::*;
use nt_abi::{Bytes, Field, NtResult, NtStatus, Ptr};
use nt_cell::{CodePtr, Foreign, Region, callout};
use nt_ex::pool;
use nt_io::irp::{self, IoStatus, Irp};
use nt_io::service::violation;

const TYPES: u32 = KSPROPERTY_TYPE_GET | KSPROPERTY_TYPE_SET;

nt_abi::layout! {
    /// KSPROPERTY_VALUES.
    pub struct KSPROPERTY_VALUES: 0x28 {
        PropTypeSet @ 0x00: KSIDENTIFIER;
        MembersListCount @ 0x18: u32;
        MembersList @ 0x20: Ptr<KSPROPERTY_MEMBERSLIST>;
    }
    /// KSPROPERTY_MEMBERSLIST.
    pub struct KSPROPERTY_MEMBERSLIST: 0x18 {
        MembersHeader @ 0x00: KSPROPERTY_MEMBERSHEADER;
        Members @ 0x10: Ptr<Bytes>;
    }
}

/// Sets of one kind, and the size of their items as the driver compiled them.
#[derive(Debug)]
pub struct Sets<S> {
    /// The first set.
    pub first: Option<Foreign<S>>,
    /// How many there are.
    pub count: u32,
    /// PropertyItemSize or MethodItemSize; 0 for the header's.
    pub item_size: u32,
    /// The caller's allocator of the buffer, if any.
    pub allocator: Option<CodePtr>,
}

impl<S> Clone for Sets<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for Sets<S> {}

impl<S> Sets<S> {
    /// Sets with items of the header's size and no allocator.
    #[must_use]
    pub const fn plain(first: Option<Foreign<S>>, count: u32) -> Self {
        Self { first, count, item_size: 0, allocator: None }
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = Foreign<S>> + use<S> {
        let first = self.first;
        (0..self.count as usize).filter_map(move |index| Some(first?.element(index)))
    }
}

/// A set: where its GUID and its items are.
pub(crate) trait Set: Sized + 'static {
    type Item: 'static;
    const GUID: Field<Self, Ptr<GUID>>;
    const ITEMS: Field<Self, Ptr<Self::Item>>;
    const COUNT: Field<Self, u32>;
    const ID: Field<Self::Item, u32>;
    const ITEM_SIZE: usize;
}

/// The sets of the headers: their structure, that of an item, and the members that say where the items are and what they are.
macro_rules! set {
    ($set:ident of $item:ident: $items:ident, $count:ident, $id:ident) => {
        impl Set for $set {
            type Item = $item;
            const GUID: Field<Self, Ptr<GUID>> = Self::Set;
            const ITEMS: Field<Self, Ptr<$item>> = Self::$items;
            const COUNT: Field<Self, u32> = Self::$count;
            const ID: Field<$item, u32> = $item::$id;
            const ITEM_SIZE: usize = $item::SIZE;
        }
    };
}

set!(KSPROPERTY_SET of KSPROPERTY_ITEM: PropertyItem, PropertiesCount, PropertyId);
set!(KSMETHOD_SET of KSMETHOD_ITEM: MethodItem, MethodsCount, MethodId);
set!(KSEVENT_SET of KSEVENT_ITEM: EventItem, EventsCount, EventId);

/// Reads a GUID where a driver's record points.
pub(crate) fn guid_at<T>(record: Foreign<T>, field: Field<T, Ptr<GUID>>) -> Option<GUID> {
    if record.addr_at(field) == 0 {
        return None;
    }
    let mut raw = [0; 16];
    record.region_at(field, 16).read_to(&mut raw).ok()?;
    Some(GUID::from_bytes(raw))
}

/// Finds the set and the item that a request names (KS-PR-05, KS-ME-06).
pub(crate) fn find<S: Set>(sets: &Sets<S>, set: GUID, id: u32) -> NtResult<(Foreign<S>, Foreign<S::Item>)> {
    let found = sets.each().find(|each| guid_at(*each, S::GUID) == Some(set));
    let found = found.ok_or(NtStatus::PROPSET_NOT_FOUND.error())?;
    let stride = if sets.item_size == 0 { S::ITEM_SIZE } else { sets.item_size as usize } as u64;
    let first = found.addr_at(S::ITEMS);
    let items = (0..u64::from(found.get(S::COUNT))).filter(|_| first != 0);
    let item =
        items.map(|index| Foreign::<S::Item>::of_table(first + index * stride)).find(|item| item.get(S::ID) == id);
    Ok((found, item.ok_or(NtStatus::NOT_FOUND.error())?))
}

/// Returns the GUIDs of the sets.
pub(crate) fn property_sets(sets: &Sets<KSPROPERTY_SET>) -> Vec<GUID> {
    sets.each().filter_map(|set| guid_at(set, KSPROPERTY_SET::Set)).collect()
}

/// Whether the sets have this property.
pub(crate) fn has_property(sets: &Sets<KSPROPERTY_SET>, set: GUID, id: u32) -> bool {
    find(sets, set, id).is_ok()
}

/// A request with its buffers as the handler gets them.
struct Call {
    packet: Irp,
    /// KSPROPERTY or KSMETHOD and what follows it.
    request: property::Request,
    /// Where the request's copy lies.
    at: u64,
    /// The data's copy; empty for a caller without an output buffer.
    data: Region,
}

impl Call {
    fn data_at(&self) -> u64 {
        if self.data.is_empty() { 0 } else { self.data.addr() }
    }
    fn say(&self, information: usize) {
        irp::set_status(self.packet, IoStatus::new(irp::status(self.packet).status, information as u64));
    }
    /// KS-PR-04: what an output buffer of this length is told when `needed` bytes are due.
    fn short(&self, needed: usize) -> NtStatus {
        self.say(needed);
        self.packet.and32(IRP::Flags, !IRP_INPUT_OPERATION);
        if self.data.is_empty() { NtStatus::BUFFER_OVERFLOW } else { NtStatus::BUFFER_TOO_SMALL }
    }
    fn give(&self, bytes: &[u8]) -> NtResult<NtStatus> {
        if self.data.len() < bytes.len() {
            return Ok(self.short(bytes.len()));
        }
        self.data.sub(0, bytes.len()).write_from(bytes).map_err(violation)?;
        self.say(bytes.len());
        Ok(NtStatus::SUCCESS)
    }
    /// What a handler left in Information is what goes back, and no more than there is room for.
    fn end(&self, status: NtStatus) -> NtStatus {
        if status != NtStatus::PENDING && irp::status(self.packet).information > self.data.len() as u64 {
            self.packet.and32(IRP::Flags, !IRP_INPUT_OPERATION);
        }
        status
    }
    fn handler(&self, code: CodePtr, data: u64) -> NtStatus {
        match callout::call(code, &[self.packet.addr(), self.at, data]) {
            Ok(status) => NtStatus(status as u32),
            Err(raised) => raised.status,
        }
    }
}

/// Copies both buffers of a request (KS-PR-07). The copies go with the packet, unless an allocator made them (KS-PR-08).
fn capture(
    packet: Irp,
    allocator: Option<CodePtr>,
    copies_in: fn(u32) -> bool,
    goes_back: fn(u32) -> bool,
) -> NtResult<Call> {
    let raw = property::input(packet)?;
    if raw.len() < KSIDENTIFIER::SIZE {
        return NtStatus::INVALID_BUFFER_SIZE.fail(); // KS-PR-02, KS-ME-02
    }
    let request = property::Request { raw };
    let out = property::output(packet)?;
    let flags = request.flags();
    if goes_back(flags) {
        out.probe_write().map_err(violation)?;
    }
    let room = out.len().next_multiple_of(8);
    let size = room + request.raw.len();
    let buffer = match allocator {
        Some(code) => {
            let back = u64::from(goes_back(flags));
            callout::call(code, &[packet.addr(), size as u64, back]).map_err(|raised| raised.status.error())?;
            packet.ptr(IRP::AssociatedIrp_SystemBuffer)
        }
        None => pool::allocate(size, pool::tag(b"KsPb"), pool::PoolKind::NonPaged),
    };
    let buffer: Foreign<Bytes> = buffer.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let whole = Region::pool(buffer, size);
    let data = whole.sub(0, out.len());
    let mut copied = whole.sub(room, request.raw.len()).write_from(&request.raw);
    if copies_in(flags) && copied.is_ok() {
        copied = data.copy_from(out);
    }
    if let Err(fault) = copied {
        if allocator.is_none() {
            pool::free(buffer);
        }
        return Err(violation(fault));
    }
    if allocator.is_none() {
        packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(buffer));
        let back = if !out.is_empty() && goes_back(flags) { IRP_INPUT_OPERATION } else { 0 };
        packet.or32(IRP::Flags, IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | back);
    }
    Ok(Call { packet, request, at: buffer.addr() + room as u64, data })
}

fn context<S>(packet: Irp, set: Foreign<S>, item: Option<u64>) {
    packet.set(IRP::Tail_DriverContext.index(0), set.addr()); // KS-PR-09
    if let Some(item) = item {
        packet.set(IRP::Tail_DriverContext.index(3), item);
    }
}

/// The set GUIDs of a SETSUPPORT query (KS-PR-14).
fn supported<S: Set>(sets: &Sets<S>, call: &Call) -> NtResult<NtStatus> {
    let known: Vec<GUID> = sets.each().filter_map(|set| guid_at(set, S::GUID)).collect();
    match call.request.set() {
        GUID_NULL => call.give(&known.iter().flat_map(|set| set.to_bytes()).collect::<Vec<_>>()),
        wanted if known.contains(&wanted) => Ok(NtStatus::SUCCESS),
        _ => NtStatus::PROPSET_NOT_FOUND.fail(),
    }
}

/// KsPropertyHandler, KsPropertyHandlerWithAllocator. It neither completes the request nor sets its status (KS-PR-06).
pub fn property_handler(packet: Irp, sets: &Sets<KSPROPERTY_SET>) -> NtStatus {
    irp::set_status(packet, IoStatus::new(irp::status(packet).status, 0));
    properties(packet, sets).unwrap_or_else(|error| error.status())
}

fn properties(packet: Irp, sets: &Sets<KSPROPERTY_SET>) -> NtResult<NtStatus> {
    if !sets.item_size.is_multiple_of(8) {
        return NtStatus::INVALID_PARAMETER.fail(); // KS-PR-08
    }
    let put = |flags: u32| flags & KSPROPERTY_TYPE_SET != 0;
    let call = capture(packet, sets.allocator, put, |flags| flags & TYPES != KSPROPERTY_TYPE_SET)?;
    let flags = call.request.flags();
    if flags & KSPROPERTY_TYPE_SETSUPPORT != 0 {
        return supported(sets, &call);
    }
    let (set, item) = find(sets, call.request.set(), call.request.id())?;
    let kept = sets.item_size as usize >= KSPROPERTY_ITEM::SIZE;
    context(packet, set, kept.then(|| item.addr()));
    const SUPPORT: u32 = KSPROPERTY_TYPE_BASICSUPPORT
        | KSPROPERTY_TYPE_DEFAULTVALUES
        | KSPROPERTY_TYPE_SERIALIZERAW
        | KSPROPERTY_TYPE_SERIALIZESET
        | KSPROPERTY_TYPE_SERIALIZESIZE
        | KSPROPERTY_TYPE_UNSERIALIZERAW
        | KSPROPERTY_TYPE_UNSERIALIZESET
        | KSPROPERTY_TYPE_RELATIONS;
    if flags & SUPPORT != 0 {
        return query(&call, item, flags);
    }
    let minimum = item.get(KSPROPERTY_ITEM::MinProperty) as usize;
    if call.request.raw.len() < minimum {
        call.say(minimum);
        return Ok(NtStatus::INVALID_PARAMETER); // KS-PR-03
    }
    let (handler, get) = match flags & TYPES {
        KSPROPERTY_TYPE_SET => (item.code(KSPROPERTY_ITEM::SetPropertyHandler), false),
        0 => return NtStatus::INVALID_PARAMETER.fail(),
        _ => (item.code(KSPROPERTY_ITEM::GetPropertyHandler), true),
    };
    let handler = handler.ok_or(NtStatus::NOT_FOUND.error())?;
    let due = item.get(KSPROPERTY_ITEM::MinData) as usize;
    if call.data.len() < due {
        let said = call.short(due);
        return Ok(if get { said } else { NtStatus::BUFFER_TOO_SMALL });
    }
    let status = call.handler(handler, call.data_at());
    Ok(call.end(status))
}

/// What is asked about a property: the driver's support handler first, then what the item says (KS-PR-12, KS-PR-13, KS-PR-16).
fn query(call: &Call, item: Foreign<KSPROPERTY_ITEM>, flags: u32) -> NtResult<NtStatus> {
    if let Some(support) = item.code(KSPROPERTY_ITEM::SupportHandler) {
        let status = call.handler(support, call.data_at());
        if status != NtStatus::SOME_NOT_MAPPED && status != NtStatus::NOT_FOUND {
            return Ok(call.end(status)); // KS-PR-10: SOME_NOT_MAPPED leaves the rest to us
        }
    }
    if flags & KSPROPERTY_TYPE_RELATIONS != 0 {
        let count = item.get(KSPROPERTY_ITEM::RelationsCount);
        let relations = item.region_at(KSPROPERTY_ITEM::Relations, count as usize * KSIDENTIFIER::SIZE);
        let bytes = if count == 0 { Vec::new() } else { relations.to_vec().map_err(violation)? };
        return sized_list(call, count, &bytes);
    }
    if flags & KSPROPERTY_TYPE_BASICSUPPORT == 0 {
        return NtStatus::NOT_FOUND.fail();
    }
    let access = |code: Option<CodePtr>, bit| if code.is_some() { bit } else { 0 };
    let access = access(item.code(KSPROPERTY_ITEM::GetPropertyHandler), KSPROPERTY_TYPE_GET)
        | access(item.code(KSPROPERTY_ITEM::SetPropertyHandler), KSPROPERTY_TYPE_SET);
    let whole = description(access, item)?;
    match call.data.len() {
        0..4 => {
            call.packet.and32(IRP::Flags, !IRP_INPUT_OPERATION);
            NtStatus::BUFFER_TOO_SMALL.fail()
        }
        4..KSPROPERTY_DESCRIPTION::SIZE => call.give(&whole[..4]),
        room if room < whole.len() => call.give(&whole[..KSPROPERTY_DESCRIPTION::SIZE]),
        _ => call.give(&whole),
    }
}

/// KSPROPERTY_DESCRIPTION with the lists of members behind it.
fn description(access: u32, item: Foreign<KSPROPERTY_ITEM>) -> NtResult<Vec<u8>> {
    let mut raw = vec![0; KSPROPERTY_DESCRIPTION::SIZE];
    let values = item.ptr(KSPROPERTY_ITEM::Values).map(Foreign::<Bytes>::view::<KSPROPERTY_VALUES>);
    if let Some(values) = values {
        let count = values.get(KSPROPERTY_VALUES::MembersListCount);
        let kind = item.region_at(KSPROPERTY_ITEM::Values, KSIDENTIFIER::SIZE).to_vec().map_err(violation)?;
        raw[8..8 + KSIDENTIFIER::SIZE].copy_from_slice(&kind);
        raw[32..36].copy_from_slice(&count.to_le_bytes());
        for index in 0..count as usize {
            let Some(lists) = values.ptr(KSPROPERTY_VALUES::MembersList) else { break };
            let list = lists.element(index);
            let header = list.at(KSPROPERTY_MEMBERSLIST::MembersHeader);
            let words = [
                KSPROPERTY_MEMBERSHEADER::MembersFlags,
                KSPROPERTY_MEMBERSHEADER::MembersSize,
                KSPROPERTY_MEMBERSHEADER::MembersCount,
                KSPROPERTY_MEMBERSHEADER::Flags,
            ];
            raw.extend(words.into_iter().flat_map(|word| header.get(word).to_le_bytes()));
            let size = header.get(KSPROPERTY_MEMBERSHEADER::MembersSize) as usize;
            raw.extend(list.region_at(KSPROPERTY_MEMBERSLIST::Members, size).to_vec().map_err(violation)?);
        }
    }
    raw[..4].copy_from_slice(&access.to_le_bytes());
    let size = (raw.len() as u32).to_le_bytes();
    raw[4..8].copy_from_slice(&size);
    Ok(raw)
}

fn sized_list(call: &Call, count: u32, bytes: &[u8]) -> NtResult<NtStatus> {
    let mut whole = (8 + bytes.len() as u32).to_le_bytes().to_vec();
    whole.extend(count.to_le_bytes());
    whole.extend(bytes);
    match call.data.len() {
        4 => call.give(&whole[..4]),
        8 => call.give(&whole[..8]),
        _ => call.give(&whole),
    }
}

/// KsMethodHandler, KsMethodHandlerWithAllocator.
pub fn method_handler(packet: Irp, sets: &Sets<KSMETHOD_SET>) -> NtStatus {
    irp::set_status(packet, IoStatus::new(irp::status(packet).status, 0));
    methods(packet, sets).unwrap_or_else(|error| error.status())
}

fn methods(packet: Irp, sets: &Sets<KSMETHOD_SET>) -> NtResult<NtStatus> {
    if !sets.item_size.is_multiple_of(8) {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let raw = property::input(packet)?;
    if raw.len() < KSIDENTIFIER::SIZE {
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    let request = property::Request { raw };
    const QUERIES: u32 = KSMETHOD_TYPE_SETSUPPORT | KSMETHOD_TYPE_BASICSUPPORT;
    let asks = request.flags() & QUERIES != 0;
    if request.flags() & KSMETHOD_TYPE_SETSUPPORT != 0 {
        let call = capture(packet, sets.allocator, |_| false, |_| true)?;
        return supported(sets, &call);
    }
    let (set, item) = find(sets, request.set(), request.id())?;
    let kind = item.get(KSMETHOD_ITEM::Flags);
    let minimum = item.get(KSMETHOD_ITEM::MinMethod) as usize;
    if !asks && request.raw.len() < minimum {
        irp::set_status(packet, IoStatus::new(irp::status(packet).status, minimum as u64));
        return Ok(NtStatus::INVALID_PARAMETER);
    }
    // KS-ME-01: the item says which way its data goes.
    let reads = !asks && kind & KSMETHOD_TYPE_READ != 0;
    let writes = asks || kind & KSMETHOD_TYPE_WRITE != 0;
    let call = match (reads, writes) {
        (true, true) => capture(packet, sets.allocator, |_| true, |_| true),
        (true, false) => capture(packet, sets.allocator, |_| true, |_| false),
        (false, true) => capture(packet, sets.allocator, |_| false, |_| true),
        (false, false) => capture(packet, sets.allocator, |_| false, |_| false),
    }?;
    let kept = sets.item_size as usize >= KSMETHOD_ITEM::SIZE;
    context(packet, set, kept.then(|| item.addr()));
    packet.set(IRP::Tail_DriverContext.index(2), u64::from(kind)); // KS-ME-04
    if asks {
        if let Some(support) = item.code(KSMETHOD_ITEM::SupportHandler) {
            let status = call.handler(support, call.data_at());
            if status != NtStatus::SOME_NOT_MAPPED && status != NtStatus::NOT_FOUND {
                return Ok(call.end(status));
            }
        }
        return call.give(&kind.to_le_bytes()); // KS-ME-06
    }
    let handler = item.code(KSMETHOD_ITEM::MethodHandler).ok_or(NtStatus::NOT_FOUND.error())?;
    let due = item.get(KSMETHOD_ITEM::MinData) as usize;
    if call.data.len() < due {
        return Ok(call.short(due));
    }
    let data = if kind & KSMETHOD_TYPE_SOURCE != 0 { property::output(packet)?.addr() } else { call.data_at() };
    let status = call.handler(handler, data);
    Ok(call.end(status))
}
