//! What the run-time library exports to drivers: strings, printing, time.
//!
//! Room: ntos/rtl. Called by: drivers, through the loader. Calls: `cases`, `format`, `time`, `unicode`.
//! Not here: RtlCompareMemory, memcpy and their kin (the loader has them as code without a Rust frame).
//! A bad pointer raises ACCESS_VIOLATION in the driver, as touching it would.
#![expect(unsafe_code, reason = "unsafe home 3: entry points take a driver's pointers")]

use crate::format::{self, Varargs, Width};
use crate::time::{self, TimeFields};
use crate::{cases, expression, short, unicode};
use nt_abi::ke::TIME_FIELDS;
use nt_abi::ob::{ANSI_STRING, GENERATE_NAME_CONTEXT, UNICODE_STRING};
use nt_abi::{NtStatus, Word};
use nt_cell::{Fault, Foreign, Region, exports, raise};

/// What one call of DbgPrint sends at most, in bytes.
const DEBUG_LIMIT: usize = 512;

/// Names memory that a driver gave.
fn span(addr: u64, len: usize) -> Region {
    let len = if addr.checked_add(len as u64).is_none() { 0 } else { len };
    // SAFETY: a driver gave the pointer for this use (S-3); the line above keeps the span from wrapping.
    unsafe { Region::from_raw(addr, len) }
}

fn load<W: Word>(addr: u64) -> Result<W, Fault> {
    // SAFETY: as in `span`; a scalar that wraps around the address space faults in the guarded load.
    unsafe { Region::from_raw(addr, size_of::<W>()) }.load(0)
}

fn store<W: Word>(addr: u64, value: W) -> Result<(), Fault> {
    // SAFETY: as in `load`.
    unsafe { Region::from_raw(addr, size_of::<W>()) }.store(0, value)
}

/// Takes a driver's pointer to a structure; a bad one is a fault here, not later.
fn at<T>(addr: u64) -> Result<Foreign<T>, Fault> {
    span(addr, size_of::<T>()).probe_read()?;
    // SAFETY: the driver passes a pointer to a `T`, as the header declares (S-3).
    unsafe { Foreign::from_raw(addr) }.ok_or(Fault { address: addr, write: false })
}

/// Runs a body whose faults are the caller's exceptions.
fn raising<R: Default>(body: impl FnOnce() -> Result<R, Fault>) -> R {
    body().unwrap_or_else(|_| {
        raise::raise(NtStatus::ACCESS_VIOLATION);
        R::default()
    })
}

fn units(addr: u64) -> Result<Vec<u16>, Fault> {
    unicode::units(at::<UNICODE_STRING>(addr)?)
}

fn bytes(addr: u64) -> Result<Vec<u8>, Fault> {
    unicode::ansi_bytes(at::<ANSI_STRING>(addr)?)
}

/// A win64 `va_list`: a pointer to eight-byte slots.
struct VaList(u64);

impl Varargs for VaList {
    fn next(&mut self) -> Result<u64, Fault> {
        let value = load(self.0)?;
        self.0 = self.0.wrapping_add(8);
        Ok(value)
    }
    fn span(&self, addr: u64, len: usize) -> Region {
        span(addr, len)
    }
}

fn narrow(addr: u64) -> Result<Vec<u8>, Fault> {
    format::narrow_string(span, addr, usize::MAX)
}

fn wide(addr: u64) -> Result<Vec<u16>, Fault> {
    format::wide_string(span, addr, usize::MAX)
}

/// Prints on the machine's debug output; a format that cannot be read is reported to the caller, never raised.
fn debug(prefix: u64, text: u64, args: &mut VaList) -> u32 {
    let mut formatted = || {
        let mut out = if prefix == 0 { Vec::new() } else { narrow(prefix)? };
        out.extend(format::expand(&narrow(text)?, Width::Narrow, args)?);
        Ok::<_, Fault>(out)
    };
    match formatted() {
        Ok(mut out) => {
            out.truncate(DEBUG_LIMIT);
            nt_ke::current().kernel.debug_print(&String::from_utf8_lossy(&out));
            NtStatus::SUCCESS.0
        }
        Err(_) => NtStatus::ACCESS_VIOLATION.0,
    }
}

