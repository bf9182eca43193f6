/*
 * t_notify: changes of directories. As a client: ZwNotifyChangeDirectoryFile on a volume. As a file system: a device whose
 * directories are made up, with the FsRtlNotify package behind it.
 */
#include <ntifs.h>
#include "t.h"

#define T_DEVICE L"TNotify"
#include "t_device.h"

DRIVER_INITIALIZE DriverEntry;

/* Of ntoskrnl.exe, but in no header that drivers get. */
NTSTATUS NTAPI ZwCancelIoFile(HANDLE File, PIO_STATUS_BLOCK Iosb);

#define RESET(iosb) ((iosb).Status = 0x55555555, (iosb).Information = 0x55)
#define UNTOUCHED(iosb) ((iosb).Status == 0x55555555 && (iosb).Information == 0x55)
#define ALL 0xFFF


/* The made-up volume: what its requests for changes become. */
static PNOTIFY_SYNC Sync;
static LIST_ENTRY List;
static UNICODE_STRING Watched = RTL_CONSTANT_STRING(L"\\dir");
static STRING AnsiName = RTL_CONSTANT_STRING("\\dir");
static BOOLEAN UseAnsi, Tree, IgnoreBuffer, UseFilter, Refuse;
static NTSTATUS Traverse;
static ULONG Filter, Traversed, Asked;
static PVOID Contexts[4];

static NTSTATUS NTAPI MayTraverse(PVOID NotifyContext, PVOID TargetContext, PSECURITY_SUBJECT_CONTEXT Subject)
{
    UNREFERENCED_PARAMETER(NotifyContext);
    UNREFERENCED_PARAMETER(Subject);
    Contexts[0] = TargetContext;
    Traversed++;
    return Traverse;
}

static BOOLEAN NTAPI MayReport(PVOID NotifyContext, PVOID FilterContext)
{
    Contexts[1] = NotifyContext;
    Contexts[2] = FilterContext;
    Asked++;
    return !Refuse;
}

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status = STATUS_SUCCESS;
    UNREFERENCED_PARAMETER(DeviceObject);
    switch (stack->MajorFunction) {
    case IRP_MJ_DIRECTORY_CONTROL: {
        PSTRING name = UseAnsi ? &AnsiName : (PSTRING)&Watched;
        Filter = stack->Parameters.NotifyDirectory.CompletionFilter;
        if (stack->MinorFunction != IRP_MN_NOTIFY_CHANGE_DIRECTORY) {
            status = STATUS_INVALID_DEVICE_REQUEST;
            break;
        }
        Tree = (stack->Flags & SL_WATCH_TREE) != 0;
        if (UseFilter)
            FsRtlNotifyFilterChangeDirectory(Sync, &List, stack->FileObject, name, Tree, IgnoreBuffer, Filter, Irp, MayTraverse, NULL, MayReport);
        else
            FsRtlNotifyFullChangeDirectory(Sync, &List, stack->FileObject, name, Tree, IgnoreBuffer, Filter, Irp, NULL, NULL);
        return STATUS_PENDING;
    }
    case IRP_MJ_CLEANUP:
        FsRtlNotifyCleanup(Sync, &List, stack->FileObject);
        break;
    default:
        break;
    }
    return Complete(Irp, status, 0);
}

static HANDLE Open(PCWSTR Name, ULONG Access, ULONG Disposition, ULONG Options)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    HANDLE handle = NULL;
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    ZwCreateFile(&handle, Access | SYNCHRONIZE, &attributes, &iosb, NULL, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
        Disposition, Options, NULL, 0);
    return handle;
}

static VOID Make(PCWSTR Name)
{
    HANDLE file = Open(Name, GENERIC_WRITE, FILE_OPEN_IF, FILE_SYNCHRONOUS_IO_NONALERT);
    ZwClose(file);
}

typedef struct {
    IO_STATUS_BLOCK Iosb;
    DECLSPEC_ALIGN(8) UCHAR Buffer[256];
} REQUEST;

static NTSTATUS Watch(HANDLE Handle, REQUEST *Request, ULONG Length, ULONG CompletionFilter, BOOLEAN WatchTree)
{
    RESET(Request->Iosb);
    RtlFillMemory(Request->Buffer, sizeof Request->Buffer, 0xEE);
    return ZwNotifyChangeDirectoryFile(Handle, NULL, NULL, NULL, &Request->Iosb, Length ? Request->Buffer : NULL, Length, CompletionFilter, WatchTree);
}

