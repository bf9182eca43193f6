/*
 * t_oplock: oplocks. As a file system: a device with one made-up stream and the FsRtl oplock package. As a minifilter: a stream
 * of a volume whose oplocks the filter keeps itself, so that the volume never hears of them. As a client: a volume's own.
 */
#include <fltKernel.h>
#include <ntstrsafe.h>
#include "t_filter.h"
#define T_DEVICE L"TOplock"
#include "t_device.h"

DRIVER_INITIALIZE DriverEntry;

/* Of ntoskrnl.exe, but in no header that drivers get. */
NTSTATUS NTAPI ZwCancelIoFile(HANDLE File, PIO_STATUS_BLOCK Iosb);

#define RESET(iosb) ((iosb).Status = 0x55555555, (iosb).Information = 0x55)
#define WAITS(iosb) ((iosb).Status == 0x55555555)
#define R OPLOCK_LEVEL_CACHE_READ
#define H OPLOCK_LEVEL_CACHE_HANDLE
#define W OPLOCK_LEVEL_CACHE_WRITE

/* The made-up stream. */
static FSRTL_ADVANCED_FCB_HEADER Header;
static OPLOCK Oplock;
static ULONG Opens, OpenFlags, Posted, Ended;
static NTSTATUS Checked;
static BOOLEAN Shared, Reserves;
static enum { BY_CHECK, BY_NONE, BY_HANDLE } Way;
static PFILE_OBJECT Files[2];

static VOID NTAPI PrePost(PVOID Context, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Irp);
    if (Context == &Oplock) Posted++;
}

static VOID NTAPI Over(PVOID Context, PIRP Irp)
{
    if (Context == &Oplock) Ended++;
    if (NT_SUCCESS(Irp->IoStatus.Status)) Irp->IoStatus.Information = 4;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
}

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status = STATUS_SUCCESS;
    ULONG_PTR information = 0;
    UNREFERENCED_PARAMETER(DeviceObject);
    switch (stack->MajorFunction) {
    case IRP_MJ_CREATE:
        stack->FileObject->FsContext = &Header;
        status = Checked = Reserves ? FsRtlOplockFsctrl(&Oplock, Irp, Opens) : FsRtlCheckOplock(&Oplock, Irp, NULL, NULL, NULL);
        if (NT_SUCCESS(status) && Opens < 2) Files[Opens++] = stack->FileObject;
        information = FILE_OPENED;
        break;
    case IRP_MJ_CLEANUP:
        status = FsRtlCheckOplock(&Oplock, Irp, NULL, NULL, NULL);
        Opens--;
        break;
    case IRP_MJ_FILE_SYSTEM_CONTROL:
        if (stack->Parameters.FileSystemControl.FsControlCode != FSCTL_SET_ZERO_DATA) {
            Shared = FsRtlOplockIsSharedRequest(Irp);
            return FsRtlOplockFsctrl(&Oplock, Irp, Shared ? 0 : OpenFlags ? OpenFlags : 1);
        }
        __attribute__((fallthrough));
    case IRP_MJ_READ:
    case IRP_MJ_WRITE:
    case IRP_MJ_LOCK_CONTROL:
    case IRP_MJ_FLUSH_BUFFERS:
        status = Way == BY_NONE ? FsRtlOplockBreakToNone(&Oplock, stack, Irp, &Oplock, Over, PrePost)
            : Way == BY_HANDLE ? FsRtlOplockBreakH(&Oplock, Irp, 0, &Oplock, Over, PrePost)
                               : FsRtlCheckOplock(&Oplock, Irp, &Oplock, Over, PrePost);
        Checked = status;
        if (status == STATUS_PENDING) return status;
        information = 4;
        break;
    case IRP_MJ_SET_INFORMATION:
        /* Its caller waits: the answer tells whether it would. */
        Checked = FsRtlCheckOplockEx(&Oplock, Irp, OPLOCK_FLAG_COMPLETE_IF_OPLOCKED, NULL, NULL, NULL);
        break;
    default:
        break;
    }
    return Complete(Irp, status, information);
}