/// `_vsnprintf`: -1 where the text does not fit, a terminator only where it does; no buffer: the length.
fn print_narrow(buffer: u64, count: u64, text: u64, args: &mut VaList) -> Result<i32, Fault> {
    let mut out = format::expand(&narrow(text)?, Width::Narrow, args)?;
    let length = out.len();
    if buffer == 0 && count == 0 {
        return Ok(length as i32);
    }
    out.push(0);
    out.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    span(buffer, out.len()).write_from(&out)?;
    Ok(if length as u64 > count { -1 } else { length as i32 })
}

/// `_vsnwprintf`.
fn print_wide(buffer: u64, count: u64, text: u64, args: &mut VaList) -> Result<i32, Fault> {
    let expanded = format::expand(&format::to_bytes(&wide(text)?), Width::Wide, args)?;
    let mut out = format::to_units(&expanded);
    let length = out.len();
    if buffer == 0 && count == 0 {
        return Ok(length as i32);
    }
    out.push(0);
    out.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    let raw = unicode::bytes_of(&out);
    span(buffer, raw.len()).write_from(&raw)?;
    Ok(if length as u64 > count { -1 } else { length as i32 })
}

/// Runs a printing body on the slots behind `skip` named arguments of a variadic call.
fn variadic(va: u64, named: usize, body: impl FnOnce(&[u64], &mut VaList) -> Result<i32, Fault>) -> u64 {
    raising(|| {
        let mut args = VaList(va);
        let values = (0..named).map(|_| args.next()).collect::<Result<Vec<_>, _>>()?;
        body(&values, &mut args).map(|length| length as i64 as u64)
    })
}

/// Makes a counted string describe a terminated one.
fn describe(to: u64, length: usize, terminator: usize, source: u64) -> Result<(), Fault> {
    let longest = 0xFFFE - terminator;
    let length = length.min(longest);
    store::<u16>(to, length as u16)?;
    store::<u16>(to.wrapping_add(2), if source == 0 { 0 } else { (length + terminator) as u16 })?;
    store::<u64>(to.wrapping_add(8), source)
}

fn init_unicode(to: u64, source: u64) -> Result<(), Fault> {
    let length = if source == 0 { 0 } else { wide(source)?.len() * 2 };
    describe(to, length, 2, source)
}

fn init_ansi(to: u64, source: u64) -> Result<(), Fault> {
    let length = if source == 0 { 0 } else { narrow(source)?.len() };
    describe(to, length, 1, source)
}

fn fields_at(addr: u64) -> Result<TimeFields, Fault> {
    let f = at::<TIME_FIELDS>(addr)?;
    Ok(TimeFields {
        year: f.get(TIME_FIELDS::Year),
        month: f.get(TIME_FIELDS::Month),
        day: f.get(TIME_FIELDS::Day),
        hour: f.get(TIME_FIELDS::Hour),
        minute: f.get(TIME_FIELDS::Minute),
        second: f.get(TIME_FIELDS::Second),
        milliseconds: f.get(TIME_FIELDS::Milliseconds),
        weekday: f.get(TIME_FIELDS::Weekday),
    })
}

fn fields_to(addr: u64, fields: TimeFields) -> Result<(), Fault> {
    let f = at::<TIME_FIELDS>(addr)?;
    f.set(TIME_FIELDS::Year, fields.year);
    f.set(TIME_FIELDS::Month, fields.month);
    f.set(TIME_FIELDS::Day, fields.day);
    f.set(TIME_FIELDS::Hour, fields.hour);
    f.set(TIME_FIELDS::Minute, fields.minute);
    f.set(TIME_FIELDS::Second, fields.second);
    f.set(TIME_FIELDS::Milliseconds, fields.milliseconds);
    f.set(TIME_FIELDS::Weekday, fields.weekday);
    Ok(())
}

