//! Kernel objects and processor structures: wdm.h, ntddk.h.
//!
//! Room: abi. IRQL: any. Locks: none. Source: WDK headers for names; layout tables of `spec/nt-io.md`.

use crate::{Bytes, Code, Ptr, constants, layout};

layout! {
    pub struct LIST_ENTRY: 0x10 { Flink @ 0x0: Ptr<LIST_ENTRY>; Blink @ 0x8: Ptr<LIST_ENTRY>; }
    pub struct SINGLE_LIST_ENTRY: 0x8 { Next @ 0x0: Ptr<SINGLE_LIST_ENTRY>; }
    pub struct SLIST_HEADER: 0x10 align 16 { Alignment @ 0x0: u64; Region @ 0x8: u64; }
    pub struct SLIST_ENTRY: 0x10 align 16 { Next @ 0x0: Ptr<SLIST_ENTRY>; }
    pub struct DISPATCHER_HEADER: 0x18 {
        Type @ 0x0: u8; Signalling @ 0x1: u8; Absolute @ 0x1: u8; Size @ 0x2: u8; Hand @ 0x2: u8; Inserted @ 0x3: u8;
        Lock @ 0x0: i32; SignalState @ 0x4: i32; WaitListHead @ 0x8: LIST_ENTRY;
    }
    pub struct KEVENT: 0x18 { Header @ 0x0: DISPATCHER_HEADER; }
    pub struct KSEMAPHORE: 0x20 { Header @ 0x0: DISPATCHER_HEADER; Limit @ 0x18: i32; }
    pub struct KMUTANT: 0x38 {
        Header @ 0x0: DISPATCHER_HEADER; MutantListEntry @ 0x18: LIST_ENTRY; OwnerThread @ 0x28: Ptr<Bytes>;
        Abandoned @ 0x30: u8; ApcDisable @ 0x31: u8;
    }
    pub struct KTIMER: 0x40 {
        Header @ 0x0: DISPATCHER_HEADER; DueTime @ 0x18: u64; TimerListEntry @ 0x20: LIST_ENTRY; Dpc @ 0x30: Ptr<KDPC>;
        Processor @ 0x38: u16; TimerType @ 0x3A: u16; Period @ 0x3C: u32;
    }
    pub struct KDPC: 0x40 {
        Type @ 0x0: u8; Importance @ 0x1: u8; Number @ 0x2: u16; DpcListEntry @ 0x8: SINGLE_LIST_ENTRY;
        ProcessorHistory @ 0x10: u64; DeferredRoutine @ 0x18: Code; DeferredContext @ 0x20: Ptr<Bytes>;
        SystemArgument1 @ 0x28: Ptr<Bytes>; SystemArgument2 @ 0x30: Ptr<Bytes>; DpcData @ 0x38: Ptr<Bytes>;
    }
    pub struct KAPC: 0x58 {
        Type @ 0x0: u8; SpareByte0 @ 0x1: u8; Size @ 0x2: u8; SpareByte1 @ 0x3: u8; SpareLong0 @ 0x4: u32;
        Thread @ 0x8: Ptr<Bytes>; ApcListEntry @ 0x10: LIST_ENTRY; KernelRoutine @ 0x20: Code; RundownRoutine @ 0x28: Code;
        NormalRoutine @ 0x30: Code; NormalContext @ 0x38: Ptr<Bytes>; SystemArgument1 @ 0x40: Ptr<Bytes>;
        SystemArgument2 @ 0x48: Ptr<Bytes>; ApcStateIndex @ 0x50: i8; ApcMode @ 0x51: u8; Inserted @ 0x52: u8;
    }
    pub struct KDEVICE_QUEUE: 0x28 {
        Type @ 0x0: i16; Size @ 0x2: i16; DeviceListHead @ 0x8: LIST_ENTRY; Lock @ 0x18: u64; Busy @ 0x20: u8;
    }
    pub struct KDEVICE_QUEUE_ENTRY: 0x18 { DeviceListEntry @ 0x0: LIST_ENTRY; SortKey @ 0x10: u32; Inserted @ 0x14: u8; }
    pub struct KLOCK_QUEUE_HANDLE: 0x18 {
        LockQueue_Next @ 0x0: Ptr<Bytes>; LockQueue_Lock @ 0x8: Ptr<Bytes>; OldIrql @ 0x10: u8;
    }
    pub struct OWNER_ENTRY: 0x10 { OwnerThread @ 0x0: u64; OwnerCount @ 0x8: u32; TableSize @ 0x8: u32; }
    pub struct ERESOURCE: 0x68 {
        SystemResourcesList @ 0x0: LIST_ENTRY; OwnerTable @ 0x10: Ptr<OWNER_ENTRY>; ActiveCount @ 0x18: i16;
        Flag @ 0x1A: u16; SharedWaiters @ 0x20: Ptr<Bytes>; ExclusiveWaiters @ 0x28: Ptr<Bytes>;
        OwnerEntry @ 0x30: OWNER_ENTRY; ActiveEntries @ 0x40: u32; ContentionCount @ 0x44: u32;
        NumberOfSharedWaiters @ 0x48: u32; NumberOfExclusiveWaiters @ 0x4C: u32; Reserved2 @ 0x50: Ptr<Bytes>;
        Address @ 0x58: Ptr<Bytes>; SpinLock @ 0x60: u64;
    }
    pub struct FAST_MUTEX: 0x38 {
        Count @ 0x0: i32; Owner @ 0x8: Ptr<Bytes>; Contention @ 0x10: u32; Event @ 0x18: KEVENT; OldIrql @ 0x30: u32;
    }
    pub struct EX_RUNDOWN_REF: 0x8 { Count @ 0x0: u64; }
    pub struct WORK_QUEUE_ITEM: 0x20 { List @ 0x0: LIST_ENTRY; WorkerRoutine @ 0x10: Code; Parameter @ 0x18: Ptr<Bytes>; }
    pub struct NPAGED_LOOKASIDE_LIST: 0x80 align 64 {
        ListHead @ 0x0: SLIST_HEADER; Depth @ 0x10: u16; MaximumDepth @ 0x12: u16; TotalAllocates @ 0x14: u32;
        AllocateMisses @ 0x18: u32; TotalFrees @ 0x1C: u32; FreeMisses @ 0x20: u32; Type @ 0x24: u32; Tag @ 0x28: u32;
        Size @ 0x2C: u32; Allocate @ 0x30: Code; Free @ 0x38: Code; ListEntry @ 0x40: LIST_ENTRY;
        LastTotalAllocates @ 0x50: u32; LastAllocateMisses @ 0x54: u32;
    }
    pub struct PAGED_LOOKASIDE_LIST: 0x80 align 64 {
        ListHead @ 0x0: SLIST_HEADER; Depth @ 0x10: u16; MaximumDepth @ 0x12: u16; TotalAllocates @ 0x14: u32;
        AllocateMisses @ 0x18: u32; TotalFrees @ 0x1C: u32; FreeMisses @ 0x20: u32; Type @ 0x24: u32; Tag @ 0x28: u32;
        Size @ 0x2C: u32; Allocate @ 0x30: Code; Free @ 0x38: Code; ListEntry @ 0x40: LIST_ENTRY;
        LastTotalAllocates @ 0x50: u32; LastAllocateMisses @ 0x54: u32;
    }
    pub struct LOOKASIDE_LIST_EX: 0x60 align 16 {
        ListHead @ 0x0: SLIST_HEADER; Depth @ 0x10: u16; MaximumDepth @ 0x12: u16; TotalAllocates @ 0x14: u32;
        AllocateMisses @ 0x18: u32; TotalFrees @ 0x1C: u32; FreeMisses @ 0x20: u32; Type @ 0x24: u32; Tag @ 0x28: u32;
        Size @ 0x2C: u32; AllocateEx @ 0x30: Code; FreeEx @ 0x38: Code; ListEntry @ 0x40: LIST_ENTRY;
        LastTotalAllocates @ 0x50: u32; LastAllocateMisses @ 0x54: u32;
    }
    pub struct TIME_FIELDS: 0x10 align 2 {
        Year @ 0x0: i16; Month @ 0x2: i16; Day @ 0x4: i16; Hour @ 0x6: i16; Minute @ 0x8: i16; Second @ 0xA: i16;
        Milliseconds @ 0xC: i16; Weekday @ 0xE: i16;
    }
    /// The processor control region behind GS; members from 8000h on are ours, beyond anything a driver reads.
    pub struct KPCR: 0xC000 align 4096 {
        GdtBase @ 0x0: Ptr<Bytes>; TssBase @ 0x8: Ptr<Bytes>; UserRsp @ 0x10: u64; SelfPointer @ 0x18: Ptr<KPCR>;
        CurrentPrcb @ 0x20: Ptr<Bytes>; LockArray @ 0x28: Ptr<Bytes>; Used_Self @ 0x30: Ptr<Bytes>;
        IdtBase @ 0x38: Ptr<Bytes>; Irql @ 0x50: u8; MajorVersion @ 0x60: u16; MinorVersion @ 0x62: u16;
        StallScaleFactor @ 0x64: u32; Prcb @ 0x180: [u64; 64]; Prcb_CurrentThread @ 0x188: Ptr<Bytes>; Ours @ 0x8000: [u64; 2048];
    }
}