/* What the last create told its caller. */
static IO_STATUS_BLOCK Told;

static NTSTATUS OpenAs(PHANDLE Handle, PCWSTR Name, ULONG Access, ULONG Share, ULONG Disposition, ULONG Options)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    *Handle = NULL;
    RESET(Told);
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    return ZwCreateFile(Handle, Access | SYNCHRONIZE, &attributes, &Told, NULL, 0, Share, Disposition, Options, NULL, 0);
}

#define SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

static HANDLE Open(PCWSTR Name, ULONG Access)
{
    HANDLE handle;
    OpenAs(&handle, Name, Access, SHARE_ALL, FILE_OPEN_IF, 0);
    return handle;
}

typedef struct {
    IO_STATUS_BLOCK Iosb;
    REQUEST_OPLOCK_OUTPUT_BUFFER Out;
} REQUEST;

static NTSTATUS Control(HANDLE Handle, REQUEST *Request, ULONG Code)
{
    RESET(Request->Iosb);
    return ZwFsControlFile(Handle, NULL, NULL, NULL, &Request->Iosb, Code, NULL, 0, NULL, 0);
}

static NTSTATUS Level(HANDLE Handle, REQUEST *Request, ULONG Levels, ULONG Flags)
{
    REQUEST_OPLOCK_INPUT_BUFFER in = { REQUEST_OPLOCK_CURRENT_VERSION, sizeof in, Levels, Flags };
    RESET(Request->Iosb);
    RtlZeroMemory(&Request->Out, sizeof Request->Out);
    return ZwFsControlFile(Handle, NULL, NULL, NULL, &Request->Iosb, FSCTL_REQUEST_OPLOCK, &in, sizeof in, &Request->Out, sizeof Request->Out);
}

/* A kind is a control's code, or a sum of levels. */
static NTSTATUS Ask(HANDLE Handle, REQUEST *Request, ULONG Kind)
{
    return Kind < 8 ? Level(Handle, Request, Kind, REQUEST_OPLOCK_INPUT_FLAG_REQUEST) : Control(Handle, Request, Kind);
}

static NTSTATUS Transfer(HANDLE Handle, PIO_STATUS_BLOCK Iosb, BOOLEAN Write)
{
    static UCHAR data[4] = { 'd', 'a', 't', 'a' };
    LARGE_INTEGER zero = { .QuadPart = 0 };
    RESET(*Iosb);
    return Write ? ZwWriteFile(Handle, NULL, NULL, NULL, Iosb, data, 4, &zero, NULL)
                 : ZwReadFile(Handle, NULL, NULL, NULL, Iosb, data, 4, &zero, NULL);
}

enum { READ, WRITE, ZERO, LOCK, FLUSH, END, SIZE, NAME, GONE, OPEN, LOOK, OVER, OPERATIONS };

/* Does it; what the package said is in Checked. */
static VOID Operate(HANDLE Handle, ULONG Operation, PIO_STATUS_BLOCK Iosb)
{
    static const ULONG classes[] = { [END] = FileEndOfFileInformation, [SIZE] = FileAllocationInformation, [NAME] = FileRenameInformation,
        [GONE] = FileDispositionInformation };
    static DECLSPEC_ALIGN(8) UCHAR buffer[32];
    LARGE_INTEGER zero = { .QuadPart = 0 }, four = { .QuadPart = 4 };
    HANDLE other;
    RESET(*Iosb);
    Checked = STATUS_SUCCESS;
    switch (Operation) {
    case READ:
    case WRITE:
        Transfer(Handle, Iosb, Operation == WRITE);
        break;
    case ZERO:
        ZwFsControlFile(Handle, NULL, NULL, NULL, Iosb, FSCTL_SET_ZERO_DATA, buffer, 16, NULL, 0);
        break;
    case LOCK:
        ZwLockFile(Handle, NULL, NULL, NULL, Iosb, &zero, &four, 0, TRUE, TRUE);
        break;
    case FLUSH:
        ZwFlushBuffersFile(Handle, Iosb);
        break;
    case OPEN:
    case LOOK:
    case OVER:
        OpenAs(&other, L"\\Device\\TOplock\\s", Operation == LOOK ? FILE_READ_ATTRIBUTES : GENERIC_WRITE, SHARE_ALL,
            Operation == OVER ? FILE_OVERWRITE : FILE_OPEN, FILE_COMPLETE_IF_OPLOCKED);
        if (other) ZwClose(other);
        break;
    default:
        RtlZeroMemory(buffer, sizeof buffer);
        if (Operation == NAME) {
            PFILE_RENAME_INFORMATION rename = (PFILE_RENAME_INFORMATION)buffer;
            rename->FileNameLength = sizeof(WCHAR);
            rename->FileName[0] = L'n';
        } else {
            buffer[0] = 1;
        }
        ZwSetInformationFile(Handle, Iosb, buffer, Operation == GONE ? 1 : Operation == NAME ? 24 : 8, (FILE_INFORMATION_CLASS)classes[Operation]);
        break;
    }
}

