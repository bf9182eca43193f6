//! The one table that says which names a driver can import, and how complete each is.
//!
//! Room: ntos/cell. Called by: every `exports.rs` (fills it), the loader and `ntio imports` (read it).
//! House rule 12: an export is full, partial (why) or absent (what it would return); the loader binds the first two.

/// How complete an export is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// Every rule of the ledger for it holds.
    Full,
    /// It works, except for what the text says.
    Partial(&'static str),
    /// It is known and missing; the text says what is missing.
    Absent(&'static str),
}

/// What an import binds to.
#[derive(Clone, Copy)]
pub enum Entry {
    /// A win64 routine that never raises.
    Code(unsafe extern "win64" fn()),
    /// A win64 routine that may leave a status in the raise slot ([`crate::raise`]); bound through an edge stub.
    Raises(unsafe extern "win64" fn()),
    /// A win64 routine `fn(va_list: u64) -> u64` for a variadic import; bound through a spilling stub.
    Variadic(unsafe extern "win64" fn()),
    /// Data: the routine returns the address that the import slot gets (IoFileObjectType and its like).
    Data(fn() -> u64),
    /// Nothing: the import cannot be bound.
    Missing,
}

/// One row: a name that an image of Windows exports.
pub struct Export {
    /// The image, in lower case: `ntoskrnl.exe`, `fltmgr.sys`, `ks.sys`, `hal.dll`.
    pub image: &'static str,
    /// The exported name.
    pub name: &'static str,
    /// How complete it is.
    pub support: Support,
    /// What it binds to.
    pub entry: Entry,
}

/// Runs the body of an export: a panic ends the process with a report that names the import, because it must not meet a
/// driver's frame.
#[inline(always)]
pub fn body<R>(import: &'static str, body: impl FnOnce() -> R) -> R {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(panic) => panicked(import, &*panic),
    }
}

/// As [`body`], for a routine whose row does not say `raises`: a status left in the raise slot would come out of some
/// later import, so it ends the process instead.
#[inline(always)]
pub fn quiet_body<R>(import: &'static str, inner: impl FnOnce() -> R) -> R {
    let value = body(import, inner);
    if crate::kpcr::current().get(crate::kpcr::RAISE_SLOT) != 0 {
        raised(import);
    }
    value
}

#[cold]
fn raised(import: &'static str) -> ! {
    let status = crate::raise::take().unwrap_or_default();
    let mut line = crate::fault::RawLine::new();
    line.text("ntio: bugcheck: the import ").text(import).text(" left status ").hex(u64::from(status.0));
    line.text(" to raise, but its row does not say `raises`");
    crate::fault::blame(&mut line);
    line.text("\n").write();
    std::process::abort()
}

#[cold]
fn panicked(import: &'static str, panic: &(dyn core::any::Any + Send)) -> ! {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let mut line = crate::fault::RawLine::new();
    line.text("ntio: bugcheck: the import ").text(import).text(" panicked: ").text(text.unwrap_or("?"));
    crate::fault::blame(&mut line);
    line.text("\n").write();
    std::process::abort()
}

