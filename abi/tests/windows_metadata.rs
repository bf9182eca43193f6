//! Holds an allow-list of structures against Microsoft's own metadata, as `windows-sys` prints it.
//!
//! Left out because the metadata ignores POINTER_ALIGNMENT inside unions or the header's explicit alignment:
//! IO_STACK_LOCATION and FLT_PARAMETERS (and what embeds them), DEVICE_OBJECT; and ERESOURCE
//! and KTIMER.Period, because it lacks the members for 64-bit targets (Reserved2, Processor). The layout tables of the ledgers decide there.

use core::mem::{offset_of, size_of};
use nt_abi::{flt, io, ke, ks, mm, ob, pe, se};
use windows_sys::Wdk::Foundation as wf;
use windows_sys::Wdk::Storage::FileSystem as wfs;
use windows_sys::Wdk::Storage::FileSystem::Minifilters as wm;
use windows_sys::Wdk::System::SystemServices as ws;
use windows_sys::Win32::Foundation as w;
use windows_sys::Win32::Media::KernelStreaming as wks;
use windows_sys::Win32::Security as wsec;
use windows_sys::Win32::System::Diagnostics::Debug as wd;
use windows_sys::Win32::System::IO as wio;
use windows_sys::Win32::System::Kernel as wk;

/// Compares the size, and each member `Ours = theirs`, of structures.
macro_rules! agree {
    ($($test:ident { $($ours:ident :: $S:ident = $theirs:ident :: $T:ident { $($F:ident = $($path:ident).+),* $(,)? })* })*) => { $(
        #[test]
        fn $test() {
            $(
                assert_eq!($ours::$S::SIZE, size_of::<$theirs::$T>(), concat!("size of ", stringify!($S)));
                $(assert_eq!(
                    $ours::$S::$F.offset(),
                    offset_of!($theirs::$T, $($path).+),
                    concat!(stringify!($S), ".", stringify!($F)),
                );)*
            )*
        }
    )* };
}

