/*
 * t_short: short (8.3) names. As a minifilter: what it is told of files that are opened by their short names, before and after,
 * and of those that a tunnel cache gives their long names back. As a client of a volume that makes short names: lookups,
 * directory queries, the two information classes. And the two routines that file systems make short names with.
 */
#include <fltKernel.h>
#include "t_filter.h"

DRIVER_INITIALIZE DriverEntry;

#define DIRECTORY L"\\??\\C:\\Program Files"
#define LONG_NAME L"\\Program Files\\A long name.text"
#define UNITS(text) (sizeof(text) / sizeof(WCHAR) - 1)

enum { AS_OPENED, AS_NORMALIZED, AS_SHORT, AS_TUNNELED, NAMES };

/* What the filter was told, by the names above: before the create, and after it. */
typedef struct { NTSTATUS Status; USHORT Length; WCHAR Text[128]; } TOLD;
static TOLD Before[NAMES], After[NAMES], Destination;
static BOOLEAN Looking;

static VOID Keep(TOLD *Told, NTSTATUS Status, PFLT_FILE_NAME_INFORMATION Name)
{
    Told->Status = Status;
    Told->Length = 0;
    if (!NT_SUCCESS(Status) || Name == NULL) return;
    Told->Length = Name->Name.Length;
    if (Told->Length > sizeof Told->Text) Told->Length = sizeof Told->Text;
    RtlCopyMemory(Told->Text, Name->Name.Buffer, Told->Length);
}

static VOID Ask(PFLT_CALLBACK_DATA Data, TOLD *Told)
{
    static const FLT_FILE_NAME_OPTIONS formats[] = { FLT_FILE_NAME_OPENED, FLT_FILE_NAME_NORMALIZED, FLT_FILE_NAME_SHORT };
    ULONG i;
    for (i = AS_OPENED; i <= AS_SHORT; i++) {
        PFLT_FILE_NAME_INFORMATION name = NULL;
        NTSTATUS status = FltGetFileNameInformation(Data, formats[i] | FLT_FILE_NAME_QUERY_DEFAULT, &name);
        Keep(&Told[i], status, name);
        if (name != NULL) FltReleaseFileNameInformation(name);
    }
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    PFLT_FILE_NAME_INFORMATION name = NULL;
    UNREFERENCED_PARAMETER(FltObjects);
    if (!Looking) return FLT_PREOP_SUCCESS_NO_CALLBACK;
    Ask(Data, Before);
    FltGetFileNameInformation(Data, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name);
    *Context = name;
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context, FLT_POST_OPERATION_FLAGS Flags)
{
    PFLT_FILE_NAME_INFORMATION name = Context, tunneled = (PFLT_FILE_NAME_INFORMATION)(ULONG_PTR)1;
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Flags);
    if (name == NULL) return FLT_POSTOP_FINISHED_PROCESSING;
    Ask(Data, After);
    Keep(&After[AS_TUNNELED], FltGetTunneledName(Data, name, &tunneled), NULL);
    if (NT_SUCCESS(After[AS_TUNNELED].Status) && tunneled != NULL) {
        Keep(&After[AS_TUNNELED], STATUS_SUCCESS, tunneled);
        FltReleaseFileNameInformation(tunneled);
    }
    FltReleaseFileNameInformation(name);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreSetInformation(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    PFLT_FILE_NAME_INFORMATION name = NULL;
    PFILE_RENAME_INFORMATION rename = Data->Iopb->Parameters.SetFileInformation.InfoBuffer;
    UNREFERENCED_PARAMETER(Context);
    if (Looking && Data->Iopb->Parameters.SetFileInformation.FileInformationClass == FileRenameInformation) {
        NTSTATUS status = FltGetDestinationFileNameInformation(FltObjects->Instance, FltObjects->FileObject, rename->RootDirectory, rename->FileName,
            rename->FileNameLength, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name);
        Keep(&Destination, status, name);
        if (name != NULL) FltReleaseFileNameInformation(name);
    }
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static BOOLEAN Told(const TOLD *Told, PCWSTR End)
{
    UNICODE_STRING name = { Told->Length, Told->Length, (PWSTR)Told->Text };
    return NT_SUCCESS(Told->Status) && Ends(&name, End);
}

static NTSTATUS Open(PHANDLE Handle, PCWSTR Name, ACCESS_MASK Access, ULONG Disposition, ULONG Options)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    *Handle = NULL;
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    return ZwCreateFile(Handle, Access | SYNCHRONIZE, &attributes, &iosb, NULL, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
        Disposition, Options | FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
}

static VOID Make(PCWSTR Name, ULONG Options)
{
    HANDLE handle;
    ST(Open(&handle, Name, GENERIC_READ, FILE_CREATE, Options), STATUS_SUCCESS, "nt_nam_21_a_long_name_is_made");
    if (handle) ZwClose(handle);
}

static VOID Delete(PCWSTR Name)
{
    HANDLE handle;
    ST(Open(&handle, Name, DELETE, FILE_OPEN, FILE_DELETE_ON_CLOSE), STATUS_SUCCESS, "nt_ren_37_a_name_goes");
    if (handle) ZwClose(handle);
}

/* FileAlternateNameInformation is this name. */
static BOOLEAN IsShort(HANDLE Handle, PCWSTR Name)
{
    static DECLSPEC_ALIGN(8) UCHAR buffer[64];
    PFILE_NAME_INFORMATION information = (PFILE_NAME_INFORMATION)buffer;
    IO_STATUS_BLOCK iosb;
    UNICODE_STRING name, found;
    NTSTATUS status = ZwQueryInformationFile(Handle, &iosb, buffer, sizeof buffer, FileAlternateNameInformation);
    if (Name == NULL) return status == STATUS_OBJECT_NAME_NOT_FOUND;
    RtlInitUnicodeString(&name, Name);
    found.Length = found.MaximumLength = (USHORT)information->FileNameLength;
    found.Buffer = information->FileName;
    return NT_SUCCESS(status) && iosb.Information == sizeof(ULONG) + name.Length && RtlEqualUnicodeString(&name, &found, FALSE);
}

static NTSTATUS SetShort(HANDLE Handle, PCWSTR Name)
{
    static DECLSPEC_ALIGN(8) UCHAR buffer[64];
    PFILE_NAME_INFORMATION information = (PFILE_NAME_INFORMATION)buffer;
    IO_STATUS_BLOCK iosb;
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, Name);
    information->FileNameLength = name.Length;
    RtlCopyMemory(information->FileName, name.Buffer, name.Length);
    return ZwSetInformationFile(Handle, &iosb, buffer, sizeof(ULONG) + name.Length + sizeof(ULONG), FileShortNameInformation);
}

