//! Where a member of a structure lies, as a typed constant.
//!
//! Room: abi. IRQL: any. Locks: none.

use core::marker::PhantomData;

/// A member of type `V` at a fixed offset inside the structure `S`.
pub struct Field<S, V> {
    offset: usize,
    _of: PhantomData<fn() -> (S, V)>,
}

impl<S, V> Clone for Field<S, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S, V> Copy for Field<S, V> {}

impl<S, V> Field<S, V> {
    /// Names the member at `offset`; does not compile when it would leave `S` or be misaligned.
    #[must_use]
    pub const fn at(offset: usize) -> Self {
        assert!(offset + size_of::<V>() <= size_of::<S>(), "a field lies outside its structure");
        assert!(offset.is_multiple_of(align_of::<V>()), "a field is misaligned");
        Self { offset, _of: PhantomData }
    }

    /// Returns the offset in bytes.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset
    }

    /// Names a member of the embedded structure `V`.
    #[must_use]
    pub const fn then<U>(self, inner: Field<V, U>) -> Field<S, U> {
        Field { offset: self.offset + inner.offset, _of: PhantomData }
    }
}

impl<S, V, const N: usize> Field<S, [V; N]> {
    /// Names element `index` of an array member; panics past the end.
    #[must_use]
    pub const fn index(self, index: usize) -> Field<S, V> {
        assert!(index < N, "array index outside the member");
        Field { offset: self.offset + index * size_of::<V>(), _of: PhantomData }
    }
}

/// The type of a pointer member: eight bytes that hold the address of a `T`, or 0. Never a value of its own.
#[repr(C, align(8))]
pub struct Ptr<T> {
    _bits: [u8; 8],
    _to: PhantomData<fn() -> T>,
}

/// The type of a function-pointer member. Never a value of its own.
#[repr(C, align(8))]
pub struct Code {
    _bits: [u8; 8],
}

/// Untyped bytes as a pointee: `Ptr<Bytes>` is PVOID.
#[repr(C)]
pub struct Bytes([u8; 1]);

/// A scalar that a structure member can hold.
pub trait Word: Copy + 'static {
    /// Rebuilds the value from the low bits of a register.
    fn from_bits(bits: u64) -> Self;
    /// Returns the value in the low bits of a register.
    fn to_bits(self) -> u64;
}

macro_rules! words {
    ($($t:ty),*) => { $(impl Word for $t {
        #[inline(always)]
        fn from_bits(bits: u64) -> Self { bits as Self }
        #[inline(always)]
        fn to_bits(self) -> u64 { self as u64 }
    })* };
}
words!(u8, u16, u32, u64, i8, i16, i32, i64);

impl Word for crate::NtStatus {
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        Self(bits as u32)
    }
    #[inline(always)]
    fn to_bits(self) -> u64 {
        u64::from(self.0)
    }
}

/// Declares opaque structures with their members: `pub struct NAME: SIZE { Member @ OFFSET: Type; }`.
///
/// `Type` is a [`Word`], `Ptr<T>`, `Code`, an array, or another such structure. The default alignment is 8.
#[macro_export]
macro_rules! layout {
    ($($(#[$m:meta])* pub struct $S:ident : $size:literal $(align $al:literal)? {
        $($(#[$fm:meta])* $F:ident @ $off:literal : $V:ty;)*
    })*) => { $(
        $crate::layout!(@decl [$(#[$m])*] $S $size $($al)?);
        #[expect(clippy::allow_attributes, reason = "whether the lint fires depends on the name")]
        #[allow(non_upper_case_globals, reason = "member names are the header's")]
        impl $S {
            $(
                $(#[$fm])*
                #[doc = concat!("`", stringify!($F), "` at `", stringify!($off), "`.")]
                pub const $F: $crate::Field<$S, $V> = $crate::Field::at($off);
            )*
            /// The size in bytes.
            pub const SIZE: usize = $size;
        }
    )* };
    (@decl [$($m:tt)*] $S:ident $size:literal) => { $crate::layout!(@decl [$($m)*] $S $size 8); };
    (@decl [$($m:tt)*] $S:ident $size:literal $al:literal) => {
        $($m)*
        #[doc = concat!("The header's `", stringify!($S), "`, ", stringify!($size), " bytes.")]
        #[expect(clippy::allow_attributes, reason = "whether the lint fires depends on the name")]
        #[allow(non_camel_case_types, reason = "structure names are the header's")]
        #[repr(C, align($al))]
        pub struct $S([u8; $size]);
        const _: () = assert!(size_of::<$S>() == $size);
    };
}

/// Declares constants of one type with the header's names: `constants! { u32: NAME = 1, ...; u8: ... }`.
#[macro_export]
macro_rules! constants {
    ($($t:ty: $($N:ident = $v:expr),* $(,)?;)*) => { $($(
        #[doc = concat!("`", stringify!($N), "`.")]
        #[expect(clippy::allow_attributes, reason = "whether the lint fires depends on the name")]
        #[allow(non_upper_case_globals, reason = "constant names are the header's")]
        pub const $N: $t = $v;
    )*)* };
}
