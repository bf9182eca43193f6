//! Kernel Streaming structures: ks.h, ksmedia.h.
//!
//! Room: abi. IRQL: any. Locks: none. Source: layout table of `spec/ks.md` section 2; ks.h for names.
//! Constants and GUID values are in [`crate::ksconst`], re-exported here.

use crate::io::{DEVICE_OBJECT, FILE_OBJECT};
use crate::ke::LIST_ENTRY;
pub use crate::ksconst::*;
use crate::ob::UNICODE_STRING;
use crate::{Bytes, Code, Ptr, layout};

layout! {
    pub struct KSTIME: 0x10 { Time @ 0x0: i64; Numerator @ 0x8: u32; Denominator @ 0xC: u32; }
    pub struct KSSTREAM_HEADER: 0x38 {
        Size @ 0x0: u32; TypeSpecificFlags @ 0x4: u32; PresentationTime @ 0x8: KSTIME; PresentationTime_Time @ 0x8: i64;
        PresentationTime_Numerator @ 0x10: u32; PresentationTime_Denominator @ 0x14: u32; Duration @ 0x18: i64;
        FrameExtent @ 0x20: u32; DataUsed @ 0x24: u32; Data @ 0x28: Ptr<Bytes>; OptionsFlags @ 0x30: u32; Reserved @ 0x34: u32;
    }
    pub struct KSIDENTIFIER: 0x18 { Set @ 0x0: GUID; Id @ 0x10: u32; Flags @ 0x14: u32; }
    pub struct KSP_PIN: 0x20 { Property @ 0x0: KSIDENTIFIER; PinId @ 0x18: u32; Reserved @ 0x1C: u32; Flags @ 0x1C: u32; }
    pub struct KSE_PIN: 0x20 { Event @ 0x0: KSIDENTIFIER; PinId @ 0x18: u32; Reserved @ 0x1C: u32; }
    pub struct KSP_NODE: 0x20 { Property @ 0x0: KSIDENTIFIER; NodeId @ 0x18: u32; Reserved @ 0x1C: u32; }
    pub struct KSMULTIPLE_ITEM: 0x8 { Size @ 0x0: u32; Count @ 0x4: u32; }
    pub struct KSPRIORITY: 0x8 align 4 { PriorityClass @ 0x0: u32; PrioritySubClass @ 0x4: u32; }
    pub struct KSPIN_CONNECT: 0x48 {
        Interface @ 0x0: KSIDENTIFIER; Medium @ 0x18: KSIDENTIFIER; PinId @ 0x30: u32; PinToHandle @ 0x38: u64;
        Priority @ 0x40: KSPRIORITY;
    }
    pub struct KSDATAFORMAT: 0x40 {
        FormatSize @ 0x0: u32; Flags @ 0x4: u32; SampleSize @ 0x8: u32; Reserved @ 0xC: u32; MajorFormat @ 0x10: GUID;
        SubFormat @ 0x20: GUID; Specifier @ 0x30: GUID;
    }
    pub struct WAVEFORMATEX: 0x12 align 1 {
        wFormatTag @ 0x0: [u8; 2]; nChannels @ 0x2: [u8; 2]; nSamplesPerSec @ 0x4: [u8; 4]; nAvgBytesPerSec @ 0x8: [u8; 4];
        nBlockAlign @ 0xC: [u8; 2]; wBitsPerSample @ 0xE: [u8; 2]; cbSize @ 0x10: [u8; 2];
    }
    pub struct WAVEFORMATEXTENSIBLE: 0x28 align 1 {
        Format @ 0x0: WAVEFORMATEX; Samples @ 0x12: [u8; 2]; dwChannelMask @ 0x14: [u8; 4]; SubFormat @ 0x18: [u8; 16];
    }
    pub struct KSDATAFORMAT_WAVEFORMATEX: 0x52 align 1 { DataFormat @ 0x0: [u8; 64]; WaveFormatEx @ 0x40: WAVEFORMATEX; }
    pub struct KSDATARANGE_AUDIO: 0x58 {
        DataRange @ 0x0: KSDATAFORMAT; MaximumChannels @ 0x40: u32; MinimumBitsPerSample @ 0x44: u32;
        MaximumBitsPerSample @ 0x48: u32; MinimumSampleFrequency @ 0x4C: u32; MaximumSampleFrequency @ 0x50: u32;
    }
    pub struct RECT: 0x10 align 4 { left @ 0x0: i32; top @ 0x4: i32; right @ 0x8: i32; bottom @ 0xC: i32; }
    pub struct KS_FRAME_INFO: 0x48 {
        ExtendedHeaderSize @ 0x0: u32; dwFrameFlags @ 0x4: u32; PictureNumber @ 0x8: i64; DropCount @ 0x10: i64;
        hDirectDraw @ 0x18: u64; hSurfaceHandle @ 0x20: u64; DirectDrawRect @ 0x28: RECT; lSurfacePitch @ 0x38: i32;
    }
    pub struct KS_BITMAPINFOHEADER: 0x28 align 4 {
        biSize @ 0x0: u32; biWidth @ 0x4: i32; biHeight @ 0x8: i32; biPlanes @ 0xC: u16; biBitCount @ 0xE: u16;
        biCompression @ 0x10: u32; biSizeImage @ 0x14: u32; biXPelsPerMeter @ 0x18: i32; biYPelsPerMeter @ 0x1C: i32;
        biClrUsed @ 0x20: u32; biClrImportant @ 0x24: u32;
    }
    pub struct KS_VIDEOINFOHEADER: 0x58 {
        rcSource @ 0x0: RECT; rcTarget @ 0x10: RECT; dwBitRate @ 0x20: u32; dwBitErrorRate @ 0x24: u32;
        AvgTimePerFrame @ 0x28: i64; bmiHeader @ 0x30: KS_BITMAPINFOHEADER;
    }
    pub struct KS_DATAFORMAT_VIDEOINFOHEADER: 0x98 { DataFormat @ 0x0: KSDATAFORMAT; VideoInfoHeader @ 0x40: KS_VIDEOINFOHEADER; }
    pub struct KS_DATARANGE_VIDEO: 0x128 {
        DataRange @ 0x0: KSDATAFORMAT; bFixedSizeSamples @ 0x40: u32; bTemporalCompression @ 0x44: u32;
        StreamDescriptionFlags @ 0x48: u32; MemoryAllocationFlags @ 0x4C: u32; ConfigCaps @ 0x50: [u64; 16];
        VideoInfoHeader @ 0xD0: KS_VIDEOINFOHEADER;
    }
    pub struct KSSTREAM_METADATA_INFO: 0x20 {
        BufferSize @ 0x0: u32; UsedSize @ 0x4: u32; Data @ 0x8: Ptr<Bytes>; SystemVa @ 0x10: Ptr<Bytes>; Flags @ 0x18: u32;
    }
    pub struct KSALLOCATOR_FRAMING: 0x18 align 4 {
        OptionsFlags @ 0x0: u32; RequirementsFlags @ 0x0: u32; PoolType @ 0x4: u32; Frames @ 0x8: u32; FrameSize @ 0xC: u32;
        FileAlignment @ 0x10: u32; Reserved @ 0x14: u32;
    }
    pub struct KS_COMPRESSION: 0xC align 4 { RatioNumerator @ 0x0: u32; RatioDenominator @ 0x4: u32; RatioConstantMargin @ 0x8: u32; }
    pub struct KS_FRAMING_RANGE: 0xC align 4 { MinFrameSize @ 0x0: u32; MaxFrameSize @ 0x4: u32; Stepping @ 0x8: u32; }
    pub struct KS_FRAMING_RANGE_WEIGHTED: 0x14 align 4 {
        Range @ 0x0: KS_FRAMING_RANGE; InPlaceWeight @ 0xC: u32; NotInPlaceWeight @ 0x10: u32;
    }
    pub struct KS_FRAMING_ITEM: 0x58 align 4 {
        MemoryType @ 0x0: GUID; BusType @ 0x10: GUID; MemoryFlags @ 0x20: u32; BusFlags @ 0x24: u32; Flags @ 0x28: u32;
        Frames @ 0x2C: u32; FileAlignment @ 0x30: u32; MemoryTypeWeight @ 0x34: u32; PhysicalRange @ 0x38: KS_FRAMING_RANGE;
        FramingRange @ 0x44: KS_FRAMING_RANGE_WEIGHTED;
    }
    pub struct KSALLOCATOR_FRAMING_EX: 0x70 align 4 {
        CountItems @ 0x0: u32; PinFlags @ 0x4: u32; OutputCompression @ 0x8: KS_COMPRESSION; PinWeight @ 0x14: u32;
        FramingItem @ 0x18: [KS_FRAMING_ITEM; 1];
    }
    pub struct KSSTREAMALLOCATOR_STATUS: 0x20 { Framing @ 0x0: KSALLOCATOR_FRAMING; AllocatedFrames @ 0x18: u32; }
    pub struct KSSTREAMALLOCATOR_FUNCTIONTABLE: 0x10 { AllocateFrame @ 0x0: Code; FreeFrame @ 0x8: Code; }
    pub struct KSEVENTDATA: 0x20 {
        NotificationType @ 0x0: u32; EventHandle_Event @ 0x8: u64; EventHandle_Reserved @ 0x10: [u64; 2];
        SemaphoreHandle_Semaphore @ 0x8: u64; SemaphoreHandle_Adjustment @ 0x14: i32; EventObject_Event @ 0x8: Ptr<Bytes>;
        EventObject_Increment @ 0x10: i32; SemaphoreObject_Semaphore @ 0x8: Ptr<Bytes>; SemaphoreObject_Increment @ 0x10: i32;
        SemaphoreObject_Adjustment @ 0x14: i32; Dpc_Dpc @ 0x8: Ptr<crate::ke::KDPC>; Dpc_ReferenceCount @ 0x10: u32;
        WorkItem_WorkQueueItem @ 0x8: Ptr<crate::ke::WORK_QUEUE_ITEM>; WorkItem_WorkQueueType @ 0x10: u32;
        KsWorkItem_WorkQueueItem @ 0x8: Ptr<crate::ke::WORK_QUEUE_ITEM>; KsWorkItem_KsWorkerObject @ 0x10: Ptr<Bytes>;
    }
    pub struct KSEVENT_TIME_MARK: 0x28 { EventData @ 0x0: KSEVENTDATA; MarkTime @ 0x20: i64; }
    pub struct KSEVENT_TIME_INTERVAL: 0x30 { EventData @ 0x0: KSEVENTDATA; TimeBase @ 0x20: i64; Interval @ 0x28: i64; }
    pub struct KSQUERYBUFFER: 0x28 { Event @ 0x0: KSIDENTIFIER; EventData @ 0x18: Ptr<KSEVENTDATA>; Reserved @ 0x20: Ptr<Bytes>; }
    pub struct KSEVENT_ENTRY: 0x58 {
        ListEntry @ 0x0: LIST_ENTRY; Object @ 0x10: Ptr<Bytes>; DpcItem @ 0x18: Ptr<Bytes>; BufferItem @ 0x18: Ptr<Bytes>;
        EventData @ 0x20: Ptr<KSEVENTDATA>; NotificationType @ 0x28: u32; EventSet @ 0x30: Ptr<KSEVENT_SET>;
        EventItem @ 0x38: Ptr<KSEVENT_ITEM>; FileObject @ 0x40: Ptr<FILE_OBJECT>; SemaphoreAdjustment @ 0x48: u32;
        Reserved @ 0x4C: u32; Flags @ 0x50: u32;
    }
    pub struct KSPROPERTY_ITEM: 0x48 {
        PropertyId @ 0x0: u32; GetPropertyHandler @ 0x8: Code; GetSupported @ 0x8: u8; MinProperty @ 0x10: u32; MinData @ 0x14: u32;
        SetPropertyHandler @ 0x18: Code; SetSupported @ 0x18: u8; Values @ 0x20: Ptr<Bytes>; RelationsCount @ 0x28: u32;
        Relations @ 0x30: Ptr<KSIDENTIFIER>; SupportHandler @ 0x38: Code; SerializedSize @ 0x40: u32;
    }
    pub struct KSPROPERTY_SET: 0x28 {
        Set @ 0x0: Ptr<GUID>; PropertiesCount @ 0x8: u32; PropertyItem @ 0x10: Ptr<KSPROPERTY_ITEM>; FastIoCount @ 0x18: u32;
        FastIoTable @ 0x20: Ptr<Bytes>;
    }
    pub struct KSMETHOD_SET: 0x28 {
        Set @ 0x0: Ptr<GUID>; MethodsCount @ 0x8: u32; MethodItem @ 0x10: Ptr<KSMETHOD_ITEM>; FastIoCount @ 0x18: u32;
        FastIoTable @ 0x20: Ptr<Bytes>;
    }
    pub struct KSMETHOD_ITEM: 0x28 {
        MethodId @ 0x0: u32; MethodHandler @ 0x8: Code; MethodSupported @ 0x8: u8; MinMethod @ 0x10: u32; MinData @ 0x14: u32;
        SupportHandler @ 0x18: Code; Flags @ 0x20: u32;
    }
    pub struct KSEVENT_ITEM: 0x28 {
        EventId @ 0x0: u32; DataInput @ 0x4: u32; ExtraEntryData @ 0x8: u32; AddHandler @ 0x10: Code; RemoveHandler @ 0x18: Code;
        SupportHandler @ 0x20: Code;
    }
    pub struct KSEVENT_SET: 0x18 { Set @ 0x0: Ptr<GUID>; EventsCount @ 0x8: u32; EventItem @ 0x10: Ptr<KSEVENT_ITEM>; }
    pub struct KSPROPERTY_DESCRIPTION: 0x28 {
        AccessFlags @ 0x0: u32; DescriptionSize @ 0x4: u32; PropTypeSet @ 0x8: KSIDENTIFIER; MembersListCount @ 0x20: u32;
        Reserved @ 0x24: u32;
    }
    pub struct KSPROPERTY_MEMBERSHEADER: 0x10 align 4 {
        MembersFlags @ 0x0: u32; MembersSize @ 0x4: u32; MembersCount @ 0x8: u32; Flags @ 0xC: u32;
    }
    pub struct KSDISPATCH_TABLE: 0x50 {
        DeviceIoControl @ 0x0: Code; Read @ 0x8: Code; Write @ 0x10: Code; Flush @ 0x18: Code; Close @ 0x20: Code;
        QuerySecurity @ 0x28: Code; SetSecurity @ 0x30: Code; FastDeviceIoControl @ 0x38: Code; FastRead @ 0x40: Code;
        FastWrite @ 0x48: Code;
    }
    pub struct KSOBJECT_CREATE_ITEM: 0x30 {
        Create @ 0x0: Code; Context @ 0x8: Ptr<Bytes>; ObjectClass @ 0x10: UNICODE_STRING; SecurityDescriptor @ 0x20: Ptr<Bytes>;
        Flags @ 0x28: u32;
    }
    pub struct KSPIN_DESCRIPTOR: 0x58 {
        InterfacesCount @ 0x0: u32; Interfaces @ 0x8: Ptr<KSIDENTIFIER>; MediumsCount @ 0x10: u32; Mediums @ 0x18: Ptr<KSIDENTIFIER>;
        DataRangesCount @ 0x20: u32; DataRanges @ 0x28: Ptr<Bytes>; DataFlow @ 0x30: u32; Communication @ 0x34: u32;
        Category @ 0x38: Ptr<GUID>; Name @ 0x40: Ptr<GUID>; Reserved @ 0x48: i64; ConstrainedDataRangesCount @ 0x48: u32;
        ConstrainedDataRanges @ 0x50: Ptr<Bytes>;
    }
    pub struct KSPIN_DESCRIPTOR_EX: 0x88 {
        Dispatch @ 0x0: Ptr<KSPIN_DISPATCH>; AutomationTable @ 0x8: Ptr<KSAUTOMATION_TABLE>; PinDescriptor @ 0x10: KSPIN_DESCRIPTOR;
        Flags @ 0x68: u32; InstancesPossible @ 0x6C: u32; InstancesNecessary @ 0x70: u32;
        AllocatorFraming @ 0x78: Ptr<KSALLOCATOR_FRAMING_EX>; IntersectHandler @ 0x80: Code;
    }
    pub struct KSFILTER_DESCRIPTOR: 0x68 {
        Dispatch @ 0x0: Ptr<KSFILTER_DISPATCH>; AutomationTable @ 0x8: Ptr<KSAUTOMATION_TABLE>; Version @ 0x10: u32; Flags @ 0x14: u32;
        ReferenceGuid @ 0x18: Ptr<GUID>; PinDescriptorsCount @ 0x20: u32; PinDescriptorSize @ 0x24: u32;
        PinDescriptors @ 0x28: Ptr<KSPIN_DESCRIPTOR_EX>; CategoriesCount @ 0x30: u32; Categories @ 0x38: Ptr<GUID>;
        NodeDescriptorsCount @ 0x40: u32; NodeDescriptorSize @ 0x44: u32; NodeDescriptors @ 0x48: Ptr<KSNODE_DESCRIPTOR>;
        ConnectionsCount @ 0x50: u32; Connections @ 0x58: Ptr<KSTOPOLOGY_CONNECTION>; ComponentId @ 0x60: Ptr<KSCOMPONENTID>;
    }
    pub struct KSDEVICE_DESCRIPTOR: 0x20 {
        Dispatch @ 0x0: Ptr<KSDEVICE_DISPATCH>; FilterDescriptorsCount @ 0x8: u32; FilterDescriptors @ 0x10: Ptr<Bytes>;
        Version @ 0x18: u32; Flags @ 0x1C: u32;
    }
    pub struct KSDEVICE_DISPATCH: 0x70 {
        Add @ 0x0: Code; Start @ 0x8: Code; PostStart @ 0x10: Code; QueryStop @ 0x18: Code; CancelStop @ 0x20: Code;
        Stop @ 0x28: Code; QueryRemove @ 0x30: Code; CancelRemove @ 0x38: Code; Remove @ 0x40: Code; QueryCapabilities @ 0x48: Code;
        SurpriseRemoval @ 0x50: Code; QueryPower @ 0x58: Code; SetPower @ 0x60: Code; QueryInterface @ 0x68: Code;
    }
    pub struct KSFILTER_DISPATCH: 0x20 { Create @ 0x0: Code; Close @ 0x8: Code; Process @ 0x10: Code; Reset @ 0x18: Code; }
    pub struct KSPIN_DISPATCH: 0x50 {
        Create @ 0x0: Code; Close @ 0x8: Code; Process @ 0x10: Code; Reset @ 0x18: Code; SetDataFormat @ 0x20: Code;
        SetDeviceState @ 0x28: Code; Connect @ 0x30: Code; Disconnect @ 0x38: Code; Clock @ 0x40: Ptr<KSCLOCK_DISPATCH>;
        Allocator @ 0x48: Ptr<KSALLOCATOR_DISPATCH>;
    }
    pub struct KSCLOCK_DISPATCH: 0x20 { SetTimer @ 0x0: Code; CancelTimer @ 0x8: Code; CorrelatedTime @ 0x10: Code; Resolution @ 0x18: Code; }
    pub struct KSALLOCATOR_DISPATCH: 0x20 {
        InitializeAllocator @ 0x0: Code; DeleteAllocator @ 0x8: Code; Allocate @ 0x10: Code; Free @ 0x18: Code;
    }
    pub struct KSDEVICE: 0x40 {
        Descriptor @ 0x0: Ptr<KSDEVICE_DESCRIPTOR>; Bag @ 0x8: Ptr<Bytes>; Context @ 0x10: Ptr<Bytes>;
        FunctionalDeviceObject @ 0x18: Ptr<DEVICE_OBJECT>; PhysicalDeviceObject @ 0x20: Ptr<DEVICE_OBJECT>;
        NextDeviceObject @ 0x28: Ptr<DEVICE_OBJECT>; Started @ 0x30: u8; SystemPowerState @ 0x34: u32; DevicePowerState @ 0x38: u32;
    }
    pub struct KSFILTERFACTORY: 0x18 { FilterDescriptor @ 0x0: Ptr<KSFILTER_DESCRIPTOR>; Bag @ 0x8: Ptr<Bytes>; Context @ 0x10: Ptr<Bytes>; }
    pub struct KSFILTER: 0x18 { Descriptor @ 0x0: Ptr<KSFILTER_DESCRIPTOR>; Bag @ 0x8: Ptr<Bytes>; Context @ 0x10: Ptr<Bytes>; }
    pub struct KSPIN: 0x88 {
        Descriptor @ 0x0: Ptr<KSPIN_DESCRIPTOR_EX>; Bag @ 0x8: Ptr<Bytes>; Context @ 0x10: Ptr<Bytes>; Id @ 0x18: u32;
        Communication @ 0x1C: u32; ConnectionIsExternal @ 0x20: u8; ConnectionInterface @ 0x28: KSIDENTIFIER;
        ConnectionMedium @ 0x40: KSIDENTIFIER; ConnectionPriority @ 0x58: KSPRIORITY; ConnectionFormat @ 0x60: Ptr<KSDATAFORMAT>;
        AttributeList @ 0x68: Ptr<Bytes>; StreamHeaderSize @ 0x70: u32; DataFlow @ 0x74: u32; DeviceState @ 0x78: u32;
        ResetState @ 0x7C: u32; ClientState @ 0x80: u32;
    }
    pub struct KSSTREAM_POINTER_OFFSET: 0x10 { Data @ 0x0: Ptr<Bytes>; Mappings @ 0x0: Ptr<KSMAPPING>; Count @ 0x8: u32; Remaining @ 0xC: u32; }
    pub struct KSSTREAM_POINTER: 0x40 {
        Context @ 0x0: Ptr<Bytes>; Pin @ 0x8: Ptr<KSPIN>; StreamHeader @ 0x10: Ptr<KSSTREAM_HEADER>; Offset @ 0x18: Ptr<KSSTREAM_POINTER_OFFSET>;
        OffsetIn @ 0x20: KSSTREAM_POINTER_OFFSET; OffsetOut @ 0x30: KSSTREAM_POINTER_OFFSET;
    }
    pub struct KSMAPPING: 0x10 { PhysicalAddress @ 0x0: i64; ByteCount @ 0x8: u32; Alignment @ 0xC: u32; }
    pub struct KSPROCESSPIN: 0x40 {
        Pin @ 0x0: Ptr<KSPIN>; StreamPointer @ 0x8: Ptr<KSSTREAM_POINTER>; InPlaceCounterpart @ 0x10: Ptr<KSPROCESSPIN>;
        DelegateBranch @ 0x18: Ptr<KSPROCESSPIN>; CopySource @ 0x20: Ptr<KSPROCESSPIN>; Data @ 0x28: Ptr<Bytes>;
        BytesAvailable @ 0x30: u32; BytesUsed @ 0x34: u32; Flags @ 0x38: u32; Terminate @ 0x3C: u8;
    }
    pub struct KSPROCESSPIN_INDEXENTRY: 0x10 { Pins @ 0x0: Ptr<Bytes>; Count @ 0x8: u32; }
    pub struct KSAUTOMATION_TABLE: 0x30 {
        PropertySetsCount @ 0x0: u32; PropertyItemSize @ 0x4: u32; PropertySets @ 0x8: Ptr<KSPROPERTY_SET>; MethodSetsCount @ 0x10: u32;
        MethodItemSize @ 0x14: u32; MethodSets @ 0x18: Ptr<KSMETHOD_SET>; EventSetsCount @ 0x20: u32; EventItemSize @ 0x24: u32;
        EventSets @ 0x28: Ptr<KSEVENT_SET>;
    }
    pub struct KSNODE_DESCRIPTOR: 0x18 { AutomationTable @ 0x0: Ptr<KSAUTOMATION_TABLE>; Type @ 0x8: Ptr<GUID>; Name @ 0x10: Ptr<GUID>; }
    pub struct KSTOPOLOGY_CONNECTION: 0x10 align 4 { FromNode @ 0x0: u32; FromNodePin @ 0x4: u32; ToNode @ 0x8: u32; ToNodePin @ 0xC: u32; }
    pub struct KSCORRELATED_TIME: 0x10 { Time @ 0x0: i64; SystemTime @ 0x8: i64; }
    pub struct KSRESOLUTION: 0x10 { Granularity @ 0x0: i64; Error @ 0x8: i64; }
    pub struct KSGATE: 0x10 { Count @ 0x0: i32; NextGate @ 0x8: Ptr<KSGATE>; }
    pub struct KSAUDIO_POSITION: 0x10 { PlayOffset @ 0x0: u64; WriteOffset @ 0x8: u64; }
    pub struct KSCLOCK_FUNCTIONTABLE: 0x20 {
        GetTime @ 0x0: Code; GetPhysicalTime @ 0x8: Code; GetCorrelatedTime @ 0x10: Code; GetCorrelatedPhysicalTime @ 0x18: Code;
    }
    pub struct KSHANDSHAKE: 0x20 { ProtocolId @ 0x0: GUID; Argument1 @ 0x10: Ptr<Bytes>; Argument2 @ 0x18: Ptr<Bytes>; }
    pub struct KSQUALITY: 0x18 { Context @ 0x0: Ptr<Bytes>; Proportion @ 0x8: u32; DeltaTime @ 0x10: i64; }
    pub struct KSRATE: 0x30 {
        PresentationStart @ 0x0: i64; Duration @ 0x8: i64; Interface @ 0x10: KSIDENTIFIER; Rate @ 0x28: i32; Flags @ 0x2C: u32;
    }
    pub struct KSFRAMETIME: 0x10 { Duration @ 0x0: i64; FrameFlags @ 0x8: u32; Reserved @ 0xC: u32; }
    pub struct KSCOMPONENTID: 0x48 align 4 {
        Manufacturer @ 0x0: GUID; Product @ 0x10: GUID; Component @ 0x20: GUID; Name @ 0x30: GUID; Version @ 0x40: u32; Revision @ 0x44: u32;
    }
    pub struct KSPIN_CINSTANCES: 0x8 align 4 { PossibleCount @ 0x0: u32; CurrentCount @ 0x4: u32; }
    pub struct KSPIN_PHYSICALCONNECTION: 0xC align 4 { Size @ 0x0: u32; Pin @ 0x4: u32; SymbolicLinkName @ 0x8: [u16; 1]; }
    pub struct KSCLOCK_CREATE: 0x4 align 4 { CreateFlags @ 0x0: u32; }
    pub struct KSNODE_CREATE: 0x8 align 4 { CreateFlags @ 0x0: u32; Node @ 0x4: u32; }
}

/// KSPROPERTY: an identifier of a property set.
pub type KSPROPERTY = KSIDENTIFIER;
/// KSMETHOD: an identifier of a method set.
pub type KSMETHOD = KSIDENTIFIER;
/// KSEVENT: an identifier of an event set.
pub type KSEVENT = KSIDENTIFIER;
/// KSPIN_INTERFACE.
#[expect(non_camel_case_types, reason = "the name is the header's")]
pub type KSPIN_INTERFACE = KSIDENTIFIER;
/// KSPIN_MEDIUM.
#[expect(non_camel_case_types, reason = "the name is the header's")]
pub type KSPIN_MEDIUM = KSIDENTIFIER;
/// KSDATARANGE: the same record as a data format.
pub type KSDATARANGE = KSDATAFORMAT;