/* A program opens a file by its short name: a filter that compares what was asked for is gone around. */
static VOID Filtered(VOID)
{
    HANDLE handle;
    Looking = TRUE;
    ST(Open(&handle, L"\\??\\C:\\progra~1\\ALONGN~1.tex", FILE_READ_ATTRIBUTES, FILE_OPEN, 0), STATUS_SUCCESS, "nt_nam_21_a_file_is_found_by_its_short_name");
    Looking = FALSE;
    OK(Told(&Before[AS_OPENED], L"\\progra~1\\ALONGN~1.tex"), "flt_n_06_the_opened_name_is_what_was_asked_for");
    OK(Told(&Before[AS_NORMALIZED], LONG_NAME), "flt_n_06_the_normalized_name_has_long_components_before_the_create");
    ST(Before[AS_SHORT].Status, STATUS_FLT_INVALID_NAME_REQUEST, "flt_n_02_no_short_name_before_the_create");
    OK(Told(&After[AS_OPENED], L"\\PROGRA~1\\ALONGN~1.TEX"), "nt_nam_21_a_handle_shows_the_names_that_it_was_opened_by");
    OK(Told(&After[AS_NORMALIZED], LONG_NAME), "flt_n_06_and_after_it");
    EQ(After[AS_SHORT].Length, sizeof(L"ALONGN~1.TEX") - sizeof(WCHAR), "flt_n_01_a_short_name_is_one_component");
    EQ(RtlCompareMemory(After[AS_SHORT].Text, L"ALONGN~1.TEX", After[AS_SHORT].Length), After[AS_SHORT].Length, "flt_n_01_the_short_name_after_the_create");
    OK(NT_SUCCESS(After[AS_TUNNELED].Status) && After[AS_TUNNELED].Length == 0, "flt_n_06_nothing_was_tunneled");
    OK(IsShort(handle, L"ALONGN~1.TEX"), "nt_nam_21_the_alternate_name");
    ZwClose(handle);
    Looking = TRUE;
    Open(&handle, L"\\??\\C:\\plain.txt", GENERIC_READ, FILE_OPEN_IF, 0);
    Looking = FALSE;
    ST(After[AS_SHORT].Status, STATUS_OBJECT_NAME_NOT_FOUND, "nt_nam_21_a_short_name_has_no_other");
    OK(IsShort(handle, NULL), "nt_nam_21_nor_an_alternate_one");
    ZwClose(handle);
}

