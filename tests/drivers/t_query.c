/*
 * t_query: a minifilter that sees queries by fast I/O, of open files and of names, and as it is told passes them on, refuses them
 * or answers them; and a device above the volume with a fast I/O table of its own.
 */
#include "t_filter.h"
#include <ntifs.h>

#define SHARE (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
#define STAT_INFORMATION ((FILE_INFORMATION_CLASS)68)
#define STAT_LENGTH 72
/* What an answering filter says of every file. */
#define TOLD_TIME 0x01D00000DEADBEEFLL

static enum { PASS, REFUSE, WITHDRAW, ANSWER } Mode;

/* What was seen since the last look: {creates, packets of a query, fast queries, queries of a name, posts, refusals in posts}. */
static volatile LONG Creates, Packets, Fast, Names, Posts, Refused;
static FILE_INFORMATION_CLASS Class;
static ULONG Length;
static BOOLEAN Right;

static VOID Forget(VOID)
{
    Creates = Packets = Fast = Names = Posts = Refused = 0;
    Class = 0;
    Length = 0;
    Right = TRUE;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *CompletionContext)
{
    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(CompletionContext);
    InterlockedIncrement(&Creates);
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreQuery(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *CompletionContext)
{
    PFLT_PARAMETERS parameters = &Data->Iopb->Parameters;
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(CompletionContext);
    if (!FLT_IS_FASTIO_OPERATION(Data)) {
        InterlockedIncrement(&Packets);
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    }
    InterlockedIncrement(&Fast);
    Class = parameters->QueryFileInformation.FileInformationClass;
    Length = parameters->QueryFileInformation.Length;
    if (FLT_IS_IRP_OPERATION(Data) || FLT_IS_FS_FILTER_OPERATION(Data) || Data->Iopb->IrpFlags != 0) Right = FALSE;
    if (Mode == REFUSE) return FLT_PREOP_DISALLOW_FASTIO;
    if (Mode == ANSWER && Class == FileBasicInformation) {
        PFILE_BASIC_INFORMATION basic = parameters->QueryFileInformation.InfoBuffer;
        basic->CreationTime.QuadPart = TOLD_TIME;
        Data->IoStatus.Status = STATUS_SUCCESS;
        Data->IoStatus.Information = sizeof(*basic);
        return FLT_PREOP_COMPLETE;
    }
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreName(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *CompletionContext)
{
    PFLT_PARAMETERS parameters = &Data->Iopb->Parameters;
    BOOLEAN network = Data->Iopb->MajorFunction == IRP_MJ_NETWORK_QUERY_OPEN;
    PIRP irp = network ? parameters->NetworkQueryOpen.Irp : parameters->QueryOpen.Irp;
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(irp);
    PFLT_FILE_NAME_INFORMATION name;
    PFLT_CONTEXT context;
    UNREFERENCED_PARAMETER(CompletionContext);
    InterlockedIncrement(&Names);
    if (network ? !FLT_IS_FASTIO_OPERATION(Data) : !FLT_IS_FS_FILTER_OPERATION(Data)) Right = FALSE;
    if (FLT_IS_IRP_OPERATION(Data) || Data->Iopb->IrpFlags != 0) Right = FALSE;
    if (stack->MajorFunction != IRP_MJ_CREATE || stack->FileObject != FltObjects->FileObject) Right = FALSE;
    if (!network) {
        Class = parameters->QueryOpen.FileInformationClass;
        Length = *parameters->QueryOpen.Length;
    }
    /* The name is that of the create; a context has nothing to stand on. */
    if (!NT_SUCCESS(FltGetFileNameInformation(Data, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT, &name))) Right = FALSE;
    else {
        if (!Ends(&name->Name, L"query.txt")) Right = FALSE;
        FltReleaseFileNameInformation(name);
    }
    if (FltGetStreamContext(FltObjects->Instance, FltObjects->FileObject, &context) != STATUS_NOT_SUPPORTED) Right = FALSE;
    if (Mode == REFUSE) return network ? FLT_PREOP_DISALLOW_FASTIO : FLT_PREOP_DISALLOW_FSFILTER_IO;
    if (Mode == ANSWER) {
        PVOID buffer = network ? (PVOID)parameters->NetworkQueryOpen.NetworkInformation : parameters->QueryOpen.FileInformation;
        /* CreationTime stands first in the one, behind the file's id in the other. */
        *(PLONGLONG)((PUCHAR)buffer + (network ? 0 : 8)) = TOLD_TIME;
        Data->IoStatus.Status = STATUS_SUCCESS;
        Data->IoStatus.Information = network ? sizeof(FILE_NETWORK_OPEN_INFORMATION) : STAT_LENGTH;
        return FLT_PREOP_COMPLETE;
    }
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI Post(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID CompletionContext,
    FLT_POST_OPERATION_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(CompletionContext);
    UNREFERENCED_PARAMETER(Flags);
    InterlockedIncrement(&Posts);
    if (Data->IoStatus.Status == STATUS_FLT_DISALLOW_FAST_IO) InterlockedIncrement(&Refused);
    if (Mode == WITHDRAW && Data->Iopb->MajorFunction == IRP_MJ_QUERY_OPEN) return FLT_POSTOP_DISALLOW_FSFILTER_IO;
    return FLT_POSTOP_FINISHED_PROCESSING;
}

/* --- the device above --- */

static PDEVICE_OBJECT Above, Lower;
static volatile LONG AboveBasic, AboveOpen;
static FAST_IO_DISPATCH AboveFast;

static NTSTATUS NTAPI PassOn(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(Lower, Irp);
}

static BOOLEAN NTAPI AboveQueryBasic(PFILE_OBJECT FileObject, BOOLEAN Wait, PFILE_BASIC_INFORMATION Buffer, PIO_STATUS_BLOCK IoStatus,
    PDEVICE_OBJECT DeviceObject)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    InterlockedIncrement(&AboveBasic);
    return Lower->DriverObject->FastIoDispatch->FastIoQueryBasicInfo(FileObject, Wait, Buffer, IoStatus, Lower);
}

static BOOLEAN NTAPI AboveQueryOpen(PIRP Irp, PFILE_NETWORK_OPEN_INFORMATION Information, PDEVICE_OBJECT DeviceObject)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    BOOLEAN taken;
    InterlockedIncrement(&AboveOpen);
    if (stack->DeviceObject != DeviceObject) Right = FALSE;
    stack->DeviceObject = Lower;
    taken = Lower->DriverObject->FastIoDispatch->FastIoQueryOpen(Irp, Information, Lower);
    if (stack->DeviceObject != Lower) Right = FALSE;
    stack->DeviceObject = DeviceObject;
    return taken;
}

/* --- the checks --- */

static OBJECT_ATTRIBUTES Attributes;
static UNICODE_STRING Path = RTL_CONSTANT_STRING(L"\\??\\C:\\query.txt");
static IO_STATUS_BLOCK Iosb;
static UCHAR Out[STAT_LENGTH];

static LONGLONG Created(NTSTATUS Status, ULONG At)
{
    return NT_SUCCESS(Status) ? *(PLONGLONG)&Out[At] : -1;
}

/* A query of each kind is made; the time of creation that it tells. */
static LONGLONG Basic(HANDLE File)
{
    RtlZeroMemory(Out, sizeof(Out));
    return Created(ZwQueryInformationFile(File, &Iosb, Out, sizeof(FILE_BASIC_INFORMATION), FileBasicInformation), 0);
}
static LONGLONG Network(VOID)
{
    RtlZeroMemory(Out, sizeof(Out));
    return Created(ZwQueryFullAttributesFile(&Attributes, Out), 0);
}
static LONGLONG Stat(VOID)
{
    RtlZeroMemory(Out, sizeof(Out));
    return Created(ZwQueryInformationByName(&Attributes, &Iosb, Out, STAT_LENGTH, STAT_INFORMATION), 8);
}

static VOID Check(HANDLE File)
{
    FILE_STANDARD_INFORMATION standard;
    LONGLONG created;

    Mode = PASS;
    Forget();
    created = Basic(File);
    OK(created > 0 && Fast == 1 && Packets == 0 && Posts == 1 && Right, "nt_qry_25_a_compiled_filter_sees_the_fast_query");
    OK(Class == FileBasicInformation && Length == sizeof(FILE_BASIC_INFORMATION), "nt_qry_25_with_its_class_and_length");
    ST(ZwQueryInformationFile(File, &Iosb, &standard, sizeof(standard), FileStandardInformation), STATUS_SUCCESS, "nt_qry_25_standard");
    OK(Fast == 2 && Packets == 0 && Class == FileStandardInformation && standard.EndOfFile.QuadPart == 5, "nt_qry_25_standard_is_fast_too");
    ST(ZwQueryInformationFile(File, &Iosb, Out, sizeof(FILE_NETWORK_OPEN_INFORMATION), FileNetworkOpenInformation), STATUS_SUCCESS, "nt_qry_25_network_open");
    OK(Fast == 3 && Packets == 0 && Class == FileNetworkOpenInformation && Created(0, 0) == created, "nt_qry_25_network_open_is_fast_too");
    ST(ZwQueryInformationFile(File, &Iosb, Out, 8, FileInternalInformation), STATUS_SUCCESS, "nt_qry_25_internal");
    OK(Fast == 3 && Packets == 1, "nt_qry_25_other_classes_are_packets");

    Forget();
    OK(Network() == created && Names == 1 && Creates == 0 && Posts == 1 && Right, "nt_qry_25_a_query_of_a_name_is_network_query_open");
    Forget();
    OK(Stat() == created && Names == 1 && Creates == 0 && Posts == 1 && Right, "nt_qry_28_a_query_by_name_is_query_open");
    OK(Class == STAT_INFORMATION && Length == STAT_LENGTH, "nt_qry_28_with_its_class_and_length");

    Mode = REFUSE;
    Forget();
    OK(Basic(File) == created && Fast == 1 && Packets == 1 && Posts == 0, "nt_qry_25_refused_it_comes_as_a_packet");
    Forget();
    OK(Network() == created && Names == 1 && Creates == 1 && Packets == 1, "nt_qry_25_refused_a_name_is_opened_and_queried");
    Forget();
    OK(Stat() == created && Names == 1 && Creates == 1 && Packets == 1, "nt_qry_28_refused_a_name_is_opened_and_queried");

    Mode = WITHDRAW;
    Forget();
    OK(Stat() == created && Names == 1 && Posts == 1 && Creates == 1, "nt_qry_28_refused_after_it_was_answered");

    Mode = ANSWER;
    Forget();
    EQ(Basic(File), TOLD_TIME, "nt_qry_25_what_a_filter_answers_is_told");
    EQ(Network(), TOLD_TIME, "nt_qry_25_what_a_filter_answers_of_a_name_is_told");
    EQ(Stat(), TOLD_TIME, "nt_qry_28_what_a_filter_answers_is_told");
    OK(Fast == 1 && Names == 2 && Creates == 0 && Packets == 0 && Posts == 0, "nt_qry_25_and_nobody_else_is_asked");
    Mode = PASS;
}

/* A device above with a table of its own is asked by it; what it has no routine for is a packet. */
static VOID CheckAbove(PDRIVER_OBJECT DriverObject, HANDLE File, PFILE_OBJECT FileObject)
{
    LONGLONG created = Basic(File);
    ULONG major;

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) DriverObject->MajorFunction[major] = PassOn;
    AboveFast.SizeOfFastIoDispatch = sizeof(AboveFast);
    AboveFast.FastIoQueryBasicInfo = AboveQueryBasic;
    AboveFast.FastIoQueryOpen = AboveQueryOpen;
    DriverObject->FastIoDispatch = &AboveFast;
    ST(IoCreateDevice(DriverObject, 0, NULL, FILE_DEVICE_DISK_FILE_SYSTEM, 0, FALSE, &Above), STATUS_SUCCESS, "nt_qry_25_a_device_of_its_own");
    Lower = IoAttachDeviceToDeviceStack(Above, IoGetRelatedDeviceObject(FileObject));
    OK(Lower != NULL, "nt_qry_25_stands_above_the_volume");
    if (Lower == NULL) return;
    Above->Flags = (Above->Flags | Lower->Flags) & ~DO_DEVICE_INITIALIZING;

    Forget();
    OK(Basic(File) == created && AboveBasic == 1 && Fast == 1 && Packets == 0, "nt_qry_25_a_compiled_table_passes_the_query_on");
    OK(Network() == created && AboveOpen == 1 && Names == 1 && Creates == 0 && Right, "nt_qry_25_and_the_query_of_a_name");
    ST(ZwQueryInformationFile(File, &Iosb, Out, sizeof(FILE_NETWORK_OPEN_INFORMATION), FileNetworkOpenInformation), STATUS_SUCCESS, "nt_qry_25_without_a_routine");
    OK(Fast == 1 && Packets == 1, "nt_qry_25_without_a_routine_it_is_a_packet");
    OK(Stat() == created && Names == 1 && Creates == 1, "nt_qry_28_a_device_without_the_callback_sees_an_open");
    AboveFast.FastIoQueryOpen = NULL;
    OK(Network() == created && Names == 1 && Creates == 2, "nt_qry_25_a_device_without_fastioqueryopen_sees_an_open");
    IoDetachDevice(Lower);
    IoDeleteDevice(Above);
}

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, NULL, NULL },
    { IRP_MJ_QUERY_INFORMATION, 0, PreQuery, Post, NULL },
    { IRP_MJ_NETWORK_QUERY_OPEN, 0, PreName, Post, NULL },
    { IRP_MJ_QUERY_OPEN, 0, PreName, Post, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .OperationRegistration = Operations,
    .FilterUnloadCallback = Unload,
    .InstanceSetupCallback = FirstInstance,
};

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    HANDLE file;
    PFILE_OBJECT object;
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    status = StartFilter(DriverObject, &Registration, "flt_r_01_a_filter_of_queries_registers");
    if (!NT_SUCCESS(status)) return status;
    InitializeObjectAttributes(&Attributes, &Path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    status = ZwCreateFile(&file, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, &Attributes, &Iosb, NULL, FILE_ATTRIBUTE_NORMAL, SHARE, FILE_CREATE,
        FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
    ST(status, STATUS_SUCCESS, "nt_qry_25_a_file_is_made");
    if (!NT_SUCCESS(status)) return STATUS_SUCCESS;
    ST(ZwWriteFile(file, NULL, NULL, NULL, &Iosb, "12345", 5, NULL, NULL), STATUS_SUCCESS, "nt_qry_25_and_written");
    Check(file);
    status = ObReferenceObjectByHandle(file, 0, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL);
    ST(status, STATUS_SUCCESS, "nt_qry_25_the_file_object");
    if (NT_SUCCESS(status)) {
        CheckAbove(DriverObject, file, object);
        ObDereferenceObject(object);
    }
    ZwClose(file);
    return STATUS_SUCCESS;
}
