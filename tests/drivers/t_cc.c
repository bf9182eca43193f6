/*
 * t_cc: a compiled file system of one file, whose cached data is the cache manager's: what CcCopyWrite and its kin do for
 * a driver, what paging requests they send it, and in whose thread. The medium is a static buffer.
 */
#include <ntifs.h>
#include "t.h"

#define T_DEVICE L"TestCc"
#include "t_device.h"

#define MEDIUM 0x40000
#define RAISED(call) Raised = STATUS_SUCCESS; __try { call; } __except (EXCEPTION_EXECUTE_HANDLER) { Raised = GetExceptionCode(); }

DRIVER_INITIALIZE DriverEntry;

typedef struct {
    FSRTL_ADVANCED_FCB_HEADER Header;
    SECTION_OBJECT_POINTERS Sections;
    ERESOURCE Resource, Paging;
} FCB;

/* What a paging request was. */
typedef struct { UCHAR Major; ULONG Flags, Length; LONGLONG At; PEPROCESS Process; PFILE_OBJECT File; BOOLEAN Locked, Mapped; } PAGING;

static FCB Fcb;
static UCHAR Medium[MEDIUM];
static UCHAR Bytes[0x6000], Back[0x6000];
static PAGING Seen[32];
static volatile LONG SeenCount;
static NTSTATUS MediumStatus, Raised;
static LONG LazyLocks, LazyUnlocks, Held, LazyContext;
static LONG Order[4], OrderCount;
static PEPROCESS System;

static BOOLEAN NTAPI Acquire(PVOID Context, BOOLEAN Wait)
{
    if (!ExAcquireResourceSharedLite(&((FCB *)Context)->Paging, Wait)) return FALSE;
    LazyContext += Context == &Fcb;
    LazyLocks++;
    Held++;
    return TRUE;
}

static VOID NTAPI Release(PVOID Context)
{
    Held--;
    LazyUnlocks++;
    ExReleaseResourceLite(&((FCB *)Context)->Paging);
}

static CACHE_MANAGER_CALLBACKS Callbacks = { Acquire, Release, Acquire, Release };

static PCC_FILE_SIZES Sizes(VOID)
{
    return (PCC_FILE_SIZES)&Fcb.Header.AllocationSize;
}

/* Between the medium and the pages; not past the end of the file. */
static NTSTATUS Page(PIRP Irp, PIO_STACK_LOCATION Stack)
{
    LONGLONG at = Stack->Parameters.Read.ByteOffset.QuadPart;
    ULONG length = Stack->Parameters.Read.Length, inside = length;
    PUCHAR pages = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
    PAGING *seen = &Seen[InterlockedIncrement(&SeenCount) - 1 & 31];
    seen->Major = Stack->MajorFunction;
    seen->Flags = Irp->Flags;
    seen->Length = length;
    seen->At = at;
    seen->Process = IoGetCurrentProcess();
    seen->File = Stack->FileObject;
    seen->Locked = Held > 0;
    seen->Mapped = Irp->MdlAddress != NULL && MmGetMdlByteCount(Irp->MdlAddress) >= length;
    if (!NT_SUCCESS(MediumStatus)) return MediumStatus;
    if (at >= Fcb.Header.FileSize.QuadPart) return STATUS_END_OF_FILE;
    if (at + length > Fcb.Header.FileSize.QuadPart) inside = (ULONG)(Fcb.Header.FileSize.QuadPart - at);
    if (Stack->MajorFunction == IRP_MJ_READ) {
        RtlZeroMemory(pages, length);
        RtlCopyMemory(pages, Medium + at, inside);
    } else {
        RtlCopyMemory(Medium + at, pages, inside);
    }
    Irp->IoStatus.Information = inside;
    return STATUS_SUCCESS;
}