static VOID Tunneled(VOID)
{
    static DECLSPEC_ALIGN(8) UCHAR buffer[128];
    static const WCHAR target[] = L"\\??\\C:\\PROGRA~1\\ALONGN~1.TEX";
    PFILE_RENAME_INFORMATION rename = (PFILE_RENAME_INFORMATION)buffer;
    IO_STATUS_BLOCK iosb;
    HANDLE handle;
    Delete(L"\\??\\C:\\PROGRA~1\\ALONGN~1.TEX");
    Looking = TRUE;
    ST(Open(&handle, L"\\??\\C:\\PROGRA~1\\ALONGN~1.TEX", GENERIC_READ, FILE_CREATE, 0), STATUS_SUCCESS, "nt_ren_37_and_is_made_again_by_its_short_name");
    Looking = FALSE;
    OK(Told(&Before[AS_NORMALIZED], L"\\Program Files\\ALONGN~1.TEX"), "flt_n_06_nobody_knows_before_the_create");
    OK(Told(&After[AS_TUNNELED], LONG_NAME), "flt_n_06_the_tunneled_name_is_found_after_it");
    OK(Told(&After[AS_NORMALIZED], LONG_NAME) && IsShort(handle, L"ALONGN~1.TEX"), "nt_ren_37_long_and_short_name_are_together_again");
    ZwClose(handle);
    Make(DIRECTORY L"\\another long name", 0);
    Open(&handle, L"\\??\\C:\\PROGRA~1\\ANOTHE~1", DELETE, FILE_OPEN, 0);
    RtlZeroMemory(buffer, sizeof buffer);
    rename->ReplaceIfExists = TRUE;
    rename->FileNameLength = sizeof target - sizeof(WCHAR);
    RtlCopyMemory(rename->FileName, target, rename->FileNameLength);
    Looking = TRUE;
    ST(ZwSetInformationFile(handle, &iosb, buffer, sizeof buffer, FileRenameInformation), STATUS_SUCCESS, "nt_nam_21_a_rename_finds_its_target_by_the_short_name");
    Looking = FALSE;
    OK(Told(&Destination, LONG_NAME), "flt_n_06_a_destination_is_normalized_too");
    OK(IsShort(handle, NULL), "nt_nam_21_and_has_the_name_that_was_asked_for");
    ZwClose(handle);
    Delete(L"\\??\\C:\\PROGRA~1\\ALONGN~1.TEX");
}