fn legal_short_name(name: u64, oem: u64, spaces: u64) -> Result<u8, Fault> {
    let upper = short::oem(&units(name)?);
    if oem != 0 {
        let oem = at::<ANSI_STRING>(oem)?;
        if upper.len() > usize::from(oem.get(ANSI_STRING::MaximumLength)) {
            return Ok(0);
        }
        oem.region_at(ANSI_STRING::Buffer, upper.len()).write_from(&upper)?;
        oem.set(ANSI_STRING::Length, upper.len() as u16);
    }
    let Some(legal) = short::legal(&upper) else { return Ok(0) };
    if spaces != 0 {
        store(spaces, u8::from(legal.spaces))?;
    }
    Ok(1)
}

fn next_short_name(name: u64, extended: bool, context: u64, to: u64) -> Result<NtStatus, Fault> {
    let (name, context, to) = (units(name)?, at::<GENERATE_NAME_CONTEXT>(context)?, at::<UNICODE_STRING>(to)?);
    let mut generator = short::Generator::load(context)?;
    let Some(short) = generator.next(&name, extended) else { return Ok(NtStatus::FILE_SYSTEM_LIMITATION) };
    generator.store(context)?;
    let raw = unicode::bytes_of(&short);
    to.region_at(UNICODE_STRING::Buffer, raw.len()).write_from(&raw)?;
    to.set(UNICODE_STRING::Length, raw.len() as u16);
    Ok(NtStatus::SUCCESS)
}

/// Orders ANSI strings by bytes; only ASCII letters have a case in this code page's single bytes.
fn compare_ansi(a: &[u8], b: &[u8], ignore_case: bool) -> i32 {
    let map = |x: &u8| i32::from(if ignore_case { x.to_ascii_uppercase() } else { *x });
    let first = a.iter().zip(b).map(|(x, y)| map(x) - map(y)).find(|d| *d != 0);
    first.unwrap_or(a.len() as i32 - b.len() as i32)
}