/* The order of a file system: end of file and cache sizes, the copy, then the valid data. */
static NTSTATUS Write(PIRP Irp, PIO_STACK_LOCATION Stack)
{
    PFILE_OBJECT file = Stack->FileObject;
    LARGE_INTEGER at = Stack->Parameters.Write.ByteOffset;
    LONGLONG end = at.QuadPart + Stack->Parameters.Write.Length, before = Fcb.Header.FileSize.QuadPart;
    NTSTATUS status = STATUS_SUCCESS;
    if (end > MEDIUM) return STATUS_DISK_FULL;
    ExAcquireResourceExclusiveLite(&Fcb.Resource, TRUE);
    if (end > before) {
        Fcb.Header.FileSize.QuadPart = end;
        Fcb.Header.AllocationSize.QuadPart = (end + 0xFFF) & ~0xFFFLL;
    }
    __try {
        if (file->PrivateCacheMap == NULL) CcInitializeCacheMap(file, Sizes(), FALSE, &Callbacks, &Fcb);
        else if (end > before) CcSetFileSizes(file, Sizes());
        if (at.QuadPart > Fcb.Header.ValidDataLength.QuadPart) CcZeroData(file, &Fcb.Header.ValidDataLength, &at, TRUE);
        if (!CcCopyWrite(file, &at, Stack->Parameters.Write.Length, TRUE, Irp->AssociatedIrp.SystemBuffer)) status = STATUS_UNSUCCESSFUL;
        if (end > Fcb.Header.ValidDataLength.QuadPart) Fcb.Header.ValidDataLength.QuadPart = end;
        Irp->IoStatus.Information = Stack->Parameters.Write.Length;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
        Fcb.Header.FileSize.QuadPart = before;
    }
    ExReleaseResourceLite(&Fcb.Resource);
    return status;
}

static NTSTATUS Read(PIRP Irp, PIO_STACK_LOCATION Stack)
{
    PFILE_OBJECT file = Stack->FileObject;
    LARGE_INTEGER at = Stack->Parameters.Read.ByteOffset;
    ULONG length = Stack->Parameters.Read.Length;
    NTSTATUS status = STATUS_SUCCESS;
    if (at.QuadPart >= Fcb.Header.FileSize.QuadPart) return STATUS_END_OF_FILE;
    if (at.QuadPart + length > Fcb.Header.FileSize.QuadPart) length = (ULONG)(Fcb.Header.FileSize.QuadPart - at.QuadPart);
    ExAcquireResourceSharedLite(&Fcb.Resource, TRUE);
    __try {
        if (file->PrivateCacheMap == NULL) CcInitializeCacheMap(file, Sizes(), FALSE, &Callbacks, &Fcb);
        if (!CcCopyRead(file, &at, length, TRUE, Irp->AssociatedIrp.SystemBuffer, &Irp->IoStatus)) status = STATUS_UNSUCCESSFUL;
        else status = Irp->IoStatus.Status;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }
    ExReleaseResourceLite(&Fcb.Resource);
    return status;
}

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    PFILE_OBJECT file = stack->FileObject;
    NTSTATUS status = STATUS_SUCCESS;
    UNREFERENCED_PARAMETER(DeviceObject);
    Irp->IoStatus.Information = 0;
    switch (stack->MajorFunction) {
    case IRP_MJ_CREATE:
        file->FsContext = &Fcb;
        file->SectionObjectPointer = &Fcb.Sections;
        break;
    case IRP_MJ_READ:
        status = Irp->Flags & IRP_PAGING_IO ? Page(Irp, stack) : Read(Irp, stack);
        break;
    case IRP_MJ_WRITE:
        status = Irp->Flags & IRP_PAGING_IO ? Page(Irp, stack) : Write(Irp, stack);
        break;
    case IRP_MJ_FLUSH_BUFFERS:
        CcFlushCache(&Fcb.Sections, NULL, 0, &Irp->IoStatus);
        status = Irp->IoStatus.Status;
        break;
    case IRP_MJ_CLEANUP:
        CcUninitializeCacheMap(file, NULL, NULL);
        break;
    }
    return Complete(Irp, status, Irp->IoStatus.Information);
}

static HANDLE Open(PFILE_OBJECT *File)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    HANDLE handle = NULL;
    RtlInitUnicodeString(&name, L"\\Device\\TestCc\\file");
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
    ST(ZwCreateFile(&handle, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, &attributes, &iosb, NULL, 0, FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0), STATUS_SUCCESS, "nt_cc_01_the_file_opens");
    ST(ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, KernelMode, (PVOID *)File, NULL), STATUS_SUCCESS, "nt_cc_01_its_object");
    return handle;
}

static NTSTATUS Put(HANDLE Handle, LONGLONG At, PVOID From, ULONG Length)
{
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER at;
    at.QuadPart = At;
    return ZwWriteFile(Handle, NULL, NULL, NULL, &iosb, From, Length, &at, NULL);
}

