/*
 * t_stream: a filter that opens, lists, shares, renames and deletes named streams, and keeps a context on each stream and one on
 * each file. The checks are those of the rules NT-STR, NT-SHR-05, NT-REN-34, NT-DEL-31, FLT-C-15, FLT-N-05, FLT-W-45.
 */
#include "t_filter.h"

#define TAG 'rtsT'
#define SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
#define SYNC FILE_SYNCHRONOUS_IO_NONALERT
#define PATH(name) L"\\??\\C:\\" name

static volatile LONG NewStreams, NewFiles, Allocated, Freed, Parsed;
static WCHAR LastStream[64], LastAsked[64];
static ULONG LastStreamLength, LastAskedLength;

static NTSTATUS Relative(HANDLE Root, PCWSTR Name, ACCESS_MASK Access, ULONG Share, ULONG Disposition, ULONG Options, PHANDLE Handle)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, Root, NULL);
    *Handle = NULL;
    return ZwCreateFile(Handle, Access | SYNCHRONIZE, &attributes, &iosb, NULL, FILE_ATTRIBUTE_NORMAL, Share, Disposition, Options | SYNC, NULL, 0);
}

static NTSTATUS Open(PCWSTR Name, ACCESS_MASK Access, ULONG Share, ULONG Disposition, PHANDLE Handle)
{
    return Relative(NULL, Name, Access, Share, Disposition, 0, Handle);
}

/* Why a name cannot be opened so, if it cannot. */
static NTSTATUS Why(PCWSTR Name, ACCESS_MASK Access, ULONG Share, ULONG Disposition)
{
    HANDLE handle;
    NTSTATUS status = Open(Name, Access, Share, Disposition, &handle);
    if (handle != NULL) ZwClose(handle);
    return status;
}

static BOOLEAN Put(PCWSTR Name, PCSTR Text, ULONG Length)
{
    HANDLE handle;
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER offset;
    NTSTATUS status = Open(Name, FILE_WRITE_DATA, SHARE_ALL, FILE_OPEN_IF, &handle);
    offset.QuadPart = 0;
    if (!NT_SUCCESS(status)) return FALSE;
    status = ZwWriteFile(handle, NULL, NULL, NULL, &iosb, (PVOID)Text, Length, &offset, NULL);
    ZwClose(handle);
    return status == STATUS_SUCCESS && iosb.Information == Length;
}

static BOOLEAN Holds(PCWSTR Name, PCSTR Text, ULONG Length)
{
    CHAR buffer[64];
    HANDLE handle;
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER offset;
    NTSTATUS status = Open(Name, FILE_READ_DATA, SHARE_ALL, FILE_OPEN, &handle);
    offset.QuadPart = 0;
    if (!NT_SUCCESS(status)) return FALSE;
    status = ZwReadFile(handle, NULL, NULL, NULL, &iosb, buffer, sizeof(buffer), &offset, NULL);
    ZwClose(handle);
    if (Length == 0) return status == STATUS_END_OF_FILE;
    return status == STATUS_SUCCESS && iosb.Information == Length && RtlEqualMemory(buffer, Text, Length);
}

/* How many streams a file has; a name that is asked for must be among them with its size. */
static ULONG Streams(PCWSTR Name, PCWSTR Stream, LONGLONG Size, PCSTR Check)
{
    static UCHAR buffer[1024];
    HANDLE handle;
    IO_STATUS_BLOCK iosb;
    ULONG at = 0, count = 0;
    BOOLEAN found = FALSE;
    NTSTATUS status = Open(Name, FILE_READ_ATTRIBUTES, SHARE_ALL, FILE_OPEN, &handle);
    if (NT_SUCCESS(status)) status = ZwQueryInformationFile(handle, &iosb, buffer, sizeof(buffer), FileStreamInformation);
    if (handle != NULL) ZwClose(handle);
    ST(status, STATUS_SUCCESS, Check);
    if (!NT_SUCCESS(status) || iosb.Information == 0) return 0;
    for (;;) {
        PFILE_STREAM_INFORMATION entry = (PFILE_STREAM_INFORMATION)(buffer + at);
        UNICODE_STRING there, wanted;
        there.Buffer = entry->StreamName;
        there.Length = there.MaximumLength = (USHORT)entry->StreamNameLength;
        RtlInitUnicodeString(&wanted, Stream);
        count++;
        if (RtlEqualUnicodeString(&there, &wanted, FALSE) && entry->StreamSize.QuadPart == Size) found = TRUE;
        if (entry->NextEntryOffset == 0) break;
        at += entry->NextEntryOffset;
    }
    OK(found, Check);
    return count;
}