/* What each operation of another file object leaves of each kind; a capital that it waits. '.': untouched, 'n': none. */
enum { KEPT, NONE_, NONE_WAITS, TWO_WAITS, R_WAITS, RH_WAITS, RW_WAITS };
#define n NONE_
#define N NONE_WAITS
static const struct {
    ULONG Kind;
    UCHAR Left[OPERATIONS];
} Table[] = {
    /* kind                          read       write zero lock flush end size name      gone      open       look over */
    { FSCTL_REQUEST_OPLOCK_LEVEL_1, { TWO_WAITS, N,    N,   N,   KEPT, N,  N,   KEPT,     KEPT,     TWO_WAITS, KEPT, N } },
    { FSCTL_REQUEST_OPLOCK_LEVEL_2, { KEPT,      n,    n,   n,   KEPT, n,  n,   KEPT,     KEPT,     KEPT,      KEPT, n } },
    { FSCTL_REQUEST_BATCH_OPLOCK,   { TWO_WAITS, N,    N,   N,   KEPT, N,  N,   N,        KEPT,     TWO_WAITS, KEPT, N } },
    { FSCTL_REQUEST_FILTER_OPLOCK,  { KEPT,      N,    N,   KEPT,KEPT, N,  N,   N,        KEPT,     N,         KEPT, N } },
    { R,                            { KEPT,      n,    n,   n,   KEPT, n,  n,   KEPT,     KEPT,     KEPT,      KEPT, n } },
    { R | H,                        { KEPT,      n,    n,   n,   KEPT, n,  n,   R_WAITS,  R_WAITS,  KEPT,      KEPT, n } },
    { R | W,                        { R_WAITS,   N,    N,   N,   KEPT, N,  N,   KEPT,     KEPT,     R_WAITS,   KEPT, N } },
    { R | W | H,                    { RH_WAITS,  N,    N,   N,   KEPT, N,  N,   RW_WAITS, RW_WAITS, RH_WAITS,  KEPT, N } },
};
#undef n
#undef N

static ULONG LevelOf(UCHAR Left)
{
    return Left == R_WAITS ? R : Left == RH_WAITS ? (R | H) : Left == RW_WAITS ? (R | W) : 0;
}