/* Drops the pages, so that the next access needs the medium. */
static VOID Forget(VOID)
{
    IO_STATUS_BLOCK iosb;
    CcFlushCache(&Fcb.Sections, NULL, 0, &iosb);
    CcPurgeCacheSection(&Fcb.Sections, NULL, 0, 0);
    SeenCount = 0;
}

static VOID TestCopies(HANDLE Handle, PFILE_OBJECT File)
{
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER zero = { .QuadPart = 0 }, at;
    OK(File->PrivateCacheMap == NULL && !CcIsFileCached(File), "nt_s_10_nothing_is_cached_before_the_first_write");
    ST(Put(Handle, 0, Bytes, 5000), STATUS_SUCCESS, "nt_cc_10_a_write_of_5000_bytes");
    OK(File->PrivateCacheMap != NULL && CcIsFileCached(File), "nt_s_10_the_first_write_makes_the_cache_map");
    EQ(CcGetFileSizePointer(File)->QuadPart, 5000, "nt_cc_10_the_cache_knows_the_size");
    OK(CcGetFileObjectFromSectionPtrs(&Fcb.Sections) == File, "nt_cc_01_whose_map_it_is");
    EQ(SeenCount, 0, "nt_cc_14_a_copy_sends_no_paging_write");
    OK(Medium[0] != Bytes[0], "nt_cc_14_the_medium_has_nothing_yet");
    CcFlushCache(&Fcb.Sections, NULL, 0, &iosb);
    ST(iosb.Status, STATUS_SUCCESS, "nt_cc_40_a_flush");
    OK(SeenCount == 1 && Seen[0].Major == IRP_MJ_WRITE && Seen[0].At == 0 && Seen[0].Length == 0x2000, "nt_cc_40_writes_whole_pages_once");
    EQ(Seen[0].Flags & (IRP_NOCACHE | IRP_PAGING_IO | 0x40), IRP_NOCACHE | IRP_PAGING_IO | 0x40, "nt_cc_22_paging_means_noncached_and_synchronous");
    OK(Seen[0].Process == IoGetCurrentProcess() && !Seen[0].Locked, "nt_cc_30_in_the_thread_that_asked");
    OK(Seen[0].Mapped && Seen[0].File == File, "nt_cc_23_the_pages_are_described");
    OK(RtlEqualMemory(Medium, Bytes, 5000), "nt_cc_40_and_the_medium_has_it");
    EQ(CcGetFlushedValidData(&Fcb.Sections, FALSE).QuadPart, 5000, "nt_cc_39_valid_data_on_the_medium");
    Forget();
    RtlZeroMemory(Back, sizeof(Back));
    at.QuadPart = 4096;
    OK(CcCopyRead(File, &at, 904, TRUE, Back, &iosb), "nt_cc_13_a_read_after_the_purge");
    OK(iosb.Status == STATUS_SUCCESS && iosb.Information == 904 && RtlEqualMemory(Back, Bytes + 4096, 904), "nt_cc_13_brings_the_bytes");
    OK(SeenCount >= 1 && Seen[0].Major == IRP_MJ_READ && Seen[0].At <= 4096, "nt_cc_13_from_the_medium");
    /* The read comes before the copy fails. */
    Forget();
    RAISED(CcCopyWrite(File, &zero, 10, TRUE, NULL));
    ST(Raised, STATUS_INVALID_USER_BUFFER, "nt_cc_14_a_bad_buffer_raises");
    OK(SeenCount >= 1 && Seen[0].Major == IRP_MJ_READ && Seen[0].At == 0 && Seen[0].Length == 0x1000, "nt_cc_14_after_the_page_was_read");
    RAISED(CcCopyWrite(File, NULL, 10, TRUE, Bytes));
    ST(Raised, STATUS_ACCESS_VIOLATION, "nt_cc_14_no_offset_raises");
    RAISED(CcCopyWrite(NULL, &zero, 10, TRUE, Bytes));
    ST(Raised, STATUS_ACCESS_VIOLATION, "nt_cc_14_no_file_object_raises");
    Forget();
    OK(!CcCopyWrite(File, &zero, 10, FALSE, Bytes), "nt_cc_14_a_page_that_is_not_there_is_not_waited_for");
    CcWaitForCurrentLazyWriterActivity();
    for (int tries = 0; SeenCount == 0 && tries < 200; tries++) {
        LARGE_INTEGER pause = { .QuadPart = -50000 };
        KeDelayExecutionThread(KernelMode, FALSE, &pause);
    }
    OK(SeenCount >= 1 && Seen[0].Major == IRP_MJ_READ, "nt_cc_14_but_it_is_on_its_way");
    OK(CcCopyWriteEx(File, &zero, 10, TRUE, Bytes + 1, KeGetCurrentThread()), "nt_cc_20_the_issuing_thread_changes_nothing");
    Forget();
    OK(RtlEqualMemory(Medium, Bytes + 1, 10), "nt_cc_20_the_bytes_are_written");
    OK(CcCopyWrite(File, &zero, 10, TRUE, Bytes), "nt_cc_14_the_bytes_again");
}

