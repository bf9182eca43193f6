/*
 * t_door.h: the request that a test sends to \Device\TDoor, so that a compiled driver makes a call with exactly these arguments.
 * A test in another language mirrors this file: three members, 112 bytes.
 */
#ifndef NTIO_T_DOOR_H
#define NTIO_T_DOOR_H

/* METHOD_NEITHER: the input buffer is a TDOOR_REQUEST, and its Result is stored in place. */
#define IOCTL_TDOOR CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_NEITHER, FILE_ANY_ACCESS) /* 0x00222003 */

typedef struct {
    ULONG Op;
    NTSTATUS Result; /* what the call returned, or the status that it raised */
    ULONGLONG Args[13];
} TDOOR_REQUEST;

/* What a completion callback or routine saw: Calls is counted up last. */
typedef struct {
    LONG Calls;
    NTSTATUS Status;
    ULONGLONG Information;
} TDOOR_RECORD;

/* The arguments are those of the routine in its order, unless it says otherwise. "file", "event": a handle, or 0 for none, that
   becomes the object; "record": the address of a TDOOR_RECORD, or 0 for no callback. */
enum {
    TDOOR_NT_CREATE_FILE = 1,
    TDOOR_ZW_CREATE_FILE = 2,
    TDOOR_NT_READ_FILE = 3,
    TDOOR_ZW_READ_FILE = 4,
    TDOOR_NT_WRITE_FILE = 5,
    TDOOR_ZW_WRITE_FILE = 6,
    TDOOR_NT_QUERY_INFORMATION_FILE = 7,
    TDOOR_ZW_QUERY_INFORMATION_FILE = 8,
    TDOOR_NT_SET_INFORMATION_FILE = 9,
    TDOOR_ZW_SET_INFORMATION_FILE = 10,
    TDOOR_NT_CLOSE = 11,
    TDOOR_ZW_CLOSE = 12,
    TDOOR_ZW_WAIT_FOR_SINGLE_OBJECT = 13,
    TDOOR_ZW_CREATE_EVENT = 14,
    /* file, event, port context, status block, buffer, length, key, mode */
    TDOOR_KS_WRITE_FILE = 15,
    TDOOR_KS_READ_FILE = 16,
    /* file, event, port context, record, invocation flags, status block, headers, length, flags, mode */
    TDOOR_KS_STREAM_IO = 17,
    /* file, mode, code, in, in size, out, out size, bytes returned */
    TDOOR_KS_SYNCHRONOUS_IO_CONTROL_DEVICE = 18,
    TDOOR_KS_CREATE_PIN = 19,
    /* file, offset, length, buffer, flags, bytes, record; the instance is this driver's on the first volume */
    TDOOR_FLT_WRITE_FILE = 20,
    TDOOR_FLT_READ_FILE = 21,
    /* event: STATUS_WAIT_1 when signalled, STATUS_SUCCESS when not */
    TDOOR_READ_STATE_EVENT = 22,
    /* file, address of 8 bytes for CurrentByteOffset, address of 4 bytes for Flags, address of 4 bytes for FinalStatus */
    TDOOR_READ_FILE_OBJECT = 23
};

#endif