static VOID OneOf(ULONG Kind, ULONG Operation, UCHAR Left)
{
    REQUEST held;
    IO_STATUS_BLOCK iosb;
    HANDLE holder = Open(L"\\Device\\TOplock\\s", FILE_READ_ATTRIBUTES), other = Open(L"\\Device\\TOplock\\s", GENERIC_READ | GENERIC_WRITE);
    BOOLEAN waits = Left >= NONE_WAITS, pended = Operation <= LOCK, acknowledges;
    ULONG information, posted, ended;
    CHAR name[64];
    static const CHAR operations[OPERATIONS][6] = { "read", "write", "zero", "lock", "flush", "end", "size", "name", "gone", "open", "look", "over" };
    RtlStringCbPrintfA(name, sizeof name, "nt_opl_10_%s_of_kind_%x", operations[Operation], Kind);
    ST(Ask(holder, &held, Kind), STATUS_PENDING, name);
    posted = Posted;
    ended = Ended;
    Operate(other, Operation, &iosb);
    if (Left == KEPT) {
        OK(WAITS(held.Iosb), name);
    } else if (Kind < 8) {
        acknowledges = Kind != R;
        OK(held.Iosb.Status == STATUS_SUCCESS && held.Iosb.Information == 0x18 && held.Out.StructureVersion == 1 && held.Out.StructureLength == 0x18, name);
        OK(held.Out.OriginalOplockLevel == Kind && held.Out.NewOplockLevel == LevelOf(Left) &&
               held.Out.Flags == (ULONG)(acknowledges ? REQUEST_OPLOCK_OUTPUT_FLAG_ACK_REQUIRED : 0),
            name);
    } else {
        information = Left == TWO_WAITS ? FILE_OPLOCK_BROKEN_TO_LEVEL_2 : FILE_OPLOCK_BROKEN_TO_NONE;
        OK(held.Iosb.Status == STATUS_SUCCESS && held.Iosb.Information == information, name);
    }
    ST(Checked, !waits ? STATUS_SUCCESS : pended ? STATUS_PENDING : STATUS_OPLOCK_BREAK_IN_PROGRESS, name);
    EQ(Posted - posted, waits && pended, name);
    if (waits && pended) OK(WAITS(iosb) && Ended == ended, name);
    ZwClose(holder);
    if (pended) {
        OK(iosb.Status == STATUS_SUCCESS && iosb.Information == 4, name);
        EQ(Ended - ended, waits, name);
    }
    ZwClose(other);
}

