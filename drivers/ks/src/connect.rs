//! Pin kinds, and what a connect request must look like.
//!
//! Room: drivers/ks. Called by: filters, clients. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: KsCreatePin, KsValidateConnectRequest pages; rules KS-PN-01, KS-PN-03 to KS-PN-06.

use nt_abi::ks::{
    GUID, GUID_NULL, KSDATAFORMAT, KSDATAFORMAT_SPECIFIER_NONE, KSDATAFORMAT_SUBTYPE_NONE, KSDATAFORMAT_TYPE_STREAM,
    KSINTERFACE_STANDARD_STREAMING, KSINTERFACESETID_Standard, KSMEDIUMSETID_Standard, KSNAME_Pin,
    KSPIN_COMMUNICATION_BOTH, KSPIN_COMMUNICATION_SINK, KSPIN_COMMUNICATION_SOURCE, KSPIN_CONNECT, KSPIN_DATAFLOW_IN,
    KSPIN_DATAFLOW_OUT, KSPRIORITY, KSPRIORITY_NORMAL,
};
use nt_abi::ob::{OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::create::{self, CreateSpec};
use nt_io::service::violation;
use nt_ke::{Frame, Mode};
use nt_ob::Handle;
use nt_trace::rule;

/// A name is at most 65,534 bytes long; the class takes 78 of them.
const LONGEST: usize = 0xFFFE - 78;

/// What a pin does with what it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Takes IOCTL_KS_WRITE_STREAM.
    Sink,
    /// Takes plain writes: IRP_MJ_WRITE and FastIoWrite.
    Raw,
    /// Takes IOCTL_KS_READ_STREAM.
    Source,
}

/// A kind of pin that a filter has: what a KSPIN_DESCRIPTOR says.
#[derive(Clone, Copy, Debug)]
pub struct PinKind {
    /// What it does.
    pub role: Role,
    /// KSPIN_COMMUNICATION.
    pub communication: u32,
    /// How many instances a filter allows.
    pub possible: u32,
}

impl PinKind {
    /// Returns KSPIN_DATAFLOW.
    #[must_use]
    pub const fn flow(&self) -> u32 {
        match self.role {
            Role::Sink | Role::Raw => KSPIN_DATAFLOW_IN,
            Role::Source => KSPIN_DATAFLOW_OUT,
        }
    }
}

/// The kinds of pins of the built-in devices, by pin id.
pub const PINS: [PinKind; 3] = [
    PinKind { role: Role::Sink, communication: KSPIN_COMMUNICATION_SINK, possible: 64 },
    PinKind { role: Role::Raw, communication: KSPIN_COMMUNICATION_SINK, possible: 64 },
    PinKind { role: Role::Source, communication: KSPIN_COMMUNICATION_SINK, possible: 64 },
];

/// Lays out KSDATAFORMAT, or KSDATARANGE, of a byte stream.
#[must_use]
pub fn stream_format() -> [u8; KSDATAFORMAT::SIZE] {
    let mut raw = [0; KSDATAFORMAT::SIZE];
    raw[..4].copy_from_slice(&(KSDATAFORMAT::SIZE as u32).to_le_bytes());
    raw[16..32].copy_from_slice(&KSDATAFORMAT_TYPE_STREAM.to_bytes());
    raw[32..48].copy_from_slice(&KSDATAFORMAT_SUBTYPE_NONE.to_bytes());
    raw[48..64].copy_from_slice(&KSDATAFORMAT_SPECIFIER_NONE.to_bytes());
    raw
}

/// Lays out KSPIN_CONNECT for a pin that is fed by its client.
#[must_use]
pub fn client_connect(pin: u32) -> [u8; KSPIN_CONNECT::SIZE] {
    let mut raw = [0; KSPIN_CONNECT::SIZE];
    raw[..16].copy_from_slice(&KSINTERFACESETID_Standard.to_bytes());
    raw[16..20].copy_from_slice(&KSINTERFACE_STANDARD_STREAMING.to_le_bytes());
    raw[24..40].copy_from_slice(&KSMEDIUMSETID_Standard.to_bytes());
    raw[KSPIN_CONNECT::PinId.offset()..][..4].copy_from_slice(&pin.to_le_bytes());
    let priority = KSPIN_CONNECT::Priority.offset();
    raw[priority + KSPRIORITY::PriorityClass.offset()..][..4].copy_from_slice(&KSPRIORITY_NORMAL.to_le_bytes());
    raw[priority + KSPRIORITY::PrioritySubClass.offset()..][..4].copy_from_slice(&1_u32.to_le_bytes());
    raw
}

/// Spells a GUID as create names do: upper case in braces.
#[must_use]
pub fn class_of(guid: GUID) -> String {
    format!("{{{guid}}}").to_ascii_uppercase()
}