static NTSTATUS Rename(HANDLE Handle, PCWSTR Name, BOOLEAN Replace)
{
    static ULONGLONG buffer[32];
    PFILE_RENAME_INFORMATION information = (PFILE_RENAME_INFORMATION)buffer;
    IO_STATUS_BLOCK iosb;
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, Name);
    RtlZeroMemory(buffer, sizeof(buffer));
    information->ReplaceIfExists = Replace;
    information->FileNameLength = name.Length;
    RtlCopyMemory(information->FileName, name.Buffer, name.Length);
    return ZwSetInformationFile(Handle, &iosb, information, sizeof(buffer), FileRenameInformation);
}

static NTSTATUS Dispose(HANDLE Handle, BOOLEAN Delete)
{
    IO_STATUS_BLOCK iosb;
    FILE_DISPOSITION_INFORMATION information;
    information.DeleteFile = Delete;
    return ZwSetInformationFile(Handle, &iosb, &information, sizeof(information), FileDispositionInformation);
}

static LONGLONG EndOfFile(HANDLE Handle)
{
    IO_STATUS_BLOCK iosb;
    FILE_STANDARD_INFORMATION information;
    NTSTATUS status = ZwQueryInformationFile(Handle, &iosb, &information, sizeof(information), FileStandardInformation);
    return NT_SUCCESS(status) ? information.EndOfFile.QuadPart : -1;
}