static VOID Client(VOID)
{
    static DECLSPEC_ALIGN(8) UCHAR buffer[512];
    PFILE_BOTH_DIR_INFORMATION entry = (PFILE_BOTH_DIR_INFORMATION)buffer;
    IO_STATUS_BLOCK iosb;
    UNICODE_STRING pattern;
    HANDLE directory, handle, other;
    Make(DIRECTORY L"\\Some name 1", 0);
    Make(DIRECTORY L"\\Some name 2", 0);
    ST(Open(&directory, L"\\??\\C:\\PROGRA~1", FILE_LIST_DIRECTORY, FILE_OPEN, FILE_DIRECTORY_FILE), STATUS_SUCCESS, "nt_nam_21_a_directory_too");
    RtlInitUnicodeString(&pattern, L"somena~2");
    ST(ZwQueryDirectoryFile(directory, NULL, NULL, NULL, &iosb, buffer, sizeof buffer, FileBothDirectoryInformation, FALSE, &pattern, TRUE),
        STATUS_SUCCESS, "nt_dir_23_a_pattern_that_is_a_short_name");
    OK(entry->NextEntryOffset == 0 && entry->FileNameLength == 2 * UNITS(L"Some name 2")
            && RtlCompareMemory(entry->FileName, L"Some name 2", entry->FileNameLength) == entry->FileNameLength,
        "nt_dir_23_finds_the_entry_by_its_long_name");
    OK(entry->ShortNameLength == 2 * UNITS(L"SOMENA~2") && RtlCompareMemory(entry->ShortName, L"SOMENA~2", 16) == 16, "nt_dir_23_with_its_short_one");
    ZwClose(directory);
    Open(&handle, DIRECTORY L"\\Some name 2", DELETE | FILE_WRITE_ATTRIBUTES, FILE_OPEN, 0);
    ST(SetShort(handle, L"too.long"), STATUS_INVALID_PARAMETER, "nt_nam_26_what_is_no_short_name");
    ST(SetShort(handle, L"SOMENA~1"), STATUS_OBJECT_NAME_COLLISION, "nt_nam_26_what_another_has");
    ST(SetShort(handle, L"alias.x"), STATUS_SUCCESS, "nt_nam_26_a_short_name_is_set");
    OK(IsShort(handle, L"ALIAS.X"), "nt_nam_26_in_upper_case");
    ST(Open(&other, L"\\??\\C:\\PROGRA~1\\Alias.X", FILE_READ_ATTRIBUTES, FILE_OPEN, 0), STATUS_SUCCESS, "nt_nam_26_and_found_by");
    if (other) ZwClose(other);
    ST(SetShort(handle, L""), STATUS_SUCCESS, "nt_nam_26_and_taken_away");
    OK(IsShort(handle, NULL), "nt_nam_26_so_that_there_is_none");
    ZwClose(handle);
}

static VOID Routines(VOID)
{
    static const struct { PCWSTR Long, Shorts[2]; } names[] = {
        { L"TextFile1.Mine.txt", { L"TEXTFI~1.TXT", L"TEXTFI~2.TXT" } },
        { L"ver +1.2.text", { L"VER_12~1.TEX", L"VER_12~2.TEX" } },
        { L".gitmodules", { L"GITMOD~1", L"GITMOD~2" } },
    };
    GENERATE_NAME_CONTEXT context;
    WCHAR text[12];
    CHAR oem_text[12];
    UNICODE_STRING name, expected, made = { 0, sizeof text, text };
    OEM_STRING oem = { 0, sizeof oem_text, oem_text };
    BOOLEAN spaces = 2;
    ULONG i, j;
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        RtlZeroMemory(&context, sizeof context);
        RtlInitUnicodeString(&name, names[i].Long);
        for (j = 0; j < 2; j++) {
            RtlInitUnicodeString(&expected, names[i].Shorts[j]);
            ST(RtlGenerate8dot3Name(&name, FALSE, &context, &made), STATUS_SUCCESS, "nt_nam_21_a_short_name_is_generated");
            OK(RtlEqualUnicodeString(&made, &expected, FALSE), "nt_nam_21_as_the_articles_say");
        }
        EQ(context.LastIndexValue, 2, "nt_nam_21_the_context_counts");
        OK(!RtlIsNameLegalDOS8Dot3(&name, &oem, &spaces) && spaces == 2, "nt_nam_21_a_long_name_is_not_legal");
        OK(RtlIsNameLegalDOS8Dot3(&made, &oem, NULL), "nt_nam_21_a_generated_one_is");
    }
    RtlInitUnicodeString(&name, L"a b.txt");
    OK(RtlIsNameLegalDOS8Dot3(&name, &oem, &spaces) && spaces == TRUE, "nt_nam_21_a_space_is_told");
    OK(oem.Length == 7 && RtlCompareMemory(oem_text, "A B.TXT", 7) == 7, "nt_nam_21_with_the_oem_string");
}

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, PostCreate, NULL },
    { IRP_MJ_SET_INFORMATION, 0, PreSetInformation, NULL, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .OperationRegistration = Operations,
    .FilterUnloadCallback = Unload,
};

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    Routines();
    Make(DIRECTORY, FILE_DIRECTORY_FILE);
    Make(DIRECTORY L"\\A long name.text", 0);
    status = StartFilter(DriverObject, &Registration, "flt_r_01_it_registers");
    if (!NT_SUCCESS(status)) return status;
    Filtered();
    Tunneled();
    Client();
    return STATUS_SUCCESS;
}
