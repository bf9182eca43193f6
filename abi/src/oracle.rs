//! The layout tables of the ledgers, asserted against every field at compile time.
//!
//! Room: abi. Called by: the compiler and the tests. Source: `spec/ledger/{nt-io,fltmgr,ks}.md`, computed by clang for
//! x86_64-pc-windows-msvc. This is a second statement of each offset, written apart from the `layout!` blocks: a row
//! that disagrees does not compile, and the tests below hold the rows against the text of the ledgers.

use crate::flt::*;
use crate::io::*;
use crate::ke::*;
use crate::ks::*;
use crate::mm::*;
use crate::ob::*;

/// A structure, its size, its members with their offsets.
pub type Row = (&'static str, usize, &'static [(&'static str, usize)]);

macro_rules! oracle {
    ($($S:ident $size:literal: $($F:ident $off:literal),*;)*) => {
        $(const _: () = {
            assert!($S::SIZE == $size, concat!("size of ", stringify!($S)));
            $(assert!($S::$F.offset() == $off, concat!(stringify!($S), ".", stringify!($F)));)*
        };)*
        /// Every row of the oracle.
        pub const ROWS: &[Row] = &[$((stringify!($S), $size, &[$((stringify!($F), $off)),*])),*];
    };
}

oracle! {
    // nt-io.md section 23.
    IO_STATUS_BLOCK 0x10: Status 0x0, Pointer 0x0, Information 0x8;
    FILE_OBJECT 0xD8: Type 0x0, Size 0x2, DeviceObject 0x8, Vpb 0x10, FsContext 0x18, FsContext2 0x20, SectionObjectPointer 0x28, PrivateCacheMap 0x30, FinalStatus 0x38, RelatedFileObject 0x40, LockOperation 0x48, DeletePending 0x49, ReadAccess 0x4A, WriteAccess 0x4B, DeleteAccess 0x4C, SharedRead 0x4D, SharedWrite 0x4E, SharedDelete 0x4F, Flags 0x50, FileName 0x58, CurrentByteOffset 0x68, Waiters 0x70, Busy 0x74, LastLock 0x78, Lock 0x80, Event 0x98, CompletionContext 0xB0, IrpListLock 0xB8, IrpList 0xC0, FileObjectExtension 0xD0;
    DEVICE_OBJECT 0x150: Type 0x0, Size 0x2, ReferenceCount 0x4, DriverObject 0x8, NextDevice 0x10, AttachedDevice 0x18, CurrentIrp 0x20, Timer 0x28, Flags 0x30, Characteristics 0x34, Vpb 0x38, DeviceExtension 0x40, DeviceType 0x48, StackSize 0x4C, Queue 0x50, AlignmentRequirement 0x98, DeviceQueue 0xA0, Dpc 0xC8, ActiveThreadCount 0x108, SecurityDescriptor 0x110, DeviceLock 0x118, SectorSize 0x130, Spare1 0x132, DeviceObjectExtension 0x138, Reserved 0x140;
    DRIVER_OBJECT 0x150: Type 0x0, Size 0x2, DeviceObject 0x8, Flags 0x10, DriverStart 0x18, DriverSize 0x20, DriverSection 0x28, DriverExtension 0x30, DriverName 0x38, HardwareDatabase 0x48, FastIoDispatch 0x50, DriverInit 0x58, DriverStartIo 0x60, DriverUnload 0x68, MajorFunction 0x70;
    IRP 0xD0: Type 0x0, Size 0x2, MdlAddress 0x8, Flags 0x10, AssociatedIrp_SystemBuffer 0x18, ThreadListEntry 0x20, IoStatus 0x30, RequestorMode 0x40, PendingReturned 0x41, StackCount 0x42, CurrentLocation 0x43, Cancel 0x44, CancelIrql 0x45, ApcEnvironment 0x46, AllocationFlags 0x47, UserIosb 0x48, UserEvent 0x50, Overlay_AllocationSize 0x58, UserApcRoutine 0x58, UserApcContext 0x60, Overlay_AllocationSize 0x58, CancelRoutine 0x68, UserBuffer 0x70, Tail_DriverContext 0x78, Tail_DeviceQueueEntry 0x78, Tail_DriverContext 0x78, Tail_Thread 0x98, Tail_AuxiliaryBuffer 0xA0, Tail_ListEntry 0xA8, Tail_CurrentStackLocation 0xB8, Tail_PacketType 0xB8, Tail_OriginalFileObject 0xC0, Tail_Apc 0x78, Tail_CompletionKey 0x78;
    IO_STACK_LOCATION 0x48: MajorFunction 0x0, MinorFunction 0x1, Flags 0x2, Control 0x3, Parameters 0x8, Create_SecurityContext 0x8, Create_Options 0x10, Create_FileAttributes 0x18, Create_ShareAccess 0x1A, Create_EaLength 0x20, Read_Length 0x8, Read_Key 0x10, Read_ByteOffset 0x18, Write_Length 0x8, Write_Key 0x10, Write_ByteOffset 0x18, SetFile_Length 0x8, SetFile_FileInformationClass 0x10, SetFile_FileObject 0x18, SetFile_ReplaceIfExists 0x20, SetFile_AdvanceOnly 0x21, LockControl_Length 0x8, LockControl_Key 0x10, LockControl_ByteOffset 0x18, DeviceIoControl_OutputBufferLength 0x8, DeviceIoControl_InputBufferLength 0x10, DeviceIoControl_IoControlCode 0x18, DeviceIoControl_Type3InputBuffer 0x20, Others_Argument1 0x8, Others_Argument4 0x20, DeviceObject 0x28, FileObject 0x30, CompletionRoutine 0x38, Context 0x40;
    MDL 0x30: Next 0x0, Size 0x8, MdlFlags 0xA, Process 0x10, MappedSystemVa 0x18, StartVa 0x20, ByteCount 0x28, ByteOffset 0x2C;
    FAST_IO_DISPATCH 0xE0: SizeOfFastIoDispatch 0x0, FastIoCheckIfPossible 0x8, FastIoRead 0x10, FastIoWrite 0x18, FastIoQueryBasicInfo 0x20, FastIoQueryStandardInfo 0x28, FastIoLock 0x30, FastIoUnlockSingle 0x38, FastIoUnlockAll 0x40, FastIoUnlockAllByKey 0x48, FastIoDeviceControl 0x50, AcquireFileForNtCreateSection 0x58, ReleaseFileForNtCreateSection 0x60, FastIoDetachDevice 0x68, FastIoQueryNetworkOpenInfo 0x70, AcquireForModWrite 0x78, MdlRead 0x80, MdlReadComplete 0x88, PrepareMdlWrite 0x90, MdlWriteComplete 0x98, FastIoReadCompressed 0xA0, FastIoWriteCompressed 0xA8, MdlReadCompleteCompressed 0xB0, MdlWriteCompleteCompressed 0xB8, FastIoQueryOpen 0xC0, ReleaseForModWrite 0xC8, AcquireForCcFlush 0xD0, ReleaseForCcFlush 0xD8;
    VPB 0x60: Type 0x0, Size 0x2, Flags 0x4, VolumeLabelLength 0x6, DeviceObject 0x8, RealDevice 0x10, SerialNumber 0x18, ReferenceCount 0x1C, VolumeLabel 0x20;
    SECTION_OBJECT_POINTERS 0x18: DataSectionObject 0x0, SharedCacheMap 0x8, ImageSectionObject 0x10;
    FILE_LOCK_INFO 0x30: StartingByte 0x0, Length 0x8, ExclusiveLock 0x10, Key 0x14, FileObject 0x18, ProcessId 0x20, EndingByte 0x28;
    FILE_LOCK 0x60: CompleteLockIrpRoutine 0x0, UnlockRoutine 0x8, FastIoIsQuestionable 0x10, LockInformation 0x18, LastReturnedLockInfo 0x20, LastReturnedLock 0x50, LockRequestsInProgress 0x58;
    FSRTL_COMMON_FCB_HEADER 0x30: NodeTypeCode 0x0, NodeByteSize 0x2, Flags 0x4, IsFastIoPossible 0x5, Flags2 0x6, Resource 0x8, PagingIoResource 0x10, AllocationSize 0x18, FileSize 0x20, ValidDataLength 0x28;
    FSRTL_ADVANCED_FCB_HEADER 0x68: Resource 0x8, AllocationSize 0x18, FileSize 0x20, ValidDataLength 0x28, FastMutex 0x30, FilterContexts 0x38, PushLock 0x48, FileContextSupportPointer 0x50;
    KEVENT 0x18: Header 0x0;
    UNICODE_STRING 0x10: Length 0x0, MaximumLength 0x2, Buffer 0x8;
    OBJECT_ATTRIBUTES 0x30: Length 0x0, RootDirectory 0x8, ObjectName 0x10, Attributes 0x18, SecurityDescriptor 0x20, SecurityQualityOfService 0x28;
    FILE_BASIC_INFORMATION 0x28: CreationTime 0x0, LastAccessTime 0x8, LastWriteTime 0x10, ChangeTime 0x18, FileAttributes 0x20;
    FILE_STANDARD_INFORMATION 0x18: AllocationSize 0x0, EndOfFile 0x8, NumberOfLinks 0x10, DeletePending 0x14, Directory 0x15;
    FILE_COMPLETION_INFORMATION 0x10: Port 0x0, Key 0x8;
    IO_DRIVER_CREATE_CONTEXT 0x28: Size 0x0, ExtraCreateParameter 0x8, DeviceObjectHint 0x10, TxnParameters 0x18, SiloContext 0x20;
    OPLOCK_KEY_CONTEXT 0x28: Version 0x0, Flags 0x2, ParentOplockKey 0x4, TargetOplockKey 0x14, Reserved 0x24;
    OPLOCK_KEY_ECP_CONTEXT 0x14: OplockKey 0x0, Reserved 0x10;
    DUAL_OPLOCK_KEY_ECP_CONTEXT 0x24: ParentOplockKey 0x0, TargetOplockKey 0x10, ParentOplockKeySet 0x20, TargetOplockKeySet 0x21;
    DISPATCHER_HEADER 0x18: Type 0x0, Signalling 0x1, Size 0x2, SignalState 0x4, WaitListHead 0x8;
    // fltmgr.md section 15.
    FLT_CALLBACK_DATA 0x58: Flags 0x0, Thread 0x8, Iopb 0x10, IoStatus 0x18, TagData 0x28, QueueLinks 0x30, QueueContext 0x40, FilterContext 0x30, RequestorMode 0x50;
    FLT_IO_PARAMETER_BLOCK 0x48: IrpFlags 0x0, MajorFunction 0x4, MinorFunction 0x5, OperationFlags 0x6, Reserved 0x7, TargetFileObject 0x8, TargetInstance 0x10, Parameters 0x18, Write_Length 0x18, Write_Key 0x20, Write_ByteOffset 0x28, Write_WriteBuffer 0x30, Write_MdlAddress 0x38, Read_Length 0x18, Read_Key 0x20, Read_ByteOffset 0x28, Read_ReadBuffer 0x30, Read_MdlAddress 0x38, Create_SecurityContext 0x18, Create_Options 0x20, Create_FileAttributes 0x28, Create_ShareAccess 0x2A, Create_EaLength 0x30, Create_EaBuffer 0x38, Create_AllocationSize 0x40, SetFileInformation_Length 0x18, SetFileInformation_FileInformationClass 0x20, SetFileInformation_ParentOfTarget 0x28, SetFileInformation_InfoBuffer 0x38, FastIoCheckIfPossible_FileOffset 0x18, FastIoCheckIfPossible_Length 0x20, FastIoCheckIfPossible_LockKey 0x28, FastIoCheckIfPossible_CheckForReadOperation 0x30, LockControl_Length 0x18, LockControl_Key 0x20, LockControl_ByteOffset 0x28, LockControl_ProcessId 0x30, LockControl_FailImmediately 0x38, LockControl_ExclusiveLock 0x39;
    FLT_PARAMETERS 0x30: Write_Length 0x0, Write_Key 0x8, Write_ByteOffset 0x10, Write_WriteBuffer 0x18, Write_MdlAddress 0x20;
    FLT_RELATED_OBJECTS 0x30: Size 0x0, TransactionContext 0x2, Filter 0x8, Volume 0x10, Instance 0x18, FileObject 0x20, Transaction 0x28;
    FLT_REGISTRATION 0x70: Size 0x0, Version 0x2, Flags 0x4, ContextRegistration 0x8, OperationRegistration 0x10, FilterUnloadCallback 0x18, InstanceSetupCallback 0x20, InstanceQueryTeardownCallback 0x28, InstanceTeardownStartCallback 0x30, InstanceTeardownCompleteCallback 0x38, GenerateFileNameCallback 0x40, NormalizeNameComponentCallback 0x48, NormalizeContextCleanupCallback 0x50, TransactionNotificationCallback 0x58, NormalizeNameComponentExCallback 0x60, SectionNotificationCallback 0x68;
    FLT_OPERATION_REGISTRATION 0x20: MajorFunction 0x0, Flags 0x4, PreOperation 0x8, PostOperation 0x10, Reserved1 0x18;
    FLT_CONTEXT_REGISTRATION 0x38: ContextType 0x0, Flags 0x2, ContextCleanupCallback 0x8, Size 0x10, PoolTag 0x18, ContextAllocateCallback 0x20, ContextFreeCallback 0x28, Reserved1 0x30;
    FLT_RELATED_CONTEXTS 0x30: VolumeContext 0x0, InstanceContext 0x8, FileContext 0x10, StreamContext 0x18, StreamHandleContext 0x20, TransactionContext 0x28;
    FLT_FILE_NAME_INFORMATION 0x78: Size 0x0, NamesParsed 0x2, Format 0x4, Name 0x8, Volume 0x18, Share 0x28, Extension 0x38, Stream 0x48, FinalComponent 0x58, ParentDir 0x68;
    FLT_CALLBACK_DATA_QUEUE 0x80: Csq 0x0, Flags 0x40, Instance 0x48, InsertIo 0x50, RemoveIo 0x58, PeekNextIo 0x60, Acquire 0x68, Release 0x70, CompleteCanceledIo 0x78;
    FLT_TAG_DATA_BUFFER 0x1C: FileTag 0x0, TagDataLength 0x4, UnparsedNameLength 0x6, GenericReparseBuffer 0x8;
    // ks.md section 2 (KS-L-01).
    KSSTREAM_HEADER 0x38: Size 0x0, TypeSpecificFlags 0x4, PresentationTime 0x8, PresentationTime_Time 0x8, PresentationTime_Numerator 0x10, PresentationTime_Denominator 0x14, Duration 0x18, FrameExtent 0x20, DataUsed 0x24, Data 0x28, OptionsFlags 0x30, Reserved 0x34;
    KSTIME 0x10: Time 0x0, Numerator 0x8, Denominator 0xC;
    KSIDENTIFIER 0x18: Set 0x0, Id 0x10, Flags 0x14;
    KSP_PIN 0x20: Property 0x0, PinId 0x18, Reserved 0x1C, Flags 0x1C;
    KSE_PIN 0x20: Event 0x0, PinId 0x18, Reserved 0x1C;
    KSP_NODE 0x20: Property 0x0, NodeId 0x18, Reserved 0x1C;
    KSMULTIPLE_ITEM 0x8: Size 0x0, Count 0x4;
    KSPRIORITY 0x8: PriorityClass 0x0, PrioritySubClass 0x4;
    KSPIN_CONNECT 0x48: Interface 0x0, Medium 0x18, PinId 0x30, PinToHandle 0x38, Priority 0x40;
    KSDATAFORMAT_WAVEFORMATEX 0x52: DataFormat 0x0, WaveFormatEx 0x40;
    KSDATARANGE_AUDIO 0x58: MaximumChannels 0x40, MinimumBitsPerSample 0x44, MaximumBitsPerSample 0x48, MinimumSampleFrequency 0x4C, MaximumSampleFrequency 0x50;
    KS_FRAME_INFO 0x48: ExtendedHeaderSize 0x0, dwFrameFlags 0x4, PictureNumber 0x8, DropCount 0x10, hDirectDraw 0x18, hSurfaceHandle 0x20, DirectDrawRect 0x28, lSurfacePitch 0x38;
    KSSTREAM_METADATA_INFO 0x20: BufferSize 0x0, UsedSize 0x4, Data 0x8, SystemVa 0x10, Flags 0x18;
    KSALLOCATOR_FRAMING 0x18: OptionsFlags 0x0, PoolType 0x4, Frames 0x8, FrameSize 0xC, FileAlignment 0x10, Reserved 0x14;
    KSALLOCATOR_FRAMING_EX 0x70: CountItems 0x0, PinFlags 0x4, OutputCompression 0x8, PinWeight 0x14, FramingItem 0x18;
    KS_FRAMING_ITEM 0x58: MemoryType 0x0, BusType 0x10, MemoryFlags 0x20, BusFlags 0x24, Flags 0x28, Frames 0x2C, FileAlignment 0x30, MemoryTypeWeight 0x34, PhysicalRange 0x38, FramingRange 0x44;
    KSEVENTDATA 0x20: NotificationType 0x0, EventHandle_Event 0x8, EventObject_Event 0x8, SemaphoreHandle_Adjustment 0x14, SemaphoreObject_Adjustment 0x14;
    KSQUERYBUFFER 0x28: Event 0x0, EventData 0x18, Reserved 0x20;
    KSEVENT_ENTRY 0x58: ListEntry 0x0, Object 0x10, DpcItem 0x18, EventData 0x20, NotificationType 0x28, EventSet 0x30, EventItem 0x38, FileObject 0x40, SemaphoreAdjustment 0x48, Reserved 0x4C, Flags 0x50;
    KSPROPERTY_ITEM 0x48: PropertyId 0x0, GetPropertyHandler 0x8, MinProperty 0x10, MinData 0x14, SetPropertyHandler 0x18, Values 0x20, RelationsCount 0x28, Relations 0x30, SupportHandler 0x38, SerializedSize 0x40;
    KSMETHOD_ITEM 0x28: MethodId 0x0, MethodHandler 0x8, MinMethod 0x10, MinData 0x14, SupportHandler 0x18, Flags 0x20;
    KSDISPATCH_TABLE 0x50: DeviceIoControl 0x0, Read 0x8, Write 0x10, Flush 0x18, Close 0x20, QuerySecurity 0x28, SetSecurity 0x30, FastDeviceIoControl 0x38, FastRead 0x40, FastWrite 0x48;
    KSOBJECT_CREATE_ITEM 0x30: Create 0x0, Context 0x8, ObjectClass 0x10, SecurityDescriptor 0x20, Flags 0x28;
    KSPIN_DESCRIPTOR 0x58: InterfacesCount 0x0, Interfaces 0x8, MediumsCount 0x10, Mediums 0x18, DataRangesCount 0x20, DataRanges 0x28, DataFlow 0x30, Communication 0x34, Category 0x38, Name 0x40, Reserved 0x48, ConstrainedDataRangesCount 0x48, ConstrainedDataRanges 0x50;
    KSPIN_DESCRIPTOR_EX 0x88: Dispatch 0x0, AutomationTable 0x8, PinDescriptor 0x10, Flags 0x68, InstancesPossible 0x6C, InstancesNecessary 0x70, AllocatorFraming 0x78, IntersectHandler 0x80;
    KSFILTER_DESCRIPTOR 0x68: Dispatch 0x0, AutomationTable 0x8, Version 0x10, Flags 0x14, ReferenceGuid 0x18, PinDescriptorsCount 0x20, PinDescriptorSize 0x24, PinDescriptors 0x28, CategoriesCount 0x30, Categories 0x38, NodeDescriptorsCount 0x40, NodeDescriptorSize 0x44, NodeDescriptors 0x48, ConnectionsCount 0x50, Connections 0x58, ComponentId 0x60;
    KSDEVICE_DESCRIPTOR 0x20: Dispatch 0x0, FilterDescriptorsCount 0x8, FilterDescriptors 0x10, Version 0x18, Flags 0x1C;
    KSDEVICE_DISPATCH 0x70: Add 0x0, Start 0x8, PostStart 0x10, QueryStop 0x18, CancelStop 0x20, Stop 0x28, QueryRemove 0x30, CancelRemove 0x38, Remove 0x40, QueryCapabilities 0x48, SurpriseRemoval 0x50, QueryPower 0x58, SetPower 0x60, QueryInterface 0x68;
    KSFILTER_DISPATCH 0x20: Create 0x0, Close 0x8, Process 0x10, Reset 0x18;
    KSPIN_DISPATCH 0x50: Create 0x0, Close 0x8, Process 0x10, Reset 0x18, SetDataFormat 0x20, SetDeviceState 0x28, Connect 0x30, Disconnect 0x38, Clock 0x40, Allocator 0x48;
    KSDEVICE 0x40: Descriptor 0x0, Bag 0x8, Context 0x10, FunctionalDeviceObject 0x18, PhysicalDeviceObject 0x20, NextDeviceObject 0x28, Started 0x30, SystemPowerState 0x34, DevicePowerState 0x38;
    KSPIN 0x88: Descriptor 0x0, Bag 0x8, Context 0x10, Id 0x18, Communication 0x1C, ConnectionIsExternal 0x20, ConnectionInterface 0x28, ConnectionMedium 0x40, ConnectionPriority 0x58, ConnectionFormat 0x60, AttributeList 0x68, StreamHeaderSize 0x70, DataFlow 0x74, DeviceState 0x78, ResetState 0x7C, ClientState 0x80;
    KSSTREAM_POINTER 0x40: Context 0x0, Pin 0x8, StreamHeader 0x10, Offset 0x18, OffsetIn 0x20, OffsetOut 0x30;
    KSAUTOMATION_TABLE 0x30: PropertySetsCount 0x0, PropertyItemSize 0x4, PropertySets 0x8, MethodSetsCount 0x10, MethodItemSize 0x14, MethodSets 0x18, EventSetsCount 0x20, EventItemSize 0x24, EventSets 0x28;
    KSDATAFORMAT 0x40: FormatSize 0x0, Flags 0x4, SampleSize 0x8, Reserved 0xC, MajorFormat 0x10, SubFormat 0x20, Specifier 0x30;
    WAVEFORMATEX 0x12: wFormatTag 0x0, cbSize 0x10;
    WAVEFORMATEXTENSIBLE 0x28: Samples 0x12, dwChannelMask 0x14, SubFormat 0x18;
    KS_VIDEOINFOHEADER 0x58: bmiHeader 0x30;
    KS_DATAFORMAT_VIDEOINFOHEADER 0x98: VideoInfoHeader 0x40;
    KS_DATARANGE_VIDEO 0x128: ConfigCaps 0x50, VideoInfoHeader 0xD0;
    KSSTREAMALLOCATOR_STATUS 0x20: Framing 0x0, AllocatedFrames 0x18;
    KSSTREAMALLOCATOR_FUNCTIONTABLE 0x10: AllocateFrame 0x0, FreeFrame 0x8;
    KSEVENT_TIME_MARK 0x28: MarkTime 0x20;
    KSEVENT_TIME_INTERVAL 0x30: TimeBase 0x20, Interval 0x28;
    KSPROPERTY_SET 0x28: Set 0x0, PropertiesCount 0x8, PropertyItem 0x10, FastIoCount 0x18, FastIoTable 0x20;
    KSMETHOD_SET 0x28: Set 0x0, MethodsCount 0x8, MethodItem 0x10, FastIoCount 0x18, FastIoTable 0x20;
    KSEVENT_ITEM 0x28: EventId 0x0, DataInput 0x4, ExtraEntryData 0x8, AddHandler 0x10, RemoveHandler 0x18, SupportHandler 0x20;
    KSEVENT_SET 0x18: Set 0x0, EventsCount 0x8, EventItem 0x10;
    KSPROPERTY_DESCRIPTION 0x28: AccessFlags 0x0, DescriptionSize 0x4, PropTypeSet 0x8, MembersListCount 0x20, Reserved 0x24;
    KSPROPERTY_MEMBERSHEADER 0x10: MembersFlags 0x0;
    KSCLOCK_DISPATCH 0x20: SetTimer 0x0, CancelTimer 0x8, CorrelatedTime 0x10, Resolution 0x18;
    KSALLOCATOR_DISPATCH 0x20: InitializeAllocator 0x0, DeleteAllocator 0x8, Allocate 0x10, Free 0x18;
    KSFILTERFACTORY 0x18: FilterDescriptor 0x0, Bag 0x8, Context 0x10;
    KSFILTER 0x18: Descriptor 0x0, Bag 0x8, Context 0x10;
    KSSTREAM_POINTER_OFFSET 0x10: Data 0x0, Mappings 0x0, Count 0x8, Remaining 0xC;
    KSMAPPING 0x10: PhysicalAddress 0x0, ByteCount 0x8, Alignment 0xC;
    KSPROCESSPIN 0x40: Pin 0x0, StreamPointer 0x8, InPlaceCounterpart 0x10, DelegateBranch 0x18, CopySource 0x20, Data 0x28, BytesAvailable 0x30, BytesUsed 0x34, Flags 0x38, Terminate 0x3C;
    KSPROCESSPIN_INDEXENTRY 0x10: Pins 0x0, Count 0x8;
    KSNODE_DESCRIPTOR 0x18: AutomationTable 0x0, Type 0x8, Name 0x10;
    KSTOPOLOGY_CONNECTION 0x10: FromNode 0x0, FromNodePin 0x4, ToNode 0x8, ToNodePin 0xC;
    KSCORRELATED_TIME 0x10: Time 0x0, SystemTime 0x8;
    KSRESOLUTION 0x10: Granularity 0x0, Error 0x8;
    KSGATE 0x10: Count 0x0, NextGate 0x8;
    KSAUDIO_POSITION 0x10: PlayOffset 0x0, WriteOffset 0x8;
    KSCLOCK_FUNCTIONTABLE 0x20: GetTime 0x0;
    KSHANDSHAKE 0x20: ProtocolId 0x0;
    KSQUALITY 0x18: Context 0x0;
    KSRATE 0x30: PresentationStart 0x0;
    KSFRAMETIME 0x10: Duration 0x0;
    KSCOMPONENTID 0x48: Manufacturer 0x0;
    KSPIN_CINSTANCES 0x8: PossibleCount 0x0;
    KSPIN_PHYSICALCONNECTION 0xC: Size 0x0;
    KSCLOCK_CREATE 0x4: CreateFlags 0x0;
    KSNODE_CREATE 0x8: CreateFlags 0x0, Node 0x4;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NT_IO: &str = include_str!("../../spec/ledger/nt-io.md");
    const FLTMGR: &str = include_str!("../../spec/ledger/fltmgr.md");
    const KS: &str = include_str!("../../spec/ledger/ks.md");

    fn offset(structure: &str, member: &str) -> Option<usize> {
        let (_, _, members) = ROWS.iter().find(|(name, ..)| *name == structure)?;
        members.iter().find(|(name, _)| *name == member).map(|(_, offset)| *offset)
    }

    /// Yields the cells of each table row between two headings: name, size, fields.
    fn table<'a>(ledger: &'a str, from: &str, to: &str) -> Vec<[&'a str; 3]> {
        let start = ledger.find(from).expect("the ledger has the section");
        let end = start + ledger[start..].find(to).expect("the section has an end");
        ledger[start..end]
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.splitn(3, " | ");
                Some([cells.next()?, cells.next()?, cells.next()?])
            })
            .filter(|[name, ..]| *name != "Structure" && !name.starts_with('-'))
            .collect()
    }

    /// Holds one table with hexadecimal sizes against the rows; returns how many members were compared.
    fn compare(rows: &[[&str; 3]]) -> usize {
        let mut compared = 0;
        for [name, size, fields] in rows {
            let size = usize::from_str_radix(size, 16).expect("a hexadecimal size");
            let (_, ours, _) = ROWS.iter().find(|row| row.0 == *name).unwrap_or_else(|| panic!("no row for {name}"));
            assert_eq!(*ours, size, "size of {name}");
            for field in fields.split(", ") {
                let (member, at) = field.rsplit_once(' ').expect("`member offset`");
                let at = usize::from_str_radix(at, 16).expect("a hexadecimal offset");
                // The bare unions of IRP go by their first arm here, and KEVENT's header by its own row.
                let (owner, member) = match (*name, member) {
                    ("IRP", "Overlay") => ("IRP", "Overlay_AllocationSize".to_owned()),
                    ("IRP", "AssociatedIrp") => ("IRP", "AssociatedIrp_SystemBuffer".to_owned()),
                    ("IRP", "Tail") => ("IRP", "Tail_DriverContext".to_owned()),
                    ("KEVENT", inner) if inner.starts_with("Header.") => ("DISPATCHER_HEADER", inner[7..].to_owned()),
                    (owner, member) => (owner, member.replace('.', "_")),
                };
                assert_eq!(offset(owner, &member), Some(at), "{name}.{member}");
                compared += 1;
            }
        }
        compared
    }

    #[test]
    fn nt_t_01_the_rows_say_what_the_ledger_says() {
        let rows = table(NT_IO, "## 23. Structure layouts", "Notes on the table");
        assert!(rows.len() >= 18, "only {} structures found", rows.len());
        let compared = compare(&rows);
        assert!(compared >= 200, "only {compared} members compared");
        assert_eq!(
            (FILE_OBJECT::SIZE, IRP::SIZE, DRIVER_OBJECT::SIZE, DEVICE_OBJECT::SIZE),
            (0xD8, 0xD0, 0x150, 0x150)
        );
        assert_eq!((IO_TYPE_FILE, IO_TYPE_DEVICE, IO_TYPE_DRIVER, IO_TYPE_IRP), (5, 3, 4, 6));
    }

    #[test]
    fn nt_t_02_stack_parameters_lie_in_eight_byte_slots() {
        assert_eq!(IO_STACK_LOCATION::Write_Length.offset(), 0x8);
        assert_eq!(IO_STACK_LOCATION::Write_Key.offset(), 0x10);
        assert_eq!(IO_STACK_LOCATION::Write_ByteOffset.offset(), 0x18);
        assert_eq!(IO_STACK_LOCATION::SIZE, 0x48);
    }

    #[test]
    fn nt_t_03_irp_unions_overlap_where_the_header_overlaps_them() {
        assert_eq!(IRP::Overlay_AllocationSize.offset(), IRP::UserApcRoutine.offset());
        assert_eq!(IRP::AssociatedIrp_MasterIrp.offset(), IRP::AssociatedIrp_SystemBuffer.offset());
        assert_eq!(IRP::AssociatedIrp_IrpCount.offset(), IRP::AssociatedIrp_SystemBuffer.offset());
        assert_eq!(IRP::Tail_Apc.offset(), IRP::Tail_DriverContext.offset());
        assert_eq!(IRP::Tail_CompletionKey.offset(), IRP::Tail_DriverContext.offset());
        assert_eq!(IRP::Tail_PacketType.offset(), IRP::Tail_CurrentStackLocation.offset());
        assert_eq!((IRP::AllocationProcessorNumber.offset(), IRP::Reserved.offset()), (4, 6));
    }

    #[test]
    fn nt_t_04_the_fast_io_table_begins_in_the_documented_order() {
        let first = [
            FAST_IO_DISPATCH::FastIoCheckIfPossible.offset(),
            FAST_IO_DISPATCH::FastIoRead.offset(),
            FAST_IO_DISPATCH::FastIoWrite.offset(),
            FAST_IO_DISPATCH::FastIoQueryBasicInfo.offset(),
            FAST_IO_DISPATCH::FastIoQueryStandardInfo.offset(),
            FAST_IO_DISPATCH::FastIoLock.offset(),
            FAST_IO_DISPATCH::FastIoUnlockSingle.offset(),
            FAST_IO_DISPATCH::FastIoUnlockAll.offset(),
            FAST_IO_DISPATCH::FastIoUnlockAllByKey.offset(),
        ];
        assert!(first.iter().enumerate().all(|(i, at)| *at == 8 * (i + 1)), "{first:x?}");
    }

    #[test]
    fn nt_t_05_a_driver_has_28_dispatch_entries_up_to_its_end() {
        assert_eq!(usize::from(IRP_MJ_MAXIMUM_FUNCTION) + 1, 0x1C);
        assert_eq!(DRIVER_OBJECT::MajorFunction.index(0x1B).offset() + 8, DRIVER_OBJECT::SIZE);
    }

    #[test]
    fn nt_t_06_a_file_object_embeds_two_events() {
        assert_eq!(FILE_OBJECT::Lock.then(KEVENT::Header).offset(), 0x80);
        assert_eq!(FILE_OBJECT::Event.then(KEVENT::Header).offset(), 0x98);
        assert_eq!((IO_COMPLETION_CONTEXT::Port.offset(), IO_COMPLETION_CONTEXT::Key.offset()), (0, 8));
    }

    #[test]
    fn nt_t_07_signal_state_is_at_4_and_the_type_byte_at_0() {
        assert_eq!(KEVENT::Header.then(DISPATCHER_HEADER::SignalState).offset(), 4);
        assert_eq!(KEVENT::Header.then(DISPATCHER_HEADER::Type).offset(), 0);
        assert_eq!((EventNotificationObject, EventSynchronizationObject), (0, 1));
    }

    #[test]
    fn nt_t_09_the_pfn_array_follows_at_30() {
        assert_eq!(MDL::SIZE, 0x30);
        assert_eq!(MDL::StartVa.offset() + 8, MDL::ByteCount.offset());
    }

    #[test]
    fn flt_layouts_are_what_the_ledger_says() {
        let rows = table(FLTMGR, "## 15. Structure layouts", "\nNotes:");
        assert!(rows.len() >= 11, "only {} structures found", rows.len());
        let compared = compare(&rows);
        assert!(compared >= 110, "only {compared} members compared");
        let at = FLT_IO_PARAMETER_BLOCK::Parameters;
        assert_eq!(
            at.then(FLT_PARAMETERS::Write_ByteOffset).offset(),
            FLT_IO_PARAMETER_BLOCK::Write_ByteOffset.offset()
        );
        assert_eq!(
            at.then(FLT_PARAMETERS::Write_WriteBuffer).offset(),
            FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer.offset()
        );
    }

    #[test]
    fn ks_l_01_the_rows_say_what_the_ledger_says() {
        let mut compared = 0;
        for [name, size, fields] in table(KS, "## 2. Layouts", "* **KS-L-01**") {
            // Rows that describe one structure in plain `member offset` form; joined rows are asserted by `oracle!` alone.
            if name.contains(' ')
                || fields.contains(['{', '[', ';'])
                || fields.contains(" or ")
                || name == "KSEVENTDATA"
            {
                continue;
            }
            let size: usize = size.split(' ').next().and_then(|s| s.parse().ok()).expect("a decimal size");
            let row = ROWS.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("no row for {name}"));
            assert_eq!(row.1, size, "size of {name}");
            for field in fields.split(", ") {
                let (member, at) = field.rsplit_once(' ').expect("`member offset`");
                assert_eq!(offset(name, member), usize::from_str_radix(at, 16).ok(), "{name}.{member}");
                compared += 1;
            }
        }
        assert!(compared >= 150, "only {compared} members compared");
    }

    #[test]
    fn ks_l_03_a_stream_header_is_a_multiple_of_eight() {
        assert_eq!(KSSTREAM_HEADER::SIZE % 8, 0);
        assert_eq!(KSSTREAM_HEADER::PresentationTime.then(KSTIME::Denominator).offset(), 0x14);
    }

    #[test]
    fn ks_l_04_four_scratch_slots_begin_at_78() {
        assert_eq!(IRP::Tail_DriverContext.index(0).offset(), 0x78);
        assert_eq!(IRP::Tail_DriverContext.index(3).offset(), 0x90);
    }

    #[test]
    fn a_guid_reads_back_as_it_was_written() {
        assert_eq!(KSNAME_Pin.to_string(), "146F1A80-4791-11D0-A5D6-28DB04C10000");
        assert_eq!(KSNAME_Pin, GUID::new(0x146F_1A80, 0x4791, 0x11D0, [0xA5, 0xD6, 0x28, 0xDB, 0x04, 0xC1, 0, 0]));
        assert_eq!(KSNAME_Pin.to_bytes()[..4], [0x80, 0x1A, 0x6F, 0x14]);
    }

    #[test]
    fn control_codes_are_ctl_code_of_their_parts() {
        assert_eq!(ctl_code(FILE_DEVICE_KS, 4, METHOD_NEITHER, FILE_WRITE_ACCESS), IOCTL_KS_WRITE_STREAM);
        assert_eq!(ctl_code(FILE_DEVICE_KS, 5, METHOD_NEITHER, FILE_READ_ACCESS), IOCTL_KS_READ_STREAM);
    }
}