exports! { "ntoskrnl.exe" =>
    Full raises RtlInitUnicodeString(to: u64, source: u64) { raising(|| init_unicode(to, source)); }
    Full raises RtlInitUnicodeStringEx(to: u64, source: u64) -> u32 {
        raising(|| {
            if source != 0 && wide(source)?.len() * 2 > 0xFFFC {
                return Ok(NtStatus::NAME_TOO_LONG.0);
            }
            init_unicode(to, source).map(|()| NtStatus::SUCCESS.0)
        })
    }
    Full raises RtlInitAnsiString(to: u64, source: u64) { raising(|| init_ansi(to, source)); }
    Full raises RtlInitString(to: u64, source: u64) { raising(|| init_ansi(to, source)); }
    Full raises RtlCopyUnicodeString(to: u64, from: u64) {
        raising(|| {
            let from = if from == 0 { None } else { Some(at(from)?) };
            unicode::copy(at(to)?, from)
        });
    }
    Full raises RtlCompareUnicodeString(a: u64, b: u64, ignore_case: u8) -> i32 {
        raising(|| Ok(cases::difference(&units(a)?, &units(b)?, ignore_case != 0)))
    }
    Full raises RtlEqualUnicodeString(a: u64, b: u64, ignore_case: u8) -> u8 {
        raising(|| Ok(u8::from(cases::equal(&units(a)?, &units(b)?, ignore_case != 0))))
    }
    Full raises RtlPrefixUnicodeString(prefix: u64, of: u64, ignore_case: u8) -> u8 {
        raising(|| Ok(u8::from(cases::is_prefix(&units(prefix)?, &units(of)?, ignore_case != 0))))
    }
    Full raises RtlCompareString(a: u64, b: u64, ignore_case: u8) -> i32 {
        raising(|| Ok(compare_ansi(&bytes(a)?, &bytes(b)?, ignore_case != 0)))
    }
    Full raises RtlEqualString(a: u64, b: u64, ignore_case: u8) -> u8 {
        raising(|| Ok(u8::from(compare_ansi(&bytes(a)?, &bytes(b)?, ignore_case != 0) == 0)))
    }
    Full raises RtlAppendUnicodeToString(to: u64, source: u64) -> u32 {
        raising(|| {
            let more = if source == 0 { Vec::new() } else { wide(source)? };
            unicode::append(at(to)?, &more).map(|status| status.0)
        })
    }
    Full raises RtlAppendUnicodeStringToString(to: u64, from: u64) -> u32 {
        raising(|| unicode::append(at(to)?, &units(from)?).map(|status| status.0))
    }
    Full raises RtlUpcaseUnicodeString(to: u64, from: u64, fresh: u8) -> u32 {
        raising(|| unicode::mapped(at(to)?, at(from)?, cases::upcase, fresh != 0).map(|status| status.0))
    }
    Full raises RtlDowncaseUnicodeString(to: u64, from: u64, fresh: u8) -> u32 {
        raising(|| unicode::mapped(at(to)?, at(from)?, cases::downcase, fresh != 0).map(|status| status.0))
    }
    Full code RtlUpcaseUnicodeChar(unit: u16) -> u16 { cases::upcase(unit) }
    Full code RtlDowncaseUnicodeChar(unit: u16) -> u16 { cases::downcase(unit) }
    Full raises RtlHashUnicodeString(string: u64, ignore_case: u8, algorithm: u32, hash: u64) -> u32 {
        raising(|| {
            if algorithm > 1 {
                return Ok(NtStatus::INVALID_PARAMETER.0);
            }
            store(hash, cases::hash(&units(string)?, ignore_case != 0)).map(|()| NtStatus::SUCCESS.0)
        })
    }
    Full raises RtlUnicodeStringToInteger(string: u64, base: u32, value: u64) -> u32 {
        raising(|| match unicode::to_integer(&units(string)?, base) {
            Ok(number) => store(value, number).map(|()| NtStatus::SUCCESS.0),
            Err(error) => Ok(error.status().0),
        })
    }
    Full raises RtlIntegerToUnicodeString(value: u32, base: u32, to: u64) -> u32 {
        raising(|| unicode::from_integer(at(to)?, u64::from(value), base).map(|status| status.0))
    }
    Full raises RtlInt64ToUnicodeString(value: u64, base: u32, to: u64) -> u32 {
        raising(|| unicode::from_integer(at(to)?, value, base).map(|status| status.0))
    }
    Full raises RtlAnsiStringToUnicodeString(to: u64, from: u64, fresh: u8) -> u32 {
        raising(|| unicode::from_ansi(at(to)?, at(from)?, fresh != 0).map(|status| status.0))
    }
    Full raises RtlUnicodeStringToAnsiString(to: u64, from: u64, fresh: u8) -> u32 {
        raising(|| unicode::to_ansi(at(to)?, at(from)?, fresh != 0).map(|status| status.0))
    }
    Full raises RtlFreeUnicodeString(string: u64) { raising(|| { unicode::free(at(string)?); Ok(()) }); }
    Full raises RtlFreeAnsiString(string: u64) { raising(|| { unicode::free_ansi(at(string)?); Ok(()) }); }
    Full raises RtlTimeToTimeFields(time_at: u64, to: u64) {
        raising(|| fields_to(to, time::to_fields(load(time_at)?)));
    }
    Full raises RtlTimeFieldsToTime(from: u64, time_at: u64) -> u8 {
        raising(|| match time::from_fields(&fields_at(from)?) {
            Some(value) => store(time_at, value).map(|()| 1),
            None => Ok(0),
        })
    }
    Partial("a caller's upcase table is not read: the house's own is used")
    raises FsRtlIsNameInExpression(pattern: u64, name: u64, ignore_case: u8, _table: u64) -> u8 {
        raising(|| Ok(u8::from(expression::matches(&units(pattern)?, &units(name)?, ignore_case != 0))))
    }
    Full raises FsRtlDoesNameContainWildCards(name: u64) -> u8 {
        raising(|| Ok(u8::from(expression::has_wildcards(&units(name)?))))
    }
    Full raises RtlIsNameLegalDOS8Dot3(name: u64, oem: u64, spaces: u64) -> u8 { raising(|| legal_short_name(name, oem, spaces)) }
    Full raises RtlGenerate8dot3Name(name: u64, extended: u8, context: u64, to: u64) -> u32 {
        raising(|| next_short_name(name, extended != 0, context, to).map(|status| status.0))
    }
    Partial("prints and goes on: there is no debugger to ask")
    code RtlAssert(claim: u64, file: u64, line: u32, message: u64) {
        let part = |addr: u64| if addr == 0 { Ok(Vec::new()) } else { narrow(addr) };
        let lossy = |addr: u64| String::from_utf8_lossy(&part(addr).unwrap_or_default()).into_owned();
        let text = format!("*** Assertion failed: {}{}\n***   Source File: {}, line {line}\n", lossy(message), lossy(claim), lossy(file));
        nt_ke::current().kernel.debug_print(&text);
    }
    Partial("no floating-point conversions")
    variadic DbgPrint(va: u64) -> u64 {
        let mut args = VaList(va);
        args.next().map_or(u64::from(NtStatus::ACCESS_VIOLATION.0), |text| u64::from(debug(0, text, &mut args)))
    }
    Partial("no floating-point conversions; component and level do not filter")
    variadic DbgPrintEx(va: u64) -> u64 {
        let mut args = VaList(va.wrapping_add(16));
        args.next().map_or(u64::from(NtStatus::ACCESS_VIOLATION.0), |text| u64::from(debug(0, text, &mut args)))
    }
    Partial("no floating-point conversions; component and level do not filter")
    code vDbgPrintEx(_component: u32, _level: u32, text: u64, va: u64) -> u32 { debug(0, text, &mut VaList(va)) }
    Partial("no floating-point conversions; component and level do not filter")
    code vDbgPrintExWithPrefix(prefix: u64, _component: u32, _level: u32, text: u64, va: u64) -> u32 {
        debug(prefix, text, &mut VaList(va))
    }
    Partial("no floating-point conversions")
    variadic _snprintf(va: u64) -> u64 { variadic(va, 3, |a, args| print_narrow(a[0], a[1], a[2], args)) }
    Partial("no floating-point conversions")
    variadic _snwprintf(va: u64) -> u64 { variadic(va, 3, |a, args| print_wide(a[0], a[1], a[2], args)) }
    Partial("no floating-point conversions")
    raises _vsnprintf(buffer: u64, count: u64, text: u64, va: u64) -> i32 {
        raising(|| print_narrow(buffer, count, text, &mut VaList(va)))
    }
    Partial("no floating-point conversions")
    raises _vsnwprintf(buffer: u64, count: u64, text: u64, va: u64) -> i32 {
        raising(|| print_wide(buffer, count, text, &mut VaList(va)))
    }
    Partial("no floating-point conversions")
    variadic sprintf(va: u64) -> u64 { variadic(va, 2, |a, args| print_narrow(a[0], u64::MAX, a[1], args)) }
    Partial("no floating-point conversions")
    variadic swprintf(va: u64) -> u64 { variadic(va, 2, |a, args| print_wide(a[0], u64::MAX, a[1], args)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nt_cell::UserBlock;

    /// Arguments of a variadic call, in user memory.
    fn slots(values: &[u64]) -> UserBlock {
        let block = UserBlock::new(values.len() * 8).expect("arena");
        for (i, value) in values.iter().enumerate() {
            block.region().store(i * 8, *value).expect("mapped");
        }
        block
    }

    fn text(bytes: &[u8]) -> UserBlock {
        let block = UserBlock::new(bytes.len().max(16)).expect("arena");
        block.region().sub(0, bytes.len()).write_from(bytes).expect("mapped");
        block
    }

    fn snprintf(count: u64, format: &[u8], values: &[u64]) -> (i32, Vec<u8>) {
        let (buffer, format, args) = (UserBlock::new(32).expect("arena"), text(format), slots(values));
        buffer.region().fill(0xEE).expect("mapped");
        let length = print_narrow(buffer.addr(), count, format.addr(), &mut VaList(args.addr())).expect("mapped");
        (length, buffer.region().to_vec().expect("mapped"))
    }

    #[test]
    fn snprintf_terminates_only_what_fits() {
        let (length, out) = snprintf(8, b"%d-%x\0", &[12, 0xAB]);
        assert_eq!((length, &out[..7]), (5, &b"12-ab\0\xEE"[..]));
        let (length, out) = snprintf(5, b"%d-%x\0", &[12, 0xAB]);
        assert_eq!((length, &out[..6]), (5, &b"12-ab\xEE"[..]), "exactly full: no terminator");
        let (length, out) = snprintf(4, b"%d-%x\0", &[12, 0xAB]);
        assert_eq!((length, &out[..5]), (-1, &b"12-a\xEE"[..]));
    }

    #[test]
    fn snwprintf_counts_units() {
        let wide_bytes = |s: &str| unicode::bytes_of(&s.encode_utf16().collect::<Vec<_>>());
        let (buffer, format) = (UserBlock::new(32).expect("arena"), text(&wide_bytes("<%s>\0")));
        let name = text(&wide_bytes("n€\0"));
        let args = slots(&[name.addr()]);
        let length = print_wide(buffer.addr(), 16, format.addr(), &mut VaList(args.addr())).expect("mapped");
        assert_eq!(length, 4);
        assert_eq!(buffer.region().sub(0, 10).to_vec().expect("mapped"), wide_bytes("<n€>\0"));
    }

    /// Runs `body` inside a machine, and returns what was printed there.
    fn printed(body: impl FnOnce()) -> String {
        let kernel = nt_ke::Kernel::new(nt_ke::WindowsVersion::default());
        let heard = std::sync::Arc::new(nt_ke::Mutex::new(String::new()));
        let hears = std::sync::Arc::clone(&heard);
        kernel.set_debug_sink(Some(Box::new(move |text| hears.lock().push_str(text))));
        let _in = nt_ke::enter(&kernel, &nt_ke::Thread::new(&kernel), nt_ke::Mode::Kernel);
        body();
        heard.lock().clone()
    }

    fn call_variadic(name: &str, va: u64) -> u64 {
        let row = EXPORTS.iter().find(|row| row.name == name).expect("exported");
        let nt_cell::Entry::Variadic(code) = row.entry else { panic!("{name} takes a list") };
        // SAFETY: a change of type back to what the table was made of.
        let call = unsafe { core::mem::transmute::<unsafe extern "win64" fn(), extern "win64" fn(u64) -> u64>(code) };
        call(va)
    }

    #[test]
    fn a_driver_prints_on_its_machines_debug_output() {
        let (format, name) = (text(b"%s: %wZ at %p, %I64d\n\0"), text(b"drv\0"));
        let body = text(&unicode::bytes_of(&"\\Dé".encode_utf16().collect::<Vec<_>>()));
        let string = slots(&[6 | 6 << 16, body.addr()]);
        let args = slots(&[format.addr(), name.addr(), string.addr(), 0xAB, u64::MAX]);
        let out = printed(|| assert_eq!(call_variadic("DbgPrint", args.addr()), 0));
        assert_eq!(out, "drv: \\Dé at 00000000000000AB, -1\n");
        let args = slots(&[77, 3, format.addr(), name.addr(), string.addr(), 1, 2]);
        let out = printed(|| assert_eq!(call_variadic("DbgPrintEx", args.addr()), 0));
        assert_eq!(out, "drv: \\Dé at 0000000000000001, 2\n");
    }

    #[test]
    fn a_bad_format_is_a_status_and_prints_nothing() {
        let args = slots(&[0x10]);
        let bad = u64::from(NtStatus::ACCESS_VIOLATION.0);
        assert_eq!(printed(|| assert_eq!(call_variadic("DbgPrint", args.addr()), bad)), "");
        assert_eq!(raise::take(), None);
    }

    #[test]
    fn one_print_sends_512_bytes_at_most() {
        let long = text(&[&[b'x'; 600][..], &[0]].concat());
        let args = slots(&[long.addr()]);
        assert_eq!(printed(|| assert_eq!(call_variadic("DbgPrint", args.addr()), 0)).len(), 512);
    }

    #[test]
    fn a_bad_argument_raises_in_the_driver() {
        let format = text(b"%s\0");
        let values = slots(&[0, 0, format.addr(), 0x10]);
        assert_eq!(variadic(values.addr(), 3, |a, args| print_narrow(a[0], a[1], a[2], args)), 0);
        assert_eq!(raise::take(), Some(NtStatus::ACCESS_VIOLATION));
    }

    #[test]
    fn init_measures_up_to_the_terminator() {
        let (header, source) = (UserBlock::new(16).expect("arena"), text(b"a\0b\0\0\0"));
        init_unicode(header.addr(), source.addr()).expect("mapped");
        let read = |offset| header.region().load::<u16>(offset).expect("mapped");
        assert_eq!((read(0), read(2)), (4, 6));
        assert_eq!(header.region().load::<u64>(8), Ok(source.addr()));
        init_ansi(header.addr(), source.addr()).expect("mapped");
        assert_eq!((read(0), read(2)), (1, 2));
        init_unicode(header.addr(), 0).expect("mapped");
        assert_eq!((read(0), read(2)), (0, 0));
    }

    #[test]
    fn nt_nam_21_a_context_counts_between_two_calls() {
        let source = text(&unicode::bytes_of(&"A long name.text".encode_utf16().collect::<Vec<_>>()));
        let name = slots(&[32 | 32 << 16, source.addr()]);
        let context = UserBlock::new(size_of::<GENERATE_NAME_CONTEXT>()).expect("arena");
        context.region().fill(0).expect("mapped");
        let buffer = UserBlock::new(24).expect("arena");
        let short = slots(&[24 << 16, buffer.addr()]);
        let mut made = Vec::new();
        for _ in 0..6 {
            let status = next_short_name(name.addr(), false, context.addr(), short.addr());
            assert_eq!(status, Ok(NtStatus::SUCCESS));
            made.push(String::from_utf16_lossy(&units(short.addr()).expect("mapped")));
        }
        assert_eq!(made[..4], ["ALONGN~1.TEX", "ALONGN~2.TEX", "ALONGN~3.TEX", "ALONGN~4.TEX"]);
        assert!(made[4].starts_with("AL") && made[4].ends_with("~1.TEX") && made[4] == made[5].replace('2', "1"));
        assert_eq!(legal_short_name(short.addr(), 0, 0), Ok(1));
        // The OEM string is given whatever it is worth, and the Boolean only with a legal name.
        let (oem_buffer, spaces) = (UserBlock::new(16).expect("arena"), slots(&[2]));
        let oem = slots(&[12 << 16, oem_buffer.addr()]);
        assert_eq!(legal_short_name(name.addr(), oem.addr(), spaces.addr()), Ok(0), "no room");
        name.region().store::<u16>(0, 12).expect("mapped");
        assert_eq!(legal_short_name(name.addr(), oem.addr(), spaces.addr()), Ok(1), "A long");
        assert_eq!(bytes(oem.addr()).expect("mapped"), b"A LONG");
        assert_eq!(spaces.region().load::<u8>(0), Ok(1));
    }

    #[test]
    fn time_fields_cross_the_edge_both_ways() {
        let block = UserBlock::new(32).expect("arena");
        fields_to(block.addr(), time::to_fields(116_444_736_000_000_000)).expect("mapped");
        assert_eq!(block.region().load::<u16>(0), Ok(1970));
        assert_eq!(time::from_fields(&fields_at(block.addr()).expect("mapped")), Some(116_444_736_000_000_000));
    }
}