/// Makes the binary name of a pin: class, backslash, KSPIN_CONNECT, data format (KS-PN-01).
#[must_use]
pub fn pin_name(connect: &[u8], format: &[u8]) -> Vec<u16> {
    let mut bytes: Vec<u8> = format!("{}\\", class_of(KSNAME_Pin)).encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.extend(connect);
    bytes.extend(format);
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
    nt_rtl::unicode::units_of(&bytes)
}

/// KsCreatePin: opens the pin that the record names below a filter (KS-PN-01, KS-PN-02). `record` names so many bytes of
/// KSPIN_CONNECT with the data format behind it. The handle is a kernel handle, because kernel code asked for it.
pub fn create_pin(frame: &Frame, filter: Handle, record: impl Fn(usize) -> Region, access: u32) -> NtResult<Handle> {
    let short = KSPIN_CONNECT::SIZE + KSDATAFORMAT::SIZE;
    let size = record(short).load::<u32>(KSPIN_CONNECT::SIZE).map_err(violation)? as usize;
    let whole = short.max(KSPIN_CONNECT::SIZE.saturating_add(size));
    if whole > LONGEST {
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    let raw = record(whole).to_vec().map_err(violation)?;
    let (connect, format) = raw.split_at(KSPIN_CONNECT::SIZE);
    let spec = CreateSpec {
        access,
        root: filter,
        name: pin_name(connect, format),
        attributes: OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
        ..CreateSpec::default()
    };
    frame.with_mode(Mode::Kernel, || create::nt_create_file(frame, &spec)).map(|(handle, _)| handle)
}

/// A connect request that was found good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connect {
    /// PinId.
    pub pin: u32,
    /// KSDATAFORMAT and what follows it.
    pub format: Vec<u8>,
}

fn guid(raw: &[u8], at: usize) -> GUID {
    GUID::from_bytes(raw[at..at + 16].try_into().unwrap_or_default())
}

fn word(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(raw[at..at + 4].try_into().unwrap_or_default())
}

/// Judges the parameters of a pin's name, in the order of KS-PN-03.
pub fn validate(parameters: &[u8], pins: &[PinKind]) -> NtResult<Connect> {
    let body = KSPIN_CONNECT::SIZE;
    if parameters.len() < body + KSDATAFORMAT::SIZE {
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    let (connect, rest) = parameters.split_at(body);
    let size = word(rest, 0) as usize;
    if size < KSDATAFORMAT::SIZE || size > rest.len() {
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    let pin = word(connect, KSPIN_CONNECT::PinId.offset());
    let kind = pins.get(pin as usize).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let interface = (guid(connect, 0), word(connect, 16));
    let medium = (guid(connect, 24), word(connect, 40));
    if interface != (KSINTERFACESETID_Standard, KSINTERFACE_STANDARD_STREAMING) || medium != (KSMEDIUMSETID_Standard, 0)
    {
        return NtStatus::NO_MATCH.fail();
    }
    let peer = KSPIN_CONNECT::PinToHandle.offset();
    let wanted = if connect[peer..peer + 8] == [0; 8] { KSPIN_COMMUNICATION_SINK } else { KSPIN_COMMUNICATION_SOURCE };
    if kind.communication != wanted && kind.communication != KSPIN_COMMUNICATION_BOTH {
        rule!(KS_PN_04);
        return NtStatus::INVALID_DEVICE_REQUEST.fail();
    }
    let format = rest[..size].to_vec();
    if !accepts(&stream_format(), &format) {
        return NtStatus::NO_MATCH.fail();
    }
    Ok(Connect { pin, format })
}

/// Whether a range takes a format (KS-PN-05).
#[must_use]
pub fn accepts(range: &[u8], format: &[u8]) -> bool {
    let [major, sub, specifier] = [16, 32, 48].map(|at| (guid(range, at), guid(format, at)));
    let same = |(range, format): (GUID, GUID)| range == format;
    major.0 == GUID_NULL || (same(major) && (sub.0 == GUID_NULL || (same(sub) && same(specifier))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ks_pn_05_a_wildcard_counts_for_major_and_sub_formats_only() {
        let format = stream_format();
        let with = |at: usize, guid: GUID| {
            let mut range = stream_format();
            range[at..at + 16].copy_from_slice(&guid.to_bytes());
            range
        };
        assert!(
            accepts(&format, &format)
                && accepts(&with(16, GUID_NULL), &format)
                && accepts(&with(32, GUID_NULL), &format)
        );
        assert!(!accepts(&with(48, GUID_NULL), &format), "a specifier is no wildcard");
        assert!(!accepts(&with(32, KSMEDIUMSETID_Standard), &format));
    }
}