static VOID TestFailures(HANDLE Handle, PFILE_OBJECT File)
{
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER zero = { .QuadPart = 0 };
    Forget();
    MediumStatus = STATUS_IO_DEVICE_ERROR;
    RAISED(CcCopyRead(File, &zero, 10, TRUE, Back, &iosb));
    ST(Raised, STATUS_IO_DEVICE_ERROR, "nt_cc_12_a_page_that_cannot_be_read_raises");
    ST(Put(Handle, 10, Bytes, 10), STATUS_IO_DEVICE_ERROR, "nt_cc_12_and_is_the_status_of_a_write");
    MediumStatus = STATUS_SUCCESS;
    ST(Put(Handle, 0, Bytes, 0x1000), STATUS_SUCCESS, "nt_cc_12_a_whole_page_needs_no_read");
    MediumStatus = STATUS_IO_DEVICE_ERROR;
    CcFlushCache(&Fcb.Sections, NULL, 0, &iosb);
    ST(iosb.Status, STATUS_IO_DEVICE_ERROR, "nt_cc_40_a_flush_tells_what_the_medium_said");
    MediumStatus = STATUS_SUCCESS;
    CcFlushCache(&Fcb.Sections, NULL, 0, &iosb);
    OK(iosb.Status == STATUS_SUCCESS && RtlEqualMemory(Medium, Bytes, 0x1000), "nt_cc_40_and_nothing_was_lost");
}

static VOID TestMdls(HANDLE Handle, PFILE_OBJECT File)
{
    IO_STATUS_BLOCK iosb = { { 0 }, 0 };
    LARGE_INTEGER at = { .QuadPart = 0x100 }, end;
    PMDL chain = NULL;
    PUCHAR pages;
    UNREFERENCED_PARAMETER(Handle);
    CcPrepareMdlWrite(File, &at, 0x200, &chain, &iosb);
    OK(chain != NULL && iosb.Status == STATUS_SUCCESS && iosb.Information == 0x200, "nt_s_12_pages_to_write_to");
    if (chain != NULL) {
        pages = MmGetSystemAddressForMdlSafe(chain, NormalPagePriority);
        RtlFillMemory(pages, 0x200, 0xA5);
        CcMdlWriteComplete(File, &at, chain);
    }
    CcFlushCache(&Fcb.Sections, NULL, 0, &iosb);
    OK(Medium[0xFF] == Bytes[0xFF] && Medium[0x100] == 0xA5 && Medium[0x2FF] == 0xA5 && Medium[0x300] == Bytes[0x300], "nt_s_12_reach_the_medium");
    chain = NULL;
    CcMdlRead(File, &at, 0x200, &chain, &iosb);
    OK(chain != NULL && iosb.Information == 0x200, "nt_s_12_pages_to_read_from");
    if (chain != NULL) {
        pages = MmGetSystemAddressForMdlSafe(chain, NormalPagePriority);
        OK(pages[0] == 0xA5 && pages[0x1FF] == 0xA5, "nt_s_12_hold_the_file");
        CcMdlReadComplete(File, chain);
    }
    at.QuadPart = 0x110;
    end.QuadPart = 0x120;
    OK(CcZeroData(File, &at, &end, TRUE), "nt_cc_17_zeroes");
    CcFlushCache(&Fcb.Sections, NULL, 0, &iosb);
    OK(Medium[0x10F] == 0xA5 && Medium[0x110] == 0 && Medium[0x11F] == 0 && Medium[0x120] == 0xA5, "nt_cc_17_from_here_to_there");
}

