/*
 * t_redirect: a filter that sends opens elsewhere. An open of a name that ends in ".elsewhere" goes to the name without it: the
 * filter gives the file object the other name and ends the create with STATUS_REPARSE. It notes what it sees of reparse points
 * in its post callback, and when it is unloaded it makes links of its own and opens through them.
 */
#include "t_filter.h"

static volatile LONG Sent, Symlinks, Mounts, Opened;
#define SUFFIX L".elsewhere"

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *CompletionContext)
{
    PFLT_FILE_NAME_INFORMATION name;
    NTSTATUS status;
    *CompletionContext = NULL;
    if (!Ends(&FltObjects->FileObject->FileName, SUFFIX)) return FLT_PREOP_SUCCESS_WITH_CALLBACK;
    status = FltGetFileNameInformation(Data, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT, &name);
    ST(status, STATUS_SUCCESS, "flt_n_01_a_filter_asks_for_the_name_of_an_open");
    if (!NT_SUCCESS(status)) return FLT_PREOP_SUCCESS_NO_CALLBACK;
    ST(IoReplaceFileObjectName(FltObjects->FileObject, name->Name.Buffer, 3), STATUS_INVALID_PARAMETER,
        "nt_rep_21_half_a_character_is_no_name");
    status = IoReplaceFileObjectName(FltObjects->FileObject, name->Name.Buffer, (USHORT)(name->Name.Length - (sizeof(SUFFIX) - sizeof(WCHAR))));
    FltReleaseFileNameInformation(name);
    ST(status, STATUS_SUCCESS, "nt_rep_21_a_filter_gives_the_file_object_another_name");
    InterlockedIncrement(&Sent);
    Data->IoStatus.Status = STATUS_REPARSE;
    Data->IoStatus.Information = IO_REPARSE;
    return FLT_PREOP_COMPLETE;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID CompletionContext,
    FLT_POST_OPERATION_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(CompletionContext);
    UNREFERENCED_PARAMETER(Flags);
    if (Data->IoStatus.Status != STATUS_REPARSE) {
        if (NT_SUCCESS(Data->IoStatus.Status)) InterlockedIncrement(&Opened);
        return FLT_POSTOP_FINISHED_PROCESSING;
    }
    OK(Data->TagData != NULL, "nt_rep_21_the_reparse_data_is_the_filters_tag_data");
    if (Data->TagData != NULL) {
        EQ(Data->IoStatus.Information, Data->TagData->FileTag, "nt_rep_21_information_is_the_tag");
        if (Data->TagData->FileTag == (ULONG)IO_REPARSE_TAG_SYMLINK) InterlockedIncrement(&Symlinks);
        if (Data->TagData->FileTag == (ULONG)IO_REPARSE_TAG_MOUNT_POINT) {
            InterlockedIncrement(&Mounts);
            EQ(Data->TagData->UnparsedNameLength, 2 * sizeof(WCHAR), "nt_rep_21_so_much_of_the_name_is_left");
        }
    }
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static NTSTATUS Open(PCWSTR Path, ULONG Attributes, ULONG Disposition, ULONG Options, PHANDLE Handle)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    RtlInitUnicodeString(&name, Path);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE | Attributes, NULL, NULL);
    return ZwCreateFile(Handle, FILE_READ_DATA | FILE_WRITE_DATA | SYNCHRONIZE, &attributes, &iosb, NULL, 0,
        FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, Disposition, FILE_SYNCHRONOUS_IO_NONALERT | Options, NULL, 0);
}

static NTSTATUS Try(PCWSTR Path, ULONG Attributes, ULONG Options)
{
    HANDLE handle;
    NTSTATUS status = Open(Path, Attributes, FILE_OPEN, Options, &handle);
    if (NT_SUCCESS(status)) ZwClose(handle);
    return status;
}