/* Same file object; the questions; the ways to break; cancels; what creates ask. */
static VOID FileSystem(VOID)
{
    REQUEST held, second;
    IO_STATUS_BLOCK iosb;
    HANDLE holder, other;
    ULONG i, j;
    for (i = 0; i < RTL_NUMBER_OF(Table); i++)
        for (j = 0; j < OPERATIONS; j++) OneOf(Table[i].Kind, j, Table[i].Left[j]);
    for (i = 0; i < RTL_NUMBER_OF(Table); i++) {
        holder = Open(L"\\Device\\TOplock\\s", GENERIC_READ | GENERIC_WRITE);
        ST(Ask(holder, &held, Table[i].Kind), STATUS_PENDING, "nt_opl_10_an_owner");
        Operate(holder, READ, &iosb);
        Operate(holder, NAME, &iosb);
        OK(WAITS(held.Iosb), "nt_opl_10_does_not_break_its_own");
        Operate(holder, WRITE, &iosb);
        EQ(!WAITS(held.Iosb), Table[i].Kind == FSCTL_REQUEST_OPLOCK_LEVEL_2, "nt_opl_10_but_for_level_2");
        OK(iosb.Status == STATUS_SUCCESS, "nt_opl_10_and_does_not_wait");
        ZwClose(holder);
    }
    holder = Open(L"\\Device\\TOplock\\s", GENERIC_READ | GENERIC_WRITE);
    other = Open(L"\\Device\\TOplock\\s", GENERIC_READ | GENERIC_WRITE);
    OK(!FsRtlCurrentOplock(&Oplock) && FsRtlOplockIsFastIoPossible(&Oplock), "nt_opl_12_without_an_oplock");
    ST(Control(holder, &held, FSCTL_REQUEST_BATCH_OPLOCK), STATUS_PENDING, "nt_opl_01_batch");
    OK(FsRtlCurrentOplock(&Oplock) && FsRtlCurrentBatchOplock(&Oplock) && !FsRtlCurrentOplockH(&Oplock) && !Shared, "nt_opl_01_is_seen");
    OK(FsRtlOplockIsFastIoPossible(&Oplock), "nt_opl_12_its_holder_is_the_only_one");
    ST(Transfer(other, &iosb, FALSE), STATUS_PENDING, "nt_opl_10_a_read_waits");
    OK(!FsRtlOplockIsFastIoPossible(&Oplock), "nt_opl_12_not_while_it_breaks");
    ZwCancelIoFile(other, &second.Iosb);
    OK(iosb.Status == STATUS_CANCELLED, "nt_opl_11_who_waits_can_be_cancelled");
    ST(Control(other, &second, FSCTL_OPLOCK_BREAK_ACKNOWLEDGE), STATUS_INVALID_OPLOCK_PROTOCOL, "nt_opl_04_by_somebody_else");
    ST(Control(holder, &second, FSCTL_OPLOCK_BREAK_ACKNOWLEDGE), STATUS_PENDING, "nt_opl_09_level_2_is_kept");
    OK(!FsRtlOplockIsFastIoPossible(&Oplock), "nt_opl_12_not_with_level_2");
    ZwCancelIoFile(holder, &iosb);
    OK(second.Iosb.Status == STATUS_CANCELLED && !FsRtlCurrentOplock(&Oplock), "nt_opl_11_a_cancelled_request_is_gone");
    ST(Level(holder, &held, R | H, REQUEST_OPLOCK_INPUT_FLAG_REQUEST), STATUS_PENDING, "nt_opl_01_read_handle");
    OK(Shared && FsRtlCurrentOplockH(&Oplock) && !FsRtlCurrentBatchOplock(&Oplock), "nt_opl_01_a_shared_request");
    Way = BY_HANDLE;
    ST(Transfer(other, &iosb, FALSE), STATUS_PENDING, "nt_opl_12_breakh_waits");
    OK(held.Out.NewOplockLevel == R && WAITS(iosb), "nt_opl_12_and_leaves_read");
    ST(Level(holder, &second, R | H, REQUEST_OPLOCK_INPUT_FLAG_ACK), STATUS_INVALID_OPLOCK_PROTOCOL, "nt_opl_09_more_than_was_told");
    ST(Level(holder, &second, R, REQUEST_OPLOCK_INPUT_FLAG_ACK), STATUS_PENDING, "nt_opl_09_read_is_kept");
    OK(iosb.Status == STATUS_SUCCESS, "nt_opl_09_and_the_operation_goes_on");
    Way = BY_NONE;
    ST(Transfer(holder, &iosb, FALSE), STATUS_SUCCESS, "nt_opl_10_breaktonone_asks_nobody");
    OK(second.Out.NewOplockLevel == 0 && second.Iosb.Information == 0x18, "nt_opl_10_also_the_own");
    Way = BY_CHECK;
    OpenFlags = 2;
    ST(Control(holder, &held, FSCTL_REQUEST_OPLOCK_LEVEL_1), STATUS_OPLOCK_NOT_GRANTED, "nt_opl_03_two_opens");
    OpenFlags = 0;
    OK(FsRtlOplockKeysEqual(Files[0], Files[0]) && !FsRtlOplockKeysEqual(Files[0], Files[1]) && !FsRtlOplockKeysEqual(NULL, NULL),
        "nt_opl_14_without_keys_owners_are_file_objects");
    Reserves = TRUE;
    {
        HANDLE third;
        ST(Control(holder, &held, FSCTL_REQUEST_OPLOCK_LEVEL_1), STATUS_PENDING, "nt_opl_05_one_is_held");
        ST(OpenAs(&third, L"\\Device\\TOplock\\s", GENERIC_WRITE, SHARE_ALL, FILE_OPEN, FILE_OPEN_REQUIRING_OPLOCK), STATUS_CANNOT_BREAK_OPLOCK,
            "nt_opl_05_it_would_break");
        ST(OpenAs(&third, L"\\Device\\TOplock\\s", GENERIC_WRITE, SHARE_ALL, FILE_OPEN, FILE_RESERVE_OPFILTER), STATUS_OPLOCK_NOT_GRANTED,
            "nt_opl_05_a_filter_is_not_to_be_had");
        OK(WAITS(held.Iosb), "nt_opl_05_and_nothing_breaks");
    }
    Reserves = FALSE;
    FsRtlUninitializeOplock(&Oplock);
    OK(held.Iosb.Status == STATUS_SUCCESS && held.Iosb.Information == FILE_OPLOCK_BROKEN_TO_NONE, "nt_opl_11_its_end_ends_what_is_held");
    FsRtlInitializeOplock(&Oplock);
    ZwClose(other);
    ZwClose(holder);
}