static VOID TestLazyWriter(HANDLE Handle)
{
    LONG locks = LazyLocks;
    LazyContext = 0;
    SeenCount = 0;
    ST(Put(Handle, 0x2000, Bytes, 0x1000), STATUS_SUCCESS, "nt_cc_35_a_dirty_page");
    ST(CcWaitForCurrentLazyWriterActivity(), STATUS_SUCCESS, "nt_cc_35_the_lazy_writer_runs");
    OK(SeenCount >= 1 && LazyLocks > locks && LazyContext == LazyLocks - locks, "nt_cc_35_it_asks_for_the_locks_with_the_context");
    OK(Seen[SeenCount - 1].Locked && Held == 0 && LazyLocks == LazyUnlocks, "nt_cc_31_its_writes_come_between_the_two");
    OK(Seen[SeenCount - 1].Process == System, "nt_cc_30_in_a_thread_of_the_system");
    OK(RtlEqualMemory(Medium + 0x2000, Bytes, 0x1000), "nt_cc_35_the_page_is_on_the_medium");
}

static VOID NTAPI Post(PVOID Number, PVOID File)
{
    UNREFERENCED_PARAMETER(File);
    Order[OrderCount++ & 3] = (LONG)(LONG_PTR)Number;
}

static VOID TestThrottle(HANDLE Handle, PFILE_OBJECT File)
{
    OK(CcCanIWrite(File, 0x1000, FALSE, FALSE), "nt_cc_15_there_is_room");
    CcSetDirtyPageThreshold(File, 2);
    CcSetAdditionalCacheAttributes(File, TRUE, TRUE);
    ST(Put(Handle, 0, Bytes, 0x2000), STATUS_SUCCESS, "nt_cc_15_two_dirty_pages");
    OK(!CcCanIWrite(File, 0x1000, FALSE, FALSE), "nt_cc_15_are_enough_for_this_file");
    CcDeferWrite(File, Post, (PVOID)2, File, 0x1000, FALSE);
    CcDeferWrite(File, Post, (PVOID)3, File, 0x1000, FALSE);
    CcDeferWrite(File, Post, (PVOID)1, File, 0x1000, TRUE);
    EQ(OrderCount, 0, "nt_cc_16_they_wait");
    Forget();
    for (int tries = 0; OrderCount < 3 && tries < 400; tries++) {
        LARGE_INTEGER pause = { .QuadPart = -50000 };
        KeDelayExecutionThread(KernelMode, FALSE, &pause);
    }
    OK(OrderCount == 3 && Order[0] == 1 && Order[1] == 2 && Order[2] == 3, "nt_cc_16_and_are_posted_in_order_a_retry_first");
    CcSetDirtyPageThreshold(File, 0);
    CcSetAdditionalCacheAttributes(File, FALSE, FALSE);
}

static VOID TestEnd(HANDLE Handle, PFILE_OBJECT File)
{
    ST(Put(Handle, 0x3000, Bytes, 0x123), STATUS_SUCCESS, "nt_cc_69_a_last_write");
    ZwClose(Handle);
    OK(File->PrivateCacheMap == NULL, "nt_cc_69_cleanup_takes_the_private_map");
    ObDereferenceObject(File);
    CcWaitForCurrentLazyWriterActivity();
    OK(RtlEqualMemory(Medium + 0x3000, Bytes, 0x123), "nt_cc_69_what_was_dirty_reaches_the_medium");
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    OK(Fcb.Sections.SharedCacheMap == NULL, "nt_cc_69_no_map_is_left");
    ExDeleteResourceLite(&Fcb.Resource);
    ExDeleteResourceLite(&Fcb.Paging);
    IoDeleteDevice(Device);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    PFILE_OBJECT file = NULL;
    HANDLE handle;
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    for (ULONG at = 0; at < sizeof(Bytes); at++) Bytes[at] = (UCHAR)(at * 7 + (at >> 8) + 1);
    DriverObject->DriverUnload = Unload;
    System = IoGetCurrentProcess();
    status = MakeFileSystem(DriverObject, Dispatch);
    if (!NT_SUCCESS(status)) return status;
    Device->Flags |= DO_BUFFERED_IO;
    ExInitializeResourceLite(&Fcb.Resource);
    ExInitializeResourceLite(&Fcb.Paging);
    Fcb.Header.NodeByteSize = sizeof(FCB);
    Fcb.Header.Resource = &Fcb.Resource;
    Fcb.Header.PagingIoResource = &Fcb.Paging;
    handle = Open(&file);
    if (file == NULL) return STATUS_SUCCESS;
    TestCopies(handle, file);
    TestFailures(handle, file);
    TestMdls(handle, file);
    TestLazyWriter(handle);
    TestThrottle(handle, file);
    TestEnd(handle, file);
    return STATUS_SUCCESS;
}