agree! {
    nt_t_01_objects_agree_with_the_metadata {
        io::FILE_OBJECT = wf::FILE_OBJECT {
            DeviceObject = DeviceObject, Vpb = Vpb, FsContext = FsContext, FsContext2 = FsContext2,
            SectionObjectPointer = SectionObjectPointer, PrivateCacheMap = PrivateCacheMap, FinalStatus = FinalStatus,
            RelatedFileObject = RelatedFileObject, LockOperation = LockOperation, DeletePending = DeletePending,
            ReadAccess = ReadAccess, SharedDelete = SharedDelete, Flags = Flags, FileName = FileName,
            CurrentByteOffset = CurrentByteOffset, Waiters = Waiters, Busy = Busy, LastLock = LastLock, Lock = Lock,
            Event = Event, CompletionContext = CompletionContext, IrpListLock = IrpListLock, IrpList = IrpList,
            FileObjectExtension = FileObjectExtension,
        }
        io::IO_COMPLETION_CONTEXT = wf::IO_COMPLETION_CONTEXT { Port = Port, Key = Key, UsageCount = UsageCount }
        io::DRIVER_OBJECT = wf::DRIVER_OBJECT {
            DeviceObject = DeviceObject, DriverStart = DriverStart, DriverSize = DriverSize, DriverSection = DriverSection,
            DriverExtension = DriverExtension, DriverName = DriverName, HardwareDatabase = HardwareDatabase,
            FastIoDispatch = FastIoDispatch, DriverInit = DriverInit, DriverStartIo = DriverStartIo,
            DriverUnload = DriverUnload, MajorFunction = MajorFunction,
        }
        io::DRIVER_EXTENSION = wf::DRIVER_EXTENSION { AddDevice = AddDevice, Count = Count, ServiceKeyName = ServiceKeyName }
        io::VPB = wf::VPB {
            DeviceObject = DeviceObject, RealDevice = RealDevice, SerialNumber = SerialNumber,
            ReferenceCount = ReferenceCount, VolumeLabel = VolumeLabel,
        }
        io::FAST_IO_DISPATCH = wf::FAST_IO_DISPATCH {
            FastIoCheckIfPossible = FastIoCheckIfPossible, FastIoWrite = FastIoWrite, FastIoDeviceControl = FastIoDeviceControl,
            AcquireForModWrite = AcquireForModWrite, PrepareMdlWrite = PrepareMdlWrite, MdlWriteComplete = MdlWriteComplete,
            ReleaseForCcFlush = ReleaseForCcFlush,
        }
        io::IO_DRIVER_CREATE_CONTEXT = ws::IO_DRIVER_CREATE_CONTEXT {
            ExtraCreateParameter = ExtraCreateParameter, DeviceObjectHint = DeviceObjectHint, TxnParameters = TxnParameters,
            SiloContext = SiloContext,
        }
        io::OPLOCK_KEY_CONTEXT = wfs::OPLOCK_KEY_CONTEXT {
            Flags = Flags, ParentOplockKey = ParentOplockKey, TargetOplockKey = TargetOplockKey, Reserved = Reserved,
        }
        io::OPLOCK_KEY_ECP_CONTEXT = wfs::OPLOCK_KEY_ECP_CONTEXT { OplockKey = OplockKey, Reserved = Reserved }
        io::DUAL_OPLOCK_KEY_ECP_CONTEXT = wfs::DUAL_OPLOCK_KEY_ECP_CONTEXT {
            TargetOplockKey = TargetOplockKey, ParentOplockKeySet = ParentOplockKeySet, TargetOplockKeySet = TargetOplockKeySet,
        }
        io::IO_STATUS_BLOCK = wio::IO_STATUS_BLOCK { Status = Anonymous.Status, Information = Information }
        mm::SECTION_OBJECT_POINTERS = wf::SECTION_OBJECT_POINTERS {
            DataSectionObject = DataSectionObject, SharedCacheMap = SharedCacheMap, ImageSectionObject = ImageSectionObject,
        }
        mm::MDL = wf::MDL {
            Next = Next, Size = Size, MdlFlags = MdlFlags, Process = Process, MappedSystemVa = MappedSystemVa,
            StartVa = StartVa, ByteCount = ByteCount, ByteOffset = ByteOffset,
        }
        ob::UNICODE_STRING = w::UNICODE_STRING { MaximumLength = MaximumLength, Buffer = Buffer }
        ob::GENERATE_NAME_CONTEXT = wfs::GENERATE_NAME_CONTEXT {
            Checksum = Checksum, ChecksumInserted = ChecksumInserted, NameLength = NameLength, NameBuffer = NameBuffer,
            ExtensionLength = ExtensionLength, ExtensionBuffer = ExtensionBuffer, LastIndexValue = LastIndexValue,
        }
        ob::OBJECT_ATTRIBUTES = wf::OBJECT_ATTRIBUTES {
            RootDirectory = RootDirectory, ObjectName = ObjectName, Attributes = Attributes,
            SecurityDescriptor = SecurityDescriptor, SecurityQualityOfService = SecurityQualityOfService,
        }
        ob::ACCESS_STATE = wf::ACCESS_STATE {
            SecurityEvaluated = SecurityEvaluated, Flags = Flags, RemainingDesiredAccess = RemainingDesiredAccess,
            PreviouslyGrantedAccess = PreviouslyGrantedAccess, OriginalDesiredAccess = OriginalDesiredAccess,
            SubjectSecurityContext = SubjectSecurityContext, SecurityDescriptor = SecurityDescriptor, AuxData = AuxData,
            Privileges = Privileges, AuditPrivileges = AuditPrivileges, ObjectName = ObjectName,
            ObjectTypeName = ObjectTypeName,
        }
        ob::IO_SECURITY_CONTEXT = wf::IO_SECURITY_CONTEXT {
            AccessState = AccessState, DesiredAccess = DesiredAccess, FullCreateOptions = FullCreateOptions,
        }
    }

    nt_sec_records_agree_with_the_metadata {
        se::SID = wsec::SID { SubAuthorityCount = SubAuthorityCount, IdentifierAuthority = IdentifierAuthority, SubAuthority = SubAuthority }
        se::ACL = wsec::ACL { AclRevision = AclRevision, AclSize = AclSize, AceCount = AceCount }
        se::ACE_HEADER = wsec::ACE_HEADER { AceType = AceType, AceFlags = AceFlags, AceSize = AceSize }
        se::ACCESS_ALLOWED_ACE = wsec::ACCESS_ALLOWED_ACE { Mask = Mask, SidStart = SidStart }
        se::SECURITY_DESCRIPTOR = wsec::SECURITY_DESCRIPTOR {
            Control = Control, Owner = Owner, Group = Group, Sacl = Sacl, Dacl = Dacl,
        }
        se::SECURITY_DESCRIPTOR_RELATIVE = wsec::SECURITY_DESCRIPTOR_RELATIVE {
            Control = Control, Owner = Owner, Group = Group, Sacl = Sacl, Dacl = Dacl,
        }
        se::PRIVILEGE_SET = wsec::PRIVILEGE_SET { PrivilegeCount = PrivilegeCount, Control = Control, Privilege = Privilege }
        se::TOKEN_PRIVILEGES = wsec::TOKEN_PRIVILEGES { Privileges = Privileges }
        se::TOKEN_GROUPS = wsec::TOKEN_GROUPS { Groups = Groups }
        se::TOKEN_SOURCE = wsec::TOKEN_SOURCE { SourceName = SourceName, SourceIdentifier = SourceIdentifier }
        se::TOKEN_STATISTICS = wsec::TOKEN_STATISTICS {
            AuthenticationId = AuthenticationId, ExpirationTime = ExpirationTime, TokenType = TokenType,
            ImpersonationLevel = ImpersonationLevel, GroupCount = GroupCount, ModifiedId = ModifiedId,
        }
        se::GENERIC_MAPPING = wsec::GENERIC_MAPPING { GenericWrite = GenericWrite, GenericAll = GenericAll }
        se::SE_EXPORTS = wfs::SE_EXPORTS {
            SeTcbPrivilege = SeTcbPrivilege, SeSecurityPrivilege = SeSecurityPrivilege,
            SeChangeNotifyPrivilege = SeChangeNotifyPrivilege, SeNullSid = SeNullSid, SeWorldSid = SeWorldSid,
            SeInteractiveSid = SeInteractiveSid, SeLocalSystemSid = SeLocalSystemSid, SeAliasAdminsSid = SeAliasAdminsSid,
            SeAliasUsersSid = SeAliasUsersSid, SeAuthenticatedUsersSid = SeAuthenticatedUsersSid,
            SeUndockPrivilege = SeUndockPrivilege, SeLocalServiceSid = SeLocalServiceSid,
            SeManageVolumePrivilege = SeManageVolumePrivilege,
            SeCreateSymbolicLinkPrivilege = SeCreateSymbolicLinkPrivilege, SeIUserSid = SeIUserSid,
            SeUntrustedMandatorySid = SeUntrustedMandatorySid, SeSystemMandatorySid = SeSystemMandatorySid,
            SeOwnerRightsSid = SeOwnerRightsSid,
        }
    }

    nt_t_06_kernel_objects_agree_with_the_metadata {
        ke::DISPATCHER_HEADER = wf::DISPATCHER_HEADER { WaitListHead = WaitListHead }
        ke::KEVENT = wf::KEVENT { Header = Header }
        ke::KMUTANT = wf::KMUTANT { MutantListEntry = MutantListEntry, OwnerThread = OwnerThread }
        ke::KDPC = wf::KDPC {
            DpcListEntry = DpcListEntry, ProcessorHistory = ProcessorHistory, DeferredRoutine = DeferredRoutine,
            DeferredContext = DeferredContext, SystemArgument1 = SystemArgument1, DpcData = DpcData,
        }
        ke::KDEVICE_QUEUE = wf::KDEVICE_QUEUE { Type = Type, Size = Size, DeviceListHead = DeviceListHead, Lock = Lock }
        ke::LIST_ENTRY = wk::LIST_ENTRY { Flink = Flink, Blink = Blink }
        ke::FAST_MUTEX = wf::FAST_MUTEX { Owner = Owner, Contention = Contention, Event = Event, OldIrql = OldIrql }
        ke::KAPC = ws::KAPC { Thread = Thread, ApcListEntry = ApcListEntry, NormalContext = NormalContext, ApcMode = ApcMode }
        ke::KTIMER = ws::KTIMER { TimerListEntry = TimerListEntry, Dpc = Dpc }
    }

    nt_i_information_classes_agree_with_the_metadata {
        io::FILE_BASIC_INFORMATION = wfs::FILE_BASIC_INFORMATION { ChangeTime = ChangeTime, FileAttributes = FileAttributes }
        io::FILE_STANDARD_INFORMATION = wfs::FILE_STANDARD_INFORMATION {
            EndOfFile = EndOfFile, NumberOfLinks = NumberOfLinks, DeletePending = DeletePending, Directory = Directory,
        }
        io::FILE_ALL_INFORMATION = wfs::FILE_ALL_INFORMATION {
            StandardInformation = StandardInformation, InternalInformation = InternalInformation,
            EaInformation = EaInformation, AccessInformation = AccessInformation, PositionInformation = PositionInformation,
            ModeInformation = ModeInformation, AlignmentInformation = AlignmentInformation, NameInformation = NameInformation,
        }
        io::FILE_NETWORK_OPEN_INFORMATION = wfs::FILE_NETWORK_OPEN_INFORMATION {
            AllocationSize = AllocationSize, EndOfFile = EndOfFile, FileAttributes = FileAttributes,
        }
        io::FILE_RENAME_INFORMATION = wfs::FILE_RENAME_INFORMATION {
            RootDirectory = RootDirectory, FileNameLength = FileNameLength, FileName = FileName,
        }
        io::FILE_LINK_INFORMATION = wfs::FILE_LINK_INFORMATION {
            RootDirectory = RootDirectory, FileNameLength = FileNameLength, FileName = FileName,
        }
        io::FILE_STREAM_INFORMATION = wfs::FILE_STREAM_INFORMATION { StreamSize = StreamSize, StreamName = StreamName }
        io::FILE_COMPLETION_INFORMATION = wfs::FILE_COMPLETION_INFORMATION { Port = Port, Key = Key }
        io::FILE_FS_ATTRIBUTE_INFORMATION = wfs::FILE_FS_ATTRIBUTE_INFORMATION { FileSystemName = FileSystemName }
        io::FILE_DIRECTORY_INFORMATION = wfs::FILE_DIRECTORY_INFORMATION { FileNameLength = FileNameLength, FileName = FileName }
        io::FILE_FULL_DIR_INFORMATION = wfs::FILE_FULL_DIR_INFORMATION { EaSize = EaSize, FileName = FileName }
        io::FILE_BOTH_DIR_INFORMATION = wfs::FILE_BOTH_DIR_INFORMATION {
            ShortNameLength = ShortNameLength, ShortName = ShortName, FileName = FileName,
        }
        io::FILE_ID_BOTH_DIR_INFORMATION = wfs::FILE_ID_BOTH_DIR_INFORMATION { FileId = FileId, FileName = FileName }
        io::FILE_ID_FULL_DIR_INFORMATION = wfs::FILE_ID_FULL_DIR_INFORMATION { FileId = FileId, FileName = FileName }
        io::FILE_NAMES_INFORMATION = wfs::FILE_NAMES_INFORMATION { FileName = FileName }
        io::FILE_FULL_EA_INFORMATION = wfs::FILE_FULL_EA_INFORMATION { EaValueLength = EaValueLength, EaName = EaName }
        io::FILE_GET_EA_INFORMATION = wfs::FILE_GET_EA_INFORMATION { EaNameLength = EaNameLength, EaName = EaName }
        io::REPARSE_DATA_BUFFER = wfs::REPARSE_DATA_BUFFER {
            ReparseDataLength = ReparseDataLength,
            SymbolicLink_PathBuffer = Anonymous.SymbolicLinkReparseBuffer.PathBuffer,
            MountPoint_PathBuffer = Anonymous.MountPointReparseBuffer.PathBuffer,
        }
    }

    flt_layouts_agree_with_the_metadata {
        flt::FLT_RELATED_OBJECTS = wm::FLT_RELATED_OBJECTS {
            TransactionContext = TransactionContext, Filter = Filter, Volume = Volume, Instance = Instance,
            FileObject = FileObject, Transaction = Transaction,
        }
        flt::FLT_REGISTRATION = wm::FLT_REGISTRATION {
            Version = Version, Flags = Flags, ContextRegistration = ContextRegistration,
            OperationRegistration = OperationRegistration, FilterUnloadCallback = FilterUnloadCallback,
            InstanceSetupCallback = InstanceSetupCallback, InstanceTeardownCompleteCallback = InstanceTeardownCompleteCallback,
            GenerateFileNameCallback = GenerateFileNameCallback, SectionNotificationCallback = SectionNotificationCallback,
        }
        flt::FLT_OPERATION_REGISTRATION = wm::FLT_OPERATION_REGISTRATION {
            MajorFunction = MajorFunction, Flags = Flags, PreOperation = PreOperation, PostOperation = PostOperation,
        }
        flt::FLT_CONTEXT_REGISTRATION = wm::FLT_CONTEXT_REGISTRATION {
            Flags = Flags, ContextCleanupCallback = ContextCleanupCallback, Size = Size, PoolTag = PoolTag,
            ContextAllocateCallback = ContextAllocateCallback, ContextFreeCallback = ContextFreeCallback,
        }
        flt::FLT_RELATED_CONTEXTS = wm::FLT_RELATED_CONTEXTS {
            InstanceContext = InstanceContext, StreamHandleContext = StreamHandleContext, TransactionContext = TransactionContext,
        }
        flt::FLT_FILE_NAME_INFORMATION = wm::FLT_FILE_NAME_INFORMATION {
            NamesParsed = NamesParsed, Format = Format, Name = Name, Volume = Volume, Share = Share, Extension = Extension,
            Stream = Stream, FinalComponent = FinalComponent, ParentDir = ParentDir,
        }
        flt::FLT_VOLUME_PROPERTIES = wm::FLT_VOLUME_PROPERTIES {
            AlignmentRequirement = AlignmentRequirement, SectorSize = SectorSize, FileSystemDriverName = FileSystemDriverName,
            RealDeviceName = RealDeviceName,
        }
        flt::FLT_CALLBACK_DATA = wm::FLT_CALLBACK_DATA {
            Thread = Thread, Iopb = Iopb, IoStatus = IoStatus, TagData = TagData, RequestorMode = RequestorMode,
        }
    }

    ks_l_01_layouts_agree_with_the_metadata {
        ks::KSSTREAM_HEADER = wks::KSSTREAM_HEADER {
            TypeSpecificFlags = TypeSpecificFlags, PresentationTime = PresentationTime, Duration = Duration,
            FrameExtent = FrameExtent, DataUsed = DataUsed, Data = Data, OptionsFlags = OptionsFlags, Reserved = Reserved,
        }
        ks::KSTIME = wks::KSTIME { Numerator = Numerator, Denominator = Denominator }
        ks::KSPIN_CONNECT = wks::KSPIN_CONNECT {
            Medium = Medium, PinId = PinId, PinToHandle = PinToHandle, Priority = Priority,
        }
        ks::KSALLOCATOR_FRAMING = wks::KSALLOCATOR_FRAMING { PoolType = PoolType, FrameSize = FrameSize, Reserved = Reserved }
        ks::KSALLOCATOR_FRAMING_EX = wks::KSALLOCATOR_FRAMING_EX { PinWeight = PinWeight, FramingItem = FramingItem }
        ks::KSRATE = wks::KSRATE {
            PresentationStart = PresentationStart, Duration = Duration, Interface = Interface, Rate = Rate, Flags = Flags,
        }
        ks::KSQUALITY = wks::KSQUALITY { Proportion = Proportion, DeltaTime = DeltaTime }
        ks::KSFRAMETIME = wks::KSFRAMETIME { FrameFlags = FrameFlags }
        ks::KSCOMPONENTID = wks::KSCOMPONENTID { Name = Name, Version = Version, Revision = Revision }
        ks::KSPIN_PHYSICALCONNECTION = wks::KSPIN_PHYSICALCONNECTION { Pin = Pin, SymbolicLinkName = SymbolicLinkName }
        ks::KSAUDIO_POSITION = wks::KSAUDIO_POSITION { WriteOffset = WriteOffset }
    }

    exception_records_agree_with_the_metadata {
        pe::EXCEPTION_RECORD = wd::EXCEPTION_RECORD {
            ExceptionRecord = ExceptionRecord, ExceptionAddress = ExceptionAddress, NumberParameters = NumberParameters,
            ExceptionInformation = ExceptionInformation,
        }
    }
}
