/*
 * ntddk.h: wdm.h, and what non-PnP drivers add to it.
 */
#ifndef _NTDDK_
#define _NTDDK_

#include <wdm.h>

EXTERN_C_START

typedef enum _PROCESSINFOCLASS { ProcessBasicInformation = 0, ProcessImageFileName = 27 } PROCESSINFOCLASS;
typedef enum _THREADINFOCLASS { ThreadBasicInformation = 0, ThreadPriority = 2 } THREADINFOCLASS;
NTSTATUS NTAPI PsSetCreateProcessNotifyRoutine(PVOID NotifyRoutine, BOOLEAN Remove);
NTSTATUS NTAPI ZwCreateEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, EVENT_TYPE EventType,
    BOOLEAN InitialState);
NTSTATUS NTAPI ZwSetEvent(HANDLE EventHandle, PLONG PreviousState);
NTSTATUS NTAPI ZwWaitForSingleObject(HANDLE Handle, BOOLEAN Alertable, PLARGE_INTEGER Timeout);
NTSTATUS NTAPI ZwDeviceIoControlFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
    ULONG IoControlCode, PVOID InputBuffer, ULONG InputBufferLength, PVOID OutputBuffer, ULONG OutputBufferLength);
BOOLEAN NTAPI IoIsSystemThread(PETHREAD Thread);
PEPROCESS NTAPI IoThreadToProcess(PETHREAD Thread);

EXTERN_C_END

#endif