static NTSTATUS Make(PCWSTR Path, ULONG Options, ULONG Tag, ULONG Flags, PCWSTR Target)
{
    union {
        REPARSE_DATA_BUFFER data;
        UCHAR bytes[256];
    } u;
    HANDLE handle;
    IO_STATUS_BLOCK iosb;
    UNICODE_STRING name;
    NTSTATUS status = Open(Path, 0, FILE_CREATE, Options, &handle);
    const USHORT head = Tag == (ULONG)IO_REPARSE_TAG_SYMLINK ? 12 : 8;
    USHORT i;
    if (!NT_SUCCESS(status)) return status;
    RtlInitUnicodeString(&name, Target);
    RtlZeroMemory(&u, sizeof(u));
    u.data.ReparseTag = Tag;
    u.data.ReparseDataLength = (USHORT)(head + name.Length);
    u.data.MountPointReparseBuffer.SubstituteNameLength = name.Length;
    u.data.MountPointReparseBuffer.PrintNameOffset = name.Length;
    if (head == 12) u.data.SymbolicLinkReparseBuffer.Flags = Flags;
    for (i = 0; i < name.Length; i++) u.bytes[8 + head + i] = ((PUCHAR)name.Buffer)[i];
    status = ZwFsControlFile(handle, NULL, NULL, NULL, &iosb, FSCTL_SET_REPARSE_POINT, &u, 8u + u.data.ReparseDataLength, NULL, 0);
    ZwClose(handle);
    return status;
}

static VOID Links(VOID)
{
    HANDLE handle;
    NTSTATUS status;
    const LONG symlinks = Symlinks, mounts = Mounts;
    ST(Open(L"\\??\\C:\\dir", 0, FILE_CREATE, FILE_DIRECTORY_FILE, &handle), STATUS_SUCCESS, "nt_rep_18_a_directory");
    ZwClose(handle);
    ST(Open(L"\\??\\C:\\dir\\f", 0, FILE_CREATE, 0, &handle), STATUS_SUCCESS, "nt_rep_18_a_file_in_it");
    ZwClose(handle);
    ST(Make(L"\\??\\C:\\link", 0, (ULONG)IO_REPARSE_TAG_SYMLINK, SYMLINK_FLAG_RELATIVE, L"dir\\f"), STATUS_SUCCESS, "nt_rep_18_a_link");
    ST(Make(L"\\??\\C:\\mount", FILE_DIRECTORY_FILE, (ULONG)IO_REPARSE_TAG_MOUNT_POINT, 0, L"\\??\\C:\\dir"), STATUS_SUCCESS,
        "nt_rep_22_a_mount_point");
    ST(Make(L"\\??\\C:\\self", FILE_DIRECTORY_FILE, (ULONG)IO_REPARSE_TAG_MOUNT_POINT, 0, L"\\??\\C:\\self"), STATUS_SUCCESS,
        "nt_rep_22_a_mount_point_to_itself");
    ST(Try(L"\\??\\C:\\link", 0, 0), STATUS_SUCCESS, "nt_rep_18_a_symbolic_link_is_followed");
    EQ(Symlinks - symlinks, 1, "nt_rep_21_and_the_filter_saw_its_tag");
    ST(Try(L"\\??\\C:\\mount\\f", 0, FILE_OPEN_REPARSE_POINT), STATUS_SUCCESS, "nt_rep_20_the_option_is_about_the_last_component");
    EQ(Mounts - mounts, 1, "nt_rep_21_and_the_filter_saw_that_tag");
    ST(Try(L"\\??\\C:\\self\\f", 0, 0), STATUS_REPARSE_POINT_NOT_RESOLVED, "nt_rep_22_a_mount_point_that_leads_to_itself");
    EQ(Mounts - mounts, 65, "nt_rep_23_after_sixty_three_restarts");
    ST(Try(L"\\Device\\HarddiskVolume1\\link", OBJ_DONT_REPARSE, 0), STATUS_REPARSE_POINT_ENCOUNTERED,
        "nt_rep_21_who_wants_nothing_followed_hears_of_it");
    ST(Try(L"\\??\\C:\\dir\\f.elsewhere", 0, 0), STATUS_SUCCESS, "nt_rep_21_an_open_goes_where_the_filter_sends_it");
    status = Try(L"\\??\\C:\\dir\\absent.elsewhere", 0, 0);
    ST(status, STATUS_OBJECT_NAME_NOT_FOUND, "nt_rep_21_and_fails_there");
}

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    Links();
    FltUnregisterFilter(Filter);
    DbgPrint("t_redirect: %d sent elsewhere\n", Sent);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, PostCreate, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .OperationRegistration = Operations,
    .FilterUnloadCallback = Unload,
};

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return StartFilter(DriverObject, &Registration, "flt_r_01_the_filter_registers");
}