impl KPCR {
    /// `Self` of the header, a word that Rust keeps for itself.
    pub const SELF: crate::Field<Self, Ptr<Self>> = Self::SelfPointer;
    /// `Prcb.CurrentThread`.
    #[expect(non_upper_case_globals, reason = "member names are the header's")]
    pub const CurrentThread: crate::Field<Self, Ptr<Bytes>> = Self::Prcb_CurrentThread;
}

constants! {
    u8: PASSIVE_LEVEL = 0, APC_LEVEL = 1, DISPATCH_LEVEL = 2, CLOCK_LEVEL = 13, IPI_LEVEL = 14, HIGH_LEVEL = 15;
    u8: EventNotificationObject = 0, EventSynchronizationObject = 1, MutantObject = 2, ProcessObject = 3, QueueObject = 4,
        SemaphoreObject = 5, ThreadObject = 6, TimerNotificationObject = 8, TimerSynchronizationObject = 9, ApcObject = 18,
        DpcObject = 19, DeviceQueueObject = 20, ThreadedDpcObject = 26;
    u32: NotificationEvent = 0, SynchronizationEvent = 1, NotificationTimer = 0, SynchronizationTimer = 1, WaitAll = 0, WaitAny = 1;
    u32: CriticalWorkQueue = 0, DelayedWorkQueue = 1, HyperCriticalWorkQueue = 2;
    u32: LowImportance = 0, MediumImportance = 1, HighImportance = 2;
    u32: OriginalApcEnvironment = 0, AttachedApcEnvironment = 1, CurrentApcEnvironment = 2;
    i32: FM_LOCK_BIT = 1;
    u16: ResourceNeverExclusive = 0x10, ResourceReleaseByOtherThread = 0x20, ResourceOwnedExclusive = 0x80;
    u32: MAXIMUM_WAIT_OBJECTS = 64, THREAD_WAIT_OBJECTS = 3;
}