/// Makes a room's table of exports, with the win64 routines behind it.
///
/// Each row is `SUPPORT KIND Name(args) -> ret { body }`. SUPPORT is `Full`, `Partial("why")` or `Absent("what is
/// missing")`. KIND is one of:
/// - `code`: a routine that never raises;
/// - `raises`: a routine that may call [`crate::raise::raise`] and then returns any value: the edge stub raises;
/// - `variadic`: `Name(va: u64) -> u64`; `va` is the address of a win64 `va_list` that starts with the first argument;
/// - `data`: `Name() -> u64 { address }`: what the import slot gets (the address of a variable, for most);
/// - `missing`: no body: `Absent("why") missing Name;`: known, and cannot be bound.
///
/// Arguments are integers as wide as the header says; pointers are `u64` and become `Foreign` or `Addr` in the body. A
/// body runs under `catch_unwind` ([`export::body`](crate::export::body)); it is no `unsafe` context. The file opens with
/// `#![expect(unsafe_code, reason = "...")]`, because the expansion and most bodies need it.
///
/// ```
/// # #![allow(unsafe_code)]
/// use nt_cell::{exports, raise};
/// use nt_abi::NtStatus;
///
/// exports! { "ntoskrnl.exe" =>
///     /// Raises the status in the caller.
///     Full raises ExRaiseStatus(status: u32) { raise::raise(NtStatus(status)); }
///     Full code KeGetCurrentIrql() -> u8 { nt_cell::kpcr::irql() }
///     Partial("prints nothing yet") variadic DbgPrint(va: u64) -> u64 { let _ = va; 0 }
///     Full data MmUserProbeAddress() -> u64 { 0x1000 }
///     Absent("no routine lookup yet") missing MmGetSystemRoutineAddress;
/// }
/// assert_eq!(EXPORTS.len(), 5);
/// assert_eq!(EXPORTS[0].name, "ExRaiseStatus");
/// ```
#[macro_export]
macro_rules! exports {
    ($image:literal => $(
        $(#[$doc:meta])*
        $support:ident $(($why:literal))? $kind:ident $name:ident
        $(($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)? $(;)?
    )*) => {
        /// What this room exports to drivers.
        pub static EXPORTS: &[$crate::Export] = &[$(
            $crate::Export {
                image: $image,
                name: stringify!($name),
                support: $crate::Support::$support $(($why))?,
                entry: $crate::exports!(@$kind $image, $name
                    $(($($arg : $ty),*) [$($ret)?] $body)?),
            },
        )*];
    };
    (@code $image:literal, $name:ident $rest:tt $ret:tt $body:block) => {
        $crate::Entry::Code($crate::exports!(@routine quiet_body $image, $name $rest $ret $body))
    };
    (@raises $image:literal, $name:ident $rest:tt $ret:tt $body:block) => {
        $crate::Entry::Raises($crate::exports!(@routine body $image, $name $rest $ret $body))
    };
    (@variadic $image:literal, $name:ident $rest:tt $ret:tt $body:block) => {
        $crate::Entry::Variadic($crate::exports!(@routine body $image, $name $rest $ret $body))
    };
    (@data $image:literal, $name:ident () [$ret:ty] $body:block) => {
        $crate::Entry::Data(|| $body)
    };
    (@missing $image:literal, $name:ident) => { $crate::Entry::Missing };
    (@routine $run:ident $image:literal, $name:ident ($($arg:ident : $ty:ty),*) [$($ret:ty)?] $body:block) => {{
        #[allow(non_snake_case, reason = "the header's name")]
        #[allow(clippy::too_many_arguments, reason = "the header's arguments")]
        extern "win64" fn $name($($arg: $ty),*) $(-> $ret)? {
            $crate::export::$run(concat!($image, "!", stringify!($name)), move || $body)
        }
        // SAFETY: a change of type only: the loader never calls through it, it stores the address in an import slot; the
        // driver calls with the arguments that the header declares.
        unsafe { ::core::mem::transmute::<extern "win64" fn($($ty),*) $(-> $ret)?, unsafe extern "win64" fn()>($name) }
    }};
}

/// Makes a win64 routine that a table slot or a packet can hold, and a function that gives its address. The body may not
/// unwind: a panic ends the call as [`body`] says.
#[macro_export]
macro_rules! thunk {
    ($(#[$doc:meta])* $public:ident, $name:ident ($($arg:ident : $ty:ty),*) -> $ret:ty $body:block) => {
        extern "win64" fn $name($($arg: $ty),*) -> $ret {
            $crate::export::body(stringify!($name), move || $body)
        }
        $(#[$doc])*
        #[must_use]
        pub fn $public() -> $crate::CodePtr {
            let routine: extern "win64" fn($($ty),*) -> $ret = $name;
            // SAFETY: the address of a win64 routine of this process, of the arity of the table slot it is put in.
            unsafe { $crate::CodePtr::from_raw(routine as usize as u64) }.expect("a function has an address")
        }
    };
}