/* One record with this action and name, and nothing else. */
static BOOLEAN Is(const REQUEST *Request, ULONG Action, PCWSTR Name)
{
    const FILE_NOTIFY_INFORMATION *record = (const FILE_NOTIFY_INFORMATION *)Request->Buffer;
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, Name);
    return Request->Iosb.Status == STATUS_SUCCESS && Request->Iosb.Information == 12u + name.Length && record->NextEntryOffset == 0 &&
        record->Action == Action && record->FileNameLength == name.Length &&
        RtlCompareMemory(record->FileName, name.Buffer, name.Length) == name.Length;
}

static VOID Report(PCWSTR Name, USHORT Last, ULONG Match, ULONG Action, PVOID TargetContext)
{
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, Name);
    FsRtlNotifyFullReportChange(Sync, &List, (PSTRING)&name, Last, NULL, NULL, Match, Action, TargetContext);
}

/* A client of the volume C:. */
static VOID Client(VOID)
{
    static REQUEST one, two;
    IO_STATUS_BLOCK iosb;
    HANDLE dir = Open(L"\\??\\C:\\n", FILE_LIST_DIRECTORY, FILE_OPEN_IF, FILE_DIRECTORY_FILE);
    HANDLE file;
    FILE_NOTIFY_INFORMATION *record;

    ST(Watch(dir, &one, 256, 0, FALSE), STATUS_INVALID_PARAMETER, "nt_nfy_02_no_filter");
    ST(Watch(dir, &one, 256, 0x1000, FALSE), STATUS_INVALID_PARAMETER, "nt_nfy_02_an_unknown_bit");
    OK(UNTOUCHED(one.Iosb), "nt_nfy_02_the_block_is_left_alone");
    ST(Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE), STATUS_PENDING, "nt_nfy_03_it_waits");
    OK(UNTOUCHED(one.Iosb), "nt_nfy_03_the_block_is_left_alone");
    Make(L"\\??\\C:\\n\\hoo");
    OK(Is(&one, FILE_ACTION_ADDED, L"hoo"), "nt_nfy_05_one_record");
    EQ(one.Buffer[0x12], 0xEE, "nt_nfy_05_and_no_more");
    Make(L"\\??\\C:\\n\\a");
    Make(L"\\??\\C:\\n\\b");
    ST(Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_SIZE, FALSE), STATUS_PENDING, "nt_nfy_09_pended_and_complete");
    record = (FILE_NOTIFY_INFORMATION *)one.Buffer;
    OK(one.Iosb.Status == STATUS_SUCCESS && record->NextEntryOffset == 0x10 && record->FileName[0] == 'a' && one.Buffer[0x1C] == 'b',
        "nt_nfy_09_what_happened_between");
    Watch(dir, &one, 8, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    Make(L"\\??\\C:\\n\\c");
    OK(one.Iosb.Status == STATUS_NOTIFY_ENUM_DIR && one.Iosb.Information == 0, "nt_nfy_07_too_small");
    Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    Watch(dir, &two, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    Make(L"\\??\\C:\\n\\d");
    OK(Is(&one, FILE_ACTION_ADDED, L"d") && UNTOUCHED(two.Iosb), "nt_nfy_11_in_order");
    ZwCancelIoFile(dir, &iosb);
    OK(two.Iosb.Status == STATUS_CANCELLED && two.Iosb.Information == 0, "nt_nfy_12_cancelled");
    Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    ZwClose(dir);
    OK(one.Iosb.Status == STATUS_NOTIFY_CLEANUP && one.Iosb.Information == 0, "nt_nfy_13_the_last_close");

    dir = Open(L"\\??\\C:\\n", FILE_LIST_DIRECTORY, FILE_OPEN_IF, FILE_DIRECTORY_FILE);
    RESET(one.Iosb);
    ST(ZwNotifyChangeDirectoryFileEx(dir, NULL, NULL, NULL, &one.Iosb, one.Buffer, 256, ALL, TRUE, 3), STATUS_INVALID_INFO_CLASS, "nt_nfy_24_class_3");
    ST(ZwNotifyChangeDirectoryFileEx(dir, NULL, NULL, NULL, &one.Iosb, one.Buffer, 256, FILE_NOTIFY_CHANGE_SIZE, TRUE,
           DirectoryNotifyExtendedInformation), STATUS_PENDING, "nt_nfy_24_class_2");
    file = Open(L"\\??\\C:\\n\\d", GENERIC_WRITE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT | FILE_WRITE_THROUGH);
    ZwWriteFile(file, NULL, NULL, NULL, &iosb, "12345", 5, NULL, NULL);
    {
        FILE_NOTIFY_EXTENDED_INFORMATION *more = (FILE_NOTIFY_EXTENDED_INFORMATION *)one.Buffer;
        OK(one.Iosb.Information == 0x54 + 2 && more->Action == FILE_ACTION_MODIFIED && more->FileSize.QuadPart == 5 &&
               more->FileNameLength == 2 && more->FileName[0] == 'd', "nt_s_08_a_write_that_is_written_through_is_told_at_once");
    }
    ZwClose(file);
    ZwClose(dir);
    file = Open(L"\\??\\C:\\n\\d", FILE_LIST_DIRECTORY, FILE_OPEN, 0);
    ST(Watch(file, &one, 256, ALL, FALSE), STATUS_INVALID_PARAMETER, "nt_nfy_04_a_file");
    ZwClose(file);
}

/* The package, behind this driver's own device. */
static VOID Package(VOID)
{
    static REQUEST one, two;
    IO_STATUS_BLOCK iosb;
    FILE_OBJECT *object;
    HANDLE dir = Open(L"\\Device\\TNotify\\dir", FILE_LIST_DIRECTORY, FILE_OPEN, 0), other;

    OK(IsListEmpty(&List), "nt_nfy_08_nobody_watches");
    ST(Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE), STATUS_PENDING, "nt_nfy_03_the_package_pends");
    OK(!IsListEmpty(&List) && Filter == FILE_NOTIFY_CHANGE_FILE_NAME, "nt_nfy_08_the_watch_stands_in_the_list");
    Report(L"\\dir\\file", 10, FILE_NOTIFY_CHANGE_SIZE, FILE_ACTION_MODIFIED, NULL);
    Report(L"\\other\\file", 14, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_ADDED, NULL);
    Report(L"\\dir\\sub\\file", 18, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_ADDED, NULL);
    Report(L"\\dirx", 2, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_ADDED, NULL);
    OK(UNTOUCHED(one.Iosb), "nt_nfy_16_other_filters_directories_and_levels");
    Report(L"\\dir\\file", 10, FILE_NOTIFY_CHANGE_FILE_NAME | FILE_NOTIFY_CHANGE_SIZE, FILE_ACTION_ADDED, NULL);
    OK(Is(&one, FILE_ACTION_ADDED, L"file"), "nt_nfy_06_relative_to_the_directory");
    /* The two halves of a rename go to one request. */
    Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    Report(L"\\dir\\old", 10, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_RENAMED_OLD_NAME, NULL);
    OK(UNTOUCHED(one.Iosb), "nt_nfy_18_the_old_name_waits_for_the_new_one");
    Report(L"\\dir\\new", 10, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_RENAMED_NEW_NAME, NULL);
    OK(one.Iosb.Status == STATUS_SUCCESS && one.Iosb.Information == 0x14 + 0x12, "nt_nfy_18_and_they_come_together");
    /* A stream, and a directory by another name. */
    {
        UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\short\\file"), stream = RTL_CONSTANT_STRING(L"s"), parent = RTL_CONSTANT_STRING(L"\\dir");
        Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
        FsRtlNotifyFullReportChange(Sync, &List, (PSTRING)&name, 14, (PSTRING)&stream, (PSTRING)&parent, FILE_NOTIFY_CHANGE_FILE_NAME,
            FILE_ACTION_ADDED_STREAM, NULL);
        OK(Is(&one, FILE_ACTION_ADDED_STREAM, L"file:s"), "nt_nfy_21_a_stream_by_the_normalized_parent");
    }
    /* The directory is renamed: its string changes, the watch goes on. */
    Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    RtlInitUnicodeString(&Watched, L"\\moved");
    Report(L"\\moved\\f", 14, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_ADDED, NULL);
    OK(Is(&one, FILE_ACTION_ADDED, L"f"), "nt_nfy_23_a_renamed_directory");
    RtlInitUnicodeString(&Watched, L"\\dir");
    /* It is deleted. */
    Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    Watch(dir, &two, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    ObReferenceObjectByHandle(dir, 0, NULL, KernelMode, (PVOID *)&object, NULL);
    FsRtlNotifyFullChangeDirectory(Sync, &List, object, NULL, FALSE, FALSE, 0, NULL, NULL, NULL);
    ObDereferenceObject(object);
    OK(one.Iosb.Status == STATUS_DELETE_PENDING && two.Iosb.Status == STATUS_DELETE_PENDING, "nt_nfy_23_a_deleted_directory");
    ZwCancelIoFile(dir, &iosb);
    Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    ZwClose(dir);
    OK(one.Iosb.Status == STATUS_NOTIFY_CLEANUP && IsListEmpty(&List), "nt_nfy_13_cleanup_takes_the_watch_away");

    /* Names of bytes; no buffer wanted. */
    UseAnsi = TRUE;
    dir = Open(L"\\Device\\TNotify\\dir", FILE_LIST_DIRECTORY, FILE_OPEN, 0);
    Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    {
        STRING name = RTL_CONSTANT_STRING("\\dir\\ansi");
        FsRtlNotifyFullReportChange(Sync, &List, &name, 5, NULL, NULL, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_REMOVED, NULL);
    }
    OK(Is(&one, FILE_ACTION_REMOVED, L"ansi"), "nt_nfy_05_names_of_bytes_become_units");
    UseAnsi = FALSE;
    IgnoreBuffer = TRUE;
    other = Open(L"\\Device\\TNotify\\dir", FILE_LIST_DIRECTORY, FILE_OPEN, 0);
    Watch(other, &two, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    Report(L"\\dir\\x", 10, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_ADDED, NULL);
    OK(two.Iosb.Status == STATUS_NOTIFY_ENUM_DIR, "nt_nfy_10_the_buffer_is_ignored");
    IgnoreBuffer = FALSE;
    Watch(other, &two, 256, FILE_NOTIFY_CHANGE_FILE_NAME, FALSE);
    FsRtlNotifyCleanupAll(Sync, &List);
    OK(two.Iosb.Status == STATUS_NOTIFY_CLEANUP && IsListEmpty(&List), "nt_nfy_13_all_of_them");
    ZwClose(other);
    ZwClose(dir);

    /* The file system's routines have their say. */
    UseFilter = TRUE;
    Refuse = TRUE;
    dir = Open(L"\\Device\\TNotify\\dir", FILE_LIST_DIRECTORY, FILE_OPEN, 0);
    Watch(dir, &one, 256, FILE_NOTIFY_CHANGE_FILE_NAME, TRUE);
    {
        UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\dir\\sub\\f");
        FsRtlNotifyFilterReportChange(Sync, &List, (PSTRING)&name, 18, NULL, NULL, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_ADDED, &Traversed, &Asked);
        OK(UNTOUCHED(one.Iosb) && Traversed == 1 && Asked == 1, "nt_nfy_16_the_filter_callback_refuses");
        OK(Contexts[0] == &Traversed && Contexts[2] == &Asked, "nt_nfy_16_with_the_contexts_of_the_report");
        Refuse = FALSE;
        Traverse = STATUS_ACCESS_DENIED;
        FsRtlNotifyFilterReportChange(Sync, &List, (PSTRING)&name, 18, NULL, NULL, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_ADDED, NULL, NULL);
        OK(UNTOUCHED(one.Iosb) && Traversed == 2, "nt_nfy_16_a_directory_that_may_not_be_traversed");
        Traverse = STATUS_SUCCESS;
        FsRtlNotifyFilterReportChange(Sync, &List, (PSTRING)&name, 18, NULL, NULL, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_ACTION_ADDED, NULL, NULL);
        OK(Is(&one, FILE_ACTION_ADDED, L"sub\\f"), "nt_nfy_06_beneath_a_watched_tree");
    }
    ZwClose(dir);
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    FsRtlNotifyUninitializeSync(&Sync);
    IoDeleteDevice(Device);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status = MakeFileSystem(DriverObject, Dispatch);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(status)) return status;
    DriverObject->DriverUnload = Unload;
    InitializeListHead(&List);
    FsRtlNotifyInitializeSync(&Sync);
    OK(Sync != NULL, "nt_nfy_08_the_package_starts");
    Client();
    Package();
    return STATUS_SUCCESS;
}