static VOID Names(VOID)
{
    HANDLE file, stream;
    OK(Put(PATH(L"f"), "main", 4) && Put(PATH(L"f:s"), "stream", 6), "nt_str_04_a_stream_is_made_by_its_name");
    OK(Holds(PATH(L"f:s:$DATA"), "stream", 6) && Holds(PATH(L"F:S:$data"), "stream", 6), "nt_str_01_the_type_may_be_named");
    OK(Holds(PATH(L"f::$DATA"), "main", 4), "nt_str_01_the_unnamed_stream_is_the_file");
    ST(Why(PATH(L"f:"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN_IF), STATUS_OBJECT_NAME_INVALID, "nt_str_02_a_colon_alone_is_no_name");
    ST(Why(PATH(L"f:s:"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN_IF), STATUS_OBJECT_NAME_INVALID, "nt_str_02_an_empty_type_is_none");
    ST(Why(PATH(L"f:s:$UNKNOWN"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN_IF), STATUS_OBJECT_NAME_INVALID, "nt_str_02_an_unknown_type_is_none");
    ST(Why(PATH(L"f:s:$DATA:"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN_IF), STATUS_OBJECT_NAME_INVALID, "nt_str_02_nothing_follows_the_type");
    ST(Relative(NULL, PATH(L"d"), FILE_LIST_DIRECTORY, SHARE_ALL, FILE_CREATE, FILE_DIRECTORY_FILE, &file), STATUS_SUCCESS, "nt_str_03_a_directory");
    if (file != NULL) ZwClose(file);
    ST(Why(PATH(L"d::$INDEX_ALLOCATION"), FILE_LIST_DIRECTORY, SHARE_ALL, FILE_OPEN), STATUS_SUCCESS, "nt_str_03_its_names_are_its_index");
    ST(Why(PATH(L"d:$I30:$INDEX_ALLOCATION"), FILE_LIST_DIRECTORY, SHARE_ALL, FILE_OPEN), STATUS_SUCCESS, "nt_str_03_also_by_the_index_name");
    ST(Why(PATH(L"f::$INDEX_ALLOCATION"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_NOT_A_DIRECTORY, "nt_str_03_a_file_has_none");
    ST(Why(PATH(L"d::$DATA"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_FILE_IS_A_DIRECTORY, "nt_str_03_a_directory_has_no_unnamed_data");
    ST(Why(PATH(L"f:none"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_OBJECT_NAME_NOT_FOUND, "nt_str_05_to_open_makes_no_stream");
    ST(Why(PATH(L"g:s"), FILE_READ_DATA, SHARE_ALL, FILE_OVERWRITE), STATUS_OBJECT_NAME_NOT_FOUND, "nt_str_05_nor_a_file");
    OK(Put(PATH(L"d:s"), "of d", 4) && Holds(PATH(L"d:s"), "of d", 4), "nt_str_06_a_directory_has_streams");
    ST(Relative(NULL, PATH(L"d:s"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN, FILE_DIRECTORY_FILE, &file), STATUS_NOT_A_DIRECTORY, "nt_str_06_which_are_data");
    ST(Why(PATH(L"f:s\\x"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_OBJECT_NAME_INVALID, "nt_str_07_a_stream_is_no_directory");
    ST(Open(PATH(L"f"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN, &file), STATUS_SUCCESS, "nt_str_16_a_file");
    ST(Relative(file, L":s", FILE_READ_DATA, SHARE_ALL, FILE_OPEN, 0, &stream), STATUS_SUCCESS, "nt_str_16_its_stream_by_a_relative_name");
    EQ(EndOfFile(stream), 6, "nt_str_13_a_handle_shows_the_size_of_its_stream");
    EQ(EndOfFile(file), 4, "nt_str_13_and_the_file_its_own");
    ZwClose(stream);
    ZwClose(file);
    EQ(Streams(PATH(L"f"), L":s:$DATA", 6, "nt_str_11_streams_are_listed"), 2, "nt_str_11_all_of_them");
    EQ(Streams(PATH(L"d"), L":s:$DATA", 4, "nt_str_11_those_of_a_directory"), 1, "nt_str_11_which_has_no_unnamed_one");
    OK(Put(PATH(L"f:\x01<>*?|\""), "odd", 3), "nt_str_17_a_stream_may_have_nearly_any_name");
    EQ(Streams(PATH(L"f"), L":\x01<>*?|\":$DATA", 3, "nt_str_17_and_shows_it"), 3, "nt_str_17_three_streams");
}

static VOID Sharing(VOID)
{
    HANDLE file, stream;
    ST(Open(PATH(L"f"), FILE_READ_DATA | FILE_WRITE_DATA, 0, FILE_OPEN, &file), STATUS_SUCCESS, "nt_str_08_the_file_alone");
    ST(Open(PATH(L"f:s"), FILE_READ_DATA | FILE_WRITE_DATA, 0, FILE_OPEN, &stream), STATUS_SUCCESS, "nt_str_08_share_modes_are_each_streams");
    ST(Why(PATH(L"f:s"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_SHARING_VIOLATION, "nt_str_08_which_has_them_too");
    ZwClose(stream);
    ZwClose(file);
    ST(Open(PATH(L"f"), DELETE, 0, FILE_OPEN, &file), STATUS_SUCCESS, "nt_shr_05_a_file_to_delete");
    ST(Why(PATH(L"f:s"), FILE_READ_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_OPEN), STATUS_SHARING_VIOLATION, "nt_shr_05_its_streams_must_share_that");
    ST(Why(PATH(L"f:s"), FILE_READ_DATA, FILE_SHARE_DELETE, FILE_OPEN), STATUS_SUCCESS, "nt_shr_05_and_may_then_be_opened");
    ZwClose(file);
    ST(Open(PATH(L"f:s"), DELETE, 0, FILE_OPEN, &stream), STATUS_SUCCESS, "nt_shr_05_a_stream_to_delete");
    ST(Why(PATH(L"f"), FILE_READ_DATA, 0, FILE_OPEN), STATUS_SUCCESS, "nt_shr_05_hinders_no_data_of_the_file");
    ZwClose(stream);
    ST(Open(PATH(L"f:s"), FILE_READ_DATA, FILE_SHARE_READ, FILE_OPEN, &stream), STATUS_SUCCESS, "nt_shr_05_a_stream_that_does_not_share_delete");
    ST(Why(PATH(L"f"), DELETE, SHARE_ALL, FILE_OPEN), STATUS_SHARING_VIOLATION, "nt_shr_05_keeps_the_file");
    ZwClose(stream);
    ST(Open(PATH(L"f:s"), FILE_READ_DATA, FILE_SHARE_DELETE, FILE_OPEN, &stream), STATUS_SUCCESS, "nt_shr_05_one_that_does");
    ST(Why(PATH(L"f"), DELETE, 0, FILE_OPEN), STATUS_SUCCESS, "nt_shr_05_does_not");
    ZwClose(stream);
}

static VOID Changes(VOID)
{
    HANDLE file, stream;
    IO_STATUS_BLOCK iosb;
    FILE_END_OF_FILE_INFORMATION end;
    FILE_BASIC_INFORMATION basic;
    ST(Open(PATH(L"f:s"), FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES | FILE_READ_ATTRIBUTES, SHARE_ALL, FILE_OPEN, &stream), STATUS_SUCCESS, "nt_str_09_a_stream");
    end.EndOfFile.QuadPart = 5000;
    ST(ZwSetInformationFile(stream, &iosb, &end, sizeof(end), FileEndOfFileInformation), STATUS_SUCCESS, "nt_str_09_its_end_is_its_own");
    RtlZeroMemory(&basic, sizeof(basic));
    basic.FileAttributes = FILE_ATTRIBUTE_HIDDEN;
    ST(ZwSetInformationFile(stream, &iosb, &basic, sizeof(basic), FileBasicInformation), STATUS_SUCCESS, "nt_str_09_its_attributes_are_the_files");
    ST(Open(PATH(L"f"), FILE_READ_ATTRIBUTES, SHARE_ALL, FILE_OPEN, &file), STATUS_SUCCESS, "nt_str_09_the_file");
    EQ(EndOfFile(file), 4, "nt_str_09_whose_end_stays");
    ST(ZwQueryInformationFile(file, &iosb, &basic, sizeof(basic), FileBasicInformation), STATUS_SUCCESS, "nt_str_09_and_shows_the_attributes");
    OK(FlagOn(basic.FileAttributes, FILE_ATTRIBUTE_HIDDEN), "nt_str_09_that_were_set");
    basic.FileAttributes = FILE_ATTRIBUTE_NORMAL;
    ST(ZwSetInformationFile(stream, &iosb, &basic, sizeof(basic), FileBasicInformation), STATUS_SUCCESS, "nt_str_09_and_taken_off");
    ZwClose(file);
    ZwClose(stream);

    OK(Put(PATH(L"r"), "", 0) && Put(PATH(L"r:a"), "bytes", 5) && Put(PATH(L"r:full"), "x", 1), "nt_ren_34_a_file_with_streams");
    ST(Open(PATH(L"r:a"), DELETE, SHARE_ALL, FILE_OPEN, &stream), STATUS_SUCCESS, "nt_ren_34_a_stream_to_rename");
    ST(Rename(stream, L"b", FALSE), STATUS_INVALID_PARAMETER, "nt_ren_34_a_name_needs_a_colon");
    ST(Rename(stream, L":full", FALSE), STATUS_OBJECT_NAME_COLLISION, "nt_ren_34_a_name_is_taken");
    ST(Rename(stream, L":full", TRUE), STATUS_INVALID_PARAMETER, "nt_ren_34_only_an_empty_stream_is_replaced");
    ST(Rename(stream, L":b", FALSE), STATUS_SUCCESS, "nt_ren_34_it_is_renamed");
    ZwClose(stream);
    OK(Holds(PATH(L"r:b"), "bytes", 5), "nt_ren_34_and_has_its_bytes");

    ST(Open(PATH(L"r:b"), DELETE, SHARE_ALL, FILE_OPEN, &stream), STATUS_SUCCESS, "nt_str_14_a_stream_to_delete");
    ST(Dispose(stream, TRUE), STATUS_SUCCESS, "nt_str_14_it_is_marked");
    ST(Why(PATH(L"r:b"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_DELETE_PENDING, "nt_str_14_and_cannot_be_opened");
    ST(Why(PATH(L"r"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_SUCCESS, "nt_del_31_the_file_is_not_marked");
    ZwClose(stream);
    ST(Why(PATH(L"r:b"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_OBJECT_NAME_NOT_FOUND, "nt_str_14_it_is_gone");
    EQ(Streams(PATH(L"r"), L":full:$DATA", 1, "nt_str_14_the_rest_stays"), 2, "nt_str_14_all_of_it");

    ST(Open(PATH(L"r:full"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN, &stream), STATUS_SUCCESS, "nt_str_10_an_open_stream");
    ST(Why(PATH(L"r"), FILE_WRITE_DATA, SHARE_ALL, FILE_OVERWRITE), STATUS_SUCCESS, "nt_str_10_the_file_is_overwritten");
    ST(Why(PATH(L"r:full"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN_IF), STATUS_DELETE_PENDING, "nt_str_10_the_stream_is_to_go");
    ZwClose(stream);
    ST(Why(PATH(L"r:full"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_OBJECT_NAME_NOT_FOUND, "nt_str_10_with_its_last_handle");

    OK(Put(PATH(L"r:s"), "x", 1), "nt_str_15_a_stream_again");
    ST(Open(PATH(L"r"), DELETE, SHARE_ALL, FILE_OPEN, &file), STATUS_SUCCESS, "nt_str_15_a_file_to_delete");
    ST(Dispose(file, TRUE), STATUS_SUCCESS, "nt_str_15_it_is_marked");
    ST(Why(PATH(L"r:s"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_DELETE_PENDING, "nt_str_15_its_streams_cannot_be_opened");
    ZwClose(file);
    ST(Why(PATH(L"r:s"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN), STATUS_OBJECT_NAME_NOT_FOUND, "nt_str_15_all_is_gone");
}

/* A write of the filter's own to a stream. */
static VOID FilterWrite(VOID)
{
    HANDLE handle;
    PFILE_OBJECT object = NULL;
    LARGE_INTEGER offset;
    ULONG written = 0;
    offset.QuadPart = 2;
    ST(Open(PATH(L"w:s"), FILE_WRITE_DATA, SHARE_ALL, FILE_OPEN_IF, &handle), STATUS_SUCCESS, "flt_w_45_a_stream");
    ST(ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, (PVOID *)&object, NULL), STATUS_SUCCESS, "flt_w_45_its_file_object");
    ST(FltWriteFile(Instance, object, &offset, 3, "abc", 0, &written, NULL, NULL), STATUS_SUCCESS, "flt_w_45_is_written");
    EQ(written, 3, "flt_w_45_whole");
    EQ(EndOfFile(handle), 5, "flt_w_45_its_end_moves");
    ObDereferenceObject(object);
    ZwClose(handle);
    OK(Holds(PATH(L"w:s"), "\0\0abc", 5), "flt_w_45_it_has_the_bytes");
    OK(Holds(PATH(L"w"), "", 0), "flt_w_45_the_file_has_none");
}

/* To the volume itself a filter writes by the rules of any write (NT-S-16 to NT-S-18): it cannot ask for the direct one. */
static VOID VolumeWrite(VOID)
{
    static UCHAR sector[512];
    HANDLE handle;
    PFILE_OBJECT object = NULL;
    LARGE_INTEGER offset;
    ULONG written = 7;
    ST(Open(L"\\??\\C:", FILE_READ_DATA | FILE_WRITE_DATA, SHARE_ALL, FILE_OPEN, &handle), STATUS_SUCCESS, "flt_w_45_a_volume");
    ST(ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, (PVOID *)&object, NULL), STATUS_SUCCESS, "flt_w_45_its_file_object");
    offset.QuadPart = 15 * 512;
    ST(FltWriteFile(Instance, object, &offset, 512, sector, 0, &written, NULL, NULL), STATUS_SUCCESS, "flt_w_45_the_boot_area_is_written");
    EQ(written, 512, "flt_w_45_the_whole_sector");
    offset.QuadPart = 16 * 512;
    ST(FltWriteFile(Instance, object, &offset, 512, sector, 0, &written, NULL, NULL), STATUS_ACCESS_DENIED, "flt_w_45_the_rest_only_of_a_locked_volume");
    offset.QuadPart = 15 * 512 + 1;
    ST(FltWriteFile(Instance, object, &offset, 511, sector, 0, &written, NULL, NULL), STATUS_INVALID_PARAMETER, "flt_w_45_by_whole_sectors");
    offset.QuadPart = (LONGLONG)1 << 40;
    ST(FltWriteFile(Instance, object, &offset, 512, sector, 0, &written, NULL, NULL), STATUS_SUCCESS, "flt_w_45_past_its_end");
    EQ(written, 0, "flt_w_45_nothing");
    ObDereferenceObject(object);
    ZwClose(handle);
}

static VOID FLTAPI Cleaned(PFLT_CONTEXT Context, FLT_CONTEXT_TYPE Type)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Type);
    InterlockedIncrement(&Freed);
}

/* Sets a context where there is none, and counts those that were new. */
static VOID Mark(PCFLT_RELATED_OBJECTS FltObjects, FLT_CONTEXT_TYPE Type, volatile LONG *New)
{
    PFLT_CONTEXT context = NULL;
    NTSTATUS status = FltAllocateContext(Filter, Type, 16, NonPagedPool, &context);
    if (NT_SUCCESS(status)) {
        InterlockedIncrement(&Allocated);
        if (Type == FLT_STREAM_CONTEXT) status = FltSetStreamContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS, context, NULL);
        else status = FltSetFileContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS, context, NULL);
        FltReleaseContext(context);
    }
    if (status == STATUS_SUCCESS) InterlockedIncrement(New);
    else if (status != STATUS_FLT_CONTEXT_ALREADY_DEFINED) DbgPrint("not ok flt_c_15_a_context_is_set: type %x status %x\n", Type, status);
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context, FLT_POST_OPERATION_FLAGS Flags)
{
    PFLT_FILE_NAME_INFORMATION name = NULL;
    NTSTATUS status;
    UNREFERENCED_PARAMETER(Context);
    if (FlagOn(Flags, FLTFL_POST_OPERATION_DRAINING) || !NT_SUCCESS(Data->IoStatus.Status)) return FLT_POSTOP_FINISHED_PROCESSING;
    Mark(FltObjects, FLT_STREAM_CONTEXT, &NewStreams);
    Mark(FltObjects, FLT_FILE_CONTEXT, &NewFiles);
    status = FltGetFileNameInformation(Data, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name);
    if (NT_SUCCESS(status)) status = FltParseFileNameInformation(name);
    if (!NT_SUCCESS(status)) {
        DbgPrint("not ok flt_n_05_a_name_is_parsed: status %x\n", status);
    } else if (name->Stream.Length < sizeof(LastStream)) {
        InterlockedIncrement(&Parsed);
        LastStreamLength = name->Stream.Length;
        RtlCopyMemory(LastStream, name->Stream.Buffer, name->Stream.Length);
    }
    if (name != NULL) FltReleaseFileNameInformation(name);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

/* Before a create the name is what it asks for. */
static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    PFLT_FILE_NAME_INFORMATION name = NULL;
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    LastAskedLength = 0;
    if (!NT_SUCCESS(FltGetFileNameInformation(Data, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT, &name))) return FLT_PREOP_SUCCESS_WITH_CALLBACK;
    if (NT_SUCCESS(FltParseFileNameInformation(name)) && name->FinalComponent.Length < sizeof(LastAsked)) {
        LastAskedLength = name->FinalComponent.Length;
        RtlCopyMemory(LastAsked, name->FinalComponent.Buffer, name->FinalComponent.Length);
    }
    FltReleaseFileNameInformation(name);
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static BOOLEAN Same(PWCHAR Buffer, ULONG Length, PCWSTR Text)
{
    UNICODE_STRING there, text;
    there.Buffer = Buffer;
    there.Length = there.MaximumLength = (USHORT)Length;
    RtlInitUnicodeString(&text, Text);
    return RtlEqualUnicodeString(&there, &text, FALSE);
}

static BOOLEAN LastStreamIs(PCWSTR Text) { return Same(LastStream, LastStreamLength, Text); }
static BOOLEAN LastAskedIs(PCWSTR Text) { return Same(LastAsked, LastAskedLength, Text); }

static VOID Contexts(VOID)
{
    HANDLE file, stream, again;
    LONG streams = NewStreams, files = NewFiles;
    ST(Open(PATH(L"c"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN_IF, &file), STATUS_SUCCESS, "flt_c_15_a_file");
    OK(NewStreams == streams + 1 && NewFiles == files + 1, "flt_c_15_has_two_contexts");
    OK(LastStreamIs(L""), "flt_n_05_and_no_stream_in_its_name");
    ST(Open(PATH(L"c:one:$DATA"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN_IF, &stream), STATUS_SUCCESS, "flt_c_15_a_stream_of_it");
    OK(NewStreams == streams + 2 && NewFiles == files + 1, "flt_c_15_has_its_own_stream_context_and_the_files");
    OK(LastStreamIs(L":one"), "flt_n_05_its_name_ends_in_the_stream");
    ST(Open(PATH(L"C:ONE"), FILE_READ_DATA, SHARE_ALL, FILE_OPEN, &again), STATUS_SUCCESS, "flt_c_15_the_same_stream_again");
    OK(NewStreams == streams + 2 && NewFiles == files + 1, "flt_c_15_has_what_it_had");
    ZwClose(again);
    ZwClose(stream);
    ST(Relative(file, L":two", FILE_READ_DATA, SHARE_ALL, FILE_OPEN_IF, 0, &stream), STATUS_SUCCESS, "flt_c_15_another_stream");
    OK(NewStreams == streams + 3 && NewFiles == files + 1, "flt_c_15_has_one_more");
    OK(LastStreamIs(L":two"), "flt_n_05_also_by_a_relative_name");
    OK(LastAskedIs(L"c:two"), "flt_n_04_that_was_asked_for_before");
    ST(Relative(stream, L":one", FILE_READ_DATA, SHARE_ALL, FILE_OPEN, 0, &again), STATUS_SUCCESS, "flt_c_15_one_beside_another");
    OK(LastStreamIs(L":one"), "flt_n_05_also_beside_another_stream");
    OK(LastAskedIs(L"c:one"), "flt_n_04_that_was_asked_for_beside_it");
    ZwClose(again);
    ZwClose(stream);
    ZwClose(file);
}

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    EQ(Freed, Allocated, "flt_c_13_every_context_is_cleaned_up");
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, PostCreate, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};
static const FLT_CONTEXT_REGISTRATION ContextTypes[] = {
    { FLT_STREAM_CONTEXT, 0, Cleaned, 16, TAG, NULL, NULL, NULL },
    { FLT_FILE_CONTEXT, 0, Cleaned, 16, TAG, NULL, NULL, NULL },
    { FLT_CONTEXT_END, 0, NULL, 0, 0, NULL, NULL, NULL },
};
static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .ContextRegistration = ContextTypes,
    .OperationRegistration = Operations,
    .FilterUnloadCallback = Unload,
    .InstanceSetupCallback = FirstInstance,
};

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    status = StartFilter(DriverObject, &Registration, "flt_r_08_a_filter_with_contexts_registers");
    if (!NT_SUCCESS(status)) return status;
    Names();
    Sharing();
    Changes();
    FilterWrite();
    VolumeWrite();
    Contexts();
    OK(Parsed > 40, "flt_n_05_every_open_has_a_name");
    return status;
}