/* The filter: oplocks of C:\filtered are its own. */
static OPLOCK Own;
static ULONG Prepared, Continued, Created;
static IO_STATUS_BLOCK Post;

static BOOLEAN IsOurs(PFILE_OBJECT FileObject)
{
    return FileObject && Ends(&FileObject->FileName, L"filtered");
}

static VOID FLTAPI BeforeWait(PFLT_CALLBACK_DATA Data, PVOID Context)
{
    UNREFERENCED_PARAMETER(Data);
    if (Context == &Own) Prepared++;
}

static VOID FLTAPI AfterWait(PFLT_CALLBACK_DATA Data, PVOID Context)
{
    if (Context == &Own) Continued++;
    FltCompletePendedPreOperation(Data, NT_SUCCESS(Data->IoStatus.Status) ? FLT_PREOP_SUCCESS_NO_CALLBACK : FLT_PREOP_COMPLETE, NULL);
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreOperation(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *CompletionContext)
{
    PFLT_IO_PARAMETER_BLOCK iopb = Data->Iopb;
    *CompletionContext = NULL;
    if (iopb->MajorFunction == IRP_MJ_CREATE) {
        if (!IsOurs(FltObjects->FileObject)) return FLT_PREOP_SUCCESS_WITH_CALLBACK;
        return FltCheckOplock(&Own, Data, NULL, NULL, NULL);
    }
    if (!IsOurs(FltObjects->FileObject)) return FLT_PREOP_SUCCESS_NO_CALLBACK;
    if (FLT_IS_FASTIO_OPERATION(Data))
        return FltOplockIsFastIoPossible(&Own) ? FLT_PREOP_SUCCESS_NO_CALLBACK : FLT_PREOP_DISALLOW_FASTIO;
    if (iopb->MajorFunction == IRP_MJ_FILE_SYSTEM_CONTROL)
        return FltOplockFsctrl(&Own, Data, FltOplockIsSharedRequest(Data) ? 0 : 1);
    return FltCheckOplock(&Own, Data, &Own, AfterWait, BeforeWait);
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID CompletionContext,
    FLT_POST_OPERATION_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(CompletionContext);
    UNREFERENCED_PARAMETER(Flags);
    Created++;
    Post = Data->IoStatus;
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    FltUninitializeOplock(&Own);
    FsRtlUninitializeOplock(&Oplock);
    RemoveDevice();
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreOperation, PostCreate, NULL },
    { IRP_MJ_READ, 0, PreOperation, NULL, NULL },
    { IRP_MJ_WRITE, 0, PreOperation, NULL, NULL },
    { IRP_MJ_CLEANUP, 0, PreOperation, NULL, NULL },
    { IRP_MJ_FILE_SYSTEM_CONTROL, 0, PreOperation, NULL, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .OperationRegistration = Operations,
    .FilterUnloadCallback = Unload,
};

static VOID Filtered(VOID)
{
    static REQUEST held, second;
    static IO_STATUS_BLOCK iosb, cancel;
    PCWSTR name = L"\\??\\C:\\filtered";
    HANDLE holder = Open(name, FILE_READ_ATTRIBUTES), other = Open(name, GENERIC_READ | GENERIC_WRITE);

    /* The volume, with two opens, would refuse. */
    ST(Control(holder, &held, FSCTL_REQUEST_OPLOCK_LEVEL_1), STATUS_PENDING, "nt_opl_06_granted_by_the_filter");
    OK(FltCurrentOplock(&Own) && !FltCurrentBatchOplock(&Own) && !FltCurrentOplockH(&Own), "nt_opl_06_and_seen");
    ST(Transfer(other, &iosb, TRUE), STATUS_PENDING, "nt_opl_06_a_write_is_pended");
    OK(held.Iosb.Status == STATUS_SUCCESS && held.Iosb.Information == FILE_OPLOCK_BROKEN_TO_NONE, "nt_opl_06_the_holder_is_told");
    OK(WAITS(iosb) && Prepared == 1 && Continued == 0, "nt_opl_06_the_filter_was_asked_to_prepare");
    ST(Control(other, &second, FSCTL_OPLOCK_BREAK_ACKNOWLEDGE), STATUS_INVALID_OPLOCK_PROTOCOL, "nt_opl_06_by_somebody_else");
    ST(Control(holder, &second, FSCTL_OPLOCK_BREAK_ACKNOWLEDGE), STATUS_SUCCESS, "nt_opl_06_acknowledged");
    EQ(Continued, 1, "nt_opl_06_the_write_goes_on");
    ZwWaitForSingleObject(other, FALSE, NULL);
    OK(iosb.Status == STATUS_SUCCESS && iosb.Information == 4, "nt_opl_06_to_its_end");

    ST(Level(holder, &held, R | H, REQUEST_OPLOCK_INPUT_FLAG_REQUEST), STATUS_PENDING, "nt_opl_06_read_handle");
    OK(FltCurrentOplockH(&Own) && !FltOplockIsFastIoPossible(&Own), "nt_opl_06_no_fast_io");
    Transfer(other, &iosb, FALSE);
    ZwWaitForSingleObject(other, FALSE, NULL);
    OK(iosb.Status == STATUS_SUCCESS && WAITS(held.Iosb), "nt_opl_06_a_read_breaks_nothing");
    Transfer(other, &iosb, TRUE);
    ZwWaitForSingleObject(other, FALSE, NULL);
    OK(iosb.Status == STATUS_SUCCESS && held.Iosb.Information == 0x18 && held.Out.OriginalOplockLevel == (R | H) && held.Out.NewOplockLevel == 0 &&
            held.Out.Flags == REQUEST_OPLOCK_OUTPUT_FLAG_ACK_REQUIRED,
        "nt_opl_06_a_write_does_and_goes_on");
    ST(Level(holder, &second, 0, REQUEST_OPLOCK_INPUT_FLAG_ACK), STATUS_SUCCESS, "nt_opl_06_let_go_of");

    ST(Level(holder, &held, R | W, REQUEST_OPLOCK_INPUT_FLAG_REQUEST), STATUS_PENDING, "nt_opl_06_read_write");
    ST(Transfer(other, &iosb, FALSE), STATUS_PENDING, "nt_opl_06_a_read_waits");
    ZwCancelIoFile(other, &cancel);
    OK(iosb.Status == STATUS_CANCELLED && Continued == 2, "nt_opl_06_until_it_is_cancelled");
    ST(Level(holder, &second, R, REQUEST_OPLOCK_INPUT_FLAG_ACK), STATUS_PENDING, "nt_opl_06_read_is_kept");
    ZwCancelIoFile(holder, &cancel);
    OK(second.Iosb.Status == STATUS_CANCELLED && !FltCurrentOplock(&Own), "nt_opl_06_a_cancelled_request");

    ST(Control(holder, &held, FSCTL_REQUEST_BATCH_OPLOCK), STATUS_PENDING, "nt_opl_06_batch");
    OK(FltCurrentBatchOplock(&Own), "nt_opl_06_is_batch");
    {
        HANDLE third;
        ST(OpenAs(&third, name, GENERIC_READ, SHARE_ALL, FILE_OPEN, FILE_COMPLETE_IF_OPLOCKED), STATUS_SUCCESS, "nt_opl_06_the_filter_lets_the_open_go_on");
        EQ(held.Iosb.Information, FILE_OPLOCK_BROKEN_TO_LEVEL_2, "nt_opl_06_and_breaks");
        ZwClose(third);
    }
    ST(Transfer(other, &iosb, FALSE), STATUS_PENDING, "nt_opl_06_a_read_waits_for_the_close");
    ZwClose(holder);
    EQ(Continued, 3, "nt_opl_06_which_is_the_acknowledgement");
    ZwWaitForSingleObject(other, FALSE, NULL);
    OK(iosb.Status == STATUS_SUCCESS, "nt_opl_06_and_goes_on");
    ZwClose(other);
}

/* A client of the volume, with the filter looking on. */
static VOID Client(VOID)
{
    static REQUEST held, second;
    PCWSTR name = L"\\??\\C:\\plain";
    HANDLE holder = Open(name, FILE_READ_ATTRIBUTES), other, alone;
    IO_STATUS_BLOCK iosb;

    ST(Control(holder, &held, FSCTL_REQUEST_OPLOCK_LEVEL_1), STATUS_PENDING, "nt_opl_01_a_volume_grants");
    Created = 0;
    ST(OpenAs(&other, name, GENERIC_READ | GENERIC_WRITE, SHARE_ALL, FILE_OPEN, FILE_COMPLETE_IF_OPLOCKED), STATUS_OPLOCK_BREAK_IN_PROGRESS,
        "nt_opl_07_the_open_did_not_wait");
    OK(Created == 1 && Post.Status == STATUS_OPLOCK_BREAK_IN_PROGRESS && NT_SUCCESS(Post.Status) && Post.Information == FILE_OPENED,
        "nt_opl_07_and_is_a_success_to_the_filter");
    EQ(held.Iosb.Information, FILE_OPLOCK_BROKEN_TO_LEVEL_2, "nt_opl_08_the_holder_is_told");
    ST(Transfer(other, &iosb, TRUE), STATUS_PENDING, "nt_l_12_a_write_waits");
    ST(Control(holder, &second, FSCTL_OPLOCK_BREAK_ACK_NO_2), STATUS_SUCCESS, "nt_opl_09_no_level_2");
    ZwWaitForSingleObject(other, FALSE, NULL);
    OK(iosb.Status == STATUS_SUCCESS && iosb.Information == 4, "nt_l_12_until_then");
    ZwClose(other);
    ZwClose(holder);

    ST(OpenAs(&alone, name, GENERIC_READ, 0, FILE_OPEN, 0), STATUS_SUCCESS, "nt_opl_05_an_open_that_shares_nothing");
    ST(OpenAs(&other, name, GENERIC_WRITE, SHARE_ALL, FILE_OPEN, 0), STATUS_SHARING_VIOLATION, "nt_opl_05_without_a_break");
    OK(WAITS(Told), "nt_opl_05_a_caller_is_told_nothing");
    ST(Control(alone, &held, FSCTL_REQUEST_BATCH_OPLOCK), STATUS_PENDING, "nt_opl_05_with_a_batch_oplock");
    ST(OpenAs(&other, name, GENERIC_READ, SHARE_ALL, FILE_OPEN, FILE_COMPLETE_IF_OPLOCKED), STATUS_SHARING_VIOLATION, "nt_opl_05_fails");
    OK(Post.Status == STATUS_SHARING_VIOLATION && Post.Information == FILE_OPBATCH_BREAK_UNDERWAY, "nt_opl_05_and_tells_of_the_break");
    OK(Told.Status == STATUS_SHARING_VIOLATION && Told.Information == FILE_OPBATCH_BREAK_UNDERWAY, "nt_opl_05_also_its_caller");
    EQ(held.Iosb.Information, FILE_OPLOCK_BROKEN_TO_LEVEL_2, "nt_opl_12_which_came_first");
    ZwClose(alone);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    ULONG i;
    UNREFERENCED_PARAMETER(RegistryPath);
    status = MakeDevice(DriverObject, Dispatch);
    if (!NT_SUCCESS(status)) return status;
    for (i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject->MajorFunction[i] = Dispatch;
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    FsRtlInitializeOplock(&Oplock);
    FltInitializeOplock(&Own);
    FileSystem();
    status = StartFilter(DriverObject, &Registration, "flt_r_01_it_registers");
    if (!NT_SUCCESS(status)) return status;
    Filtered();
    Client();
    return STATUS_SUCCESS;
}
